import { dag } from '../../src/runtime/dag/dag.js';
import { runOn, type FinishedRun } from '../support/run.js';
import { defineGraph, type GraphOptions } from './graph.js';
import type { Tally } from './tally.js';
import type { Workload } from './workload.js';

/** A run that takes longer than this time, in milliseconds, hangs. */
const LIMIT_MS = 10_000;
/** A run that is not done after this number of resumes counts as never done. */
const MAX_RESUMES = 60;

/** Creates the Dag of the workload for a run in this process. */
export function createGraph(work: Workload, more: Partial<GraphOptions> = {}) {
  const { tasks, rows, pauseMs } = work;
  return defineGraph(dag, { tasks, rows, pauseMs, retries: 200, ...more });
}

/** Starts or resumes a run in this process. Returns the error if the run could not start. */
export async function runHere(
  work: Workload,
  runId: string,
  { url = work.db.url, graph: of = createGraph(work), random = Math.random, concurrency = 4 } = {},
): Promise<FinishedRun | Error> {
  const resume = { kind: 'resume', runId, interval: undefined, strict: false } as const;
  const isKnown = await work.isKnown(runId);
  const run = runOn({ db: url }, of, { runId, random, concurrency, ...(isKnown ? { resume } : {}) });
  return work.waitWithin(
    LIMIT_MS,
    runId,
    run.catch((error: unknown) => error as Error),
  );
}

/** Resumes a run until the run succeeds. Returns false, and adds a problem, if the run never succeeds. */
export async function resumeHere(
  work: Workload,
  runId: string,
  { tally, url, random }: { tally: Tally; url?: string; random: () => number },
): Promise<boolean> {
  for (let n = 0; n < MAX_RESUMES && !work.isStalled; n++) {
    const ended = await runHere(work, runId, { random, ...(url === undefined ? {} : { url }) });
    if (!(ended instanceof Error) && ended.state === 'success') return true;
  }
  tally.addProblem(`${runId} was never done`);
  return false;
}

/** Formats in one line why a run failed. */
export function formatReason(run: FinishedRun | Error): string {
  if (run instanceof Error) return run.message;
  const failed = run.tasks.flatMap(({ taskId, error }) =>
    error ? [`${taskId}: ${error.code} ${error.message}`] : [],
  );
  return [...run.errors.map(({ code, message }) => `${code} ${message}`), ...failed].slice(0, 4).join('; ');
}

/** Creates a latch: `opened` resolves after the call of `open`. */
export function createLatch(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open: () => open() };
}
