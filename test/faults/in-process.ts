import { dag } from '../../src/runtime/dag/dag.js';
import { runOn, type FinishedRun } from '../support/run.js';
import { graph, type GraphOptions } from './graph.js';
import type { Tally } from './tally.js';
import type { Workload } from './workload.js';

/** No run of the suite takes so long, in milliseconds, unless it waits for what never comes. */
const LIMIT_MS = 10_000;
/** A run that is not done after so many resumes never will be. */
const MAX_RESUMES = 60;

/** The workload's Dag, for a run in this process. */
export function graphOf(work: Workload, more: Partial<GraphOptions> = {}) {
  const { tasks, rows, pauseMs } = work;
  return graph(dag, { tasks, rows, pauseMs, retries: 200, ...more });
}

/** Starts or resumes a run in this process; undefined where it could not start. */
export async function runHere(
  work: Workload,
  runId: string,
  { url = work.db.url, graph: of = graphOf(work), random = Math.random, concurrency = 4 } = {},
): Promise<FinishedRun | Error> {
  const resume = { kind: 'resume', runId, interval: undefined, strict: false } as const;
  const isKnown = await work.isKnown(runId);
  const run = runOn({ db: url }, of, { runId, random, concurrency, ...(isKnown ? { resume } : {}) });
  return work.within(
    LIMIT_MS,
    runId,
    run.catch((error: unknown) => error as Error),
  );
}

/** Resumes a run until it succeeds. Says whether it did. */
export async function resumeHere(
  work: Workload,
  runId: string,
  { tally, url, random }: { tally: Tally; url?: string; random: () => number },
): Promise<boolean> {
  for (let n = 0; n < MAX_RESUMES && !work.isStalled; n++) {
    const ended = await runHere(work, runId, { random, ...(url === undefined ? {} : { url }) });
    if (!(ended instanceof Error) && ended.state === 'success') return true;
  }
  tally.problem(`${runId} was never done`);
  return false;
}

/** Why a run failed, in a line. */
export function reasonOf(run: FinishedRun | Error): string {
  if (run instanceof Error) return run.message;
  const failed = run.tasks.flatMap(({ taskId, error }) =>
    error ? [`${taskId}: ${error.code} ${error.message}`] : [],
  );
  return [...run.errors.map(({ code, message }) => `${code} ${message}`), ...failed].slice(0, 4).join('; ');
}

/** Something that is waited for until somebody opens it. */
export function latch(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open: () => open() };
}
