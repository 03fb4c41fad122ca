import type { Shard } from './fault.js';
import { describe, type StartOptions, type Under } from './product.js';
import type { Workload } from './workload.js';

/** No process of the suite takes so long, in milliseconds, unless it waits for what never comes. */
const LIMIT_MS = 20_000;
/** A run that is not done after so many processes never will be. */
const MAX_PROCESSES = 60;
/** So many processes of a run are struck: where each is struck early, it would never be done. */
const MAX_STRUCK = 40;

export interface UntilDone {
  readonly runId: string;
  /** Called when one of the first processes of the run was started. */
  readonly inject?: (under: Under) => Promise<unknown>;
  readonly options?: () => StartOptions;
  /** Exit codes, besides 0, that the fault may lead to; 75 always may: the server frees a lock after some milliseconds. */
  readonly codes?: readonly (number | null)[];
}

/** Starts a run and resumes it until a process of it exits with 0. Says whether one did. */
export async function untilDone(shard: Shard, work: Workload, order: UntilDone): Promise<boolean> {
  const { runId, inject, options, codes = [null] } = order;
  const seen: string[] = [];
  for (let n = 0; n < MAX_PROCESSES && !work.isStalled; n++) {
    const isStruck = n < MAX_STRUCK;
    const more = (isStruck && options?.()) || {};
    const under = shard.product.run(runId, await work.isKnown(runId), {
      ...more,
      env: { ...work.env, ...more.env },
    });
    if (isStruck) await inject?.(under);
    const ended = await work.within(LIMIT_MS, runId, under.ended);
    if (ended.code === 0) return true;
    seen.push(describe(ended));
    if (ended.code !== 75 && !codes.includes(ended.code)) shard.tally.problem(`${runId}: ${describe(ended)}`);
  }
  shard.tally.problem(`${runId} was never done: ${seen.slice(-3).join(' | ')}`);
  return false;
}

/** Ends a process with this signal, unless it has ended by itself; says whether it was sent. */
export function strike({ child }: Under, signal: NodeJS.Signals): boolean {
  return child.exitCode === null && child.signalCode === null && child.kill(signal);
}
