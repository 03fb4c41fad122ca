// Runs the workload many times in one process. Prints as JSON how much listeners, heap and memory grew.
import { getEventListeners } from 'node:events';
import { EtlError } from '../../src/errors.js';
import { dag } from '../../src/runtime/dag/dag.js';
import { runOn } from '../support/run.js';
import { defineGraph } from './graph.js';
import { Random } from './random.js';
import { sleep } from './workload.js';

const { DATABASE_URL = '', RUNS = '100' } = process.env;
const SAMPLES = 10;
/** The largest number of refused starts in all runs together. */
const MAX_REFUSED = 20;

const random = new Random('soak');
const { signal } = new AbortController();
const samples: {
  readonly run: number;
  readonly heap: number;
  readonly rss: number;
  readonly listeners: number;
}[] = [];
let failed = 0;
let refused = 0;

const runs = Number(RUNS);
const work = defineGraph(dag, {
  tasks: 20,
  rows: 10,
  pauseMs: 0,
  retries: 0,
  onMidway: () => {
    if (random.next() >= 0.3) return;
    failed++;
    throw new Error('as planned');
  },
});
for (let run = 1; run <= runs; run++) {
  await runUntilStarted(`r${run}`);
  if (run % Math.max(1, runs / SAMPLES) === 0) takeSample(run);
}
process.stdout.write(
  `${JSON.stringify({
    listeners: samples.map(({ listeners }) => listeners),
    slopeKb: computeSlope() / 1024,
    rssMb: [samples[1], samples.at(-1)].map((each) => (each?.rss ?? 0) / 2 ** 20),
    failed,
    refused,
  })}\n`,
);

/**
 * Retries a run that was refused: a server that is slow to notice the end of a connection still has the lock of the
 * previous run.
 */
async function runUntilStarted(runId: string): Promise<void> {
  for (;;) {
    try {
      await runOn({ db: DATABASE_URL }, work, { runId, signal });
      return;
    } catch (error) {
      if (!(error instanceof EtlError) || error.code !== 'ETL-7501' || ++refused > MAX_REFUSED) throw error;
      await sleep(20);
    }
  }
}

function takeSample(run: number): void {
  globalThis.gc?.();
  const listeners = process.eventNames().map((name) => process.listenerCount(name));
  samples.push({
    run,
    heap: process.memoryUsage().heapUsed,
    rss: process.memoryUsage().rss,
    listeners: listeners.reduce((a, b) => a + b, 0) + getEventListeners(signal, 'abort').length,
  });
}

/** Computes the growth of the heap in bytes a run, by least squares, without the first two of ten samples. */
function computeSlope(): number {
  const used = samples.slice(2);
  const mean = (of: (each: (typeof samples)[number]) => number): number =>
    used.reduce((sum, each) => sum + of(each), 0) / used.length;
  const [x, y] = [mean(({ run }) => run), mean(({ heap }) => heap)];
  const above = used.reduce((sum, each) => sum + (each.run - x) * (each.heap - y), 0);
  return above / used.reduce((sum, each) => sum + (each.run - x) ** 2, 0);
}
