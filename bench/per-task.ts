import type { Benchmark } from './benchmark.js';
import { benchTask } from './task.js';

/** What the ratio may be: on a local connection, and where each way takes a millisecond. */
const BARS = [1.15, 0.8];

/** A task with its ledger row against the same statement in a transaction of Knex's without one. */
export const PER_TASK: Benchmark = {
  name: 'task',
  run: async ({ isShort, say }) => {
    say('a task and its ledger row');
    const measured = await benchTask(isShort ? 3 : 11);
    return measured.map(({ network, task, knex, ratio }, index) => ({
      work: `a task with its ledger row, ${network}`,
      reference: '`knex.transaction` without one',
      figure: ratio.toFixed(2),
      spread: '',
      bar: (BARS[index] ?? 1).toFixed(2),
      isMet: ratio <= (BARS[index] ?? 1),
      times: `${task.toFixed(2)} / ${knex.toFixed(2)} ms`,
      peakMb: undefined,
    }));
  },
};
