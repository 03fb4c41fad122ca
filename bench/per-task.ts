import type { Benchmark } from './benchmark.js';
import { benchTask } from './task.js';

/** The largest allowed ratios: on a local connection, and on a network with a delay of a millisecond each way. */
const LIMITS = [1.15, 0.8];

/** Runs a task with its ledger row. The reference is the same statement in a Knex transaction without a ledger row. */
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
      limit: (LIMITS[index] ?? 1).toFixed(2),
      isMet: ratio <= (LIMITS[index] ?? 1),
      times: `${task.toFixed(2)} / ${knex.toFixed(2)} ms`,
      peakMb: undefined,
    }));
  },
};
