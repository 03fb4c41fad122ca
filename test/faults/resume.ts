import type { Shard } from './fault.js';
import { formatEnded, type StartOptions, type RunningProcess } from './product.js';
import type { Workload } from './workload.js';

/** A process that takes longer than this time, in milliseconds, hangs. */
const LIMIT_MS = 20_000;
/** A run that is not done after this number of processes counts as never done. */
const MAX_PROCESSES = 60;
/**
 * The number of processes of a run that the fault may hit. If the fault hit every process early, the run would never
 * end.
 */
const MAX_STRUCK = 40;

/** Options of `untilDone`. */
export interface UntilDone {
  readonly runId: string;
  /** Called after the start of each of the first `MAX_STRUCK` processes of the run. */
  readonly inject?: (running: RunningProcess) => Promise<unknown>;
  /** Returns the options of each of these processes. */
  readonly options?: () => StartOptions;
  /**
   * Exit codes other than 0 that the fault may cause. 75 is always allowed, because the server frees a lock some
   * milliseconds late.
   */
  readonly codes?: readonly (number | null)[];
}

/** Starts a run and resumes the run until a process exits with 0. Returns false, and adds a problem, if none does. */
export async function untilDone(shard: Shard, work: Workload, order: UntilDone): Promise<boolean> {
  const { runId, inject, options, codes = [null] } = order;
  const seen: string[] = [];
  for (let n = 0; n < MAX_PROCESSES && !work.isStalled; n++) {
    const isStruck = n < MAX_STRUCK;
    const more = (isStruck && options?.()) || {};
    const running = shard.product.run(runId, await work.isKnown(runId), {
      ...more,
      env: { ...work.env, ...more.env },
    });
    if (isStruck) await inject?.(running);
    const ended = await work.waitWithin(LIMIT_MS, runId, running.ended);
    if (ended.code === 0) return true;
    seen.push(formatEnded(ended));
    if (ended.code !== 75 && !codes.includes(ended.code))
      shard.tally.addProblem(`${runId}: ${formatEnded(ended)}`);
  }
  shard.tally.addProblem(`${runId} was never done: ${seen.slice(-3).join(' | ')}`);
  return false;
}

/** Sends a signal to a process. Returns false if the process has ended already. */
export function strike({ child }: RunningProcess, signal: NodeJS.Signals): boolean {
  return child.exitCode === null && child.signalCode === null && child.kill(signal);
}
