import { toError } from '../errors.js';

/** A timer of Node waits no longer, and neither does a timeout of PostgreSQL: 24.8 days. */
export const LONGEST_MS = 2 ** 31 - 1;

// How long the runner waits for others before it goes on without them, in milliseconds. Waits that a user can set, and
// timeouts that the server keeps, are not here.

/** For one step that only cleans up: a rollback, a cancel request, DISCARD ALL, or the end of one connection. */
export const CLEAN_UP_MS = 2000;
/** For all databases of a run to close: longer than one of them takes that does not answer. */
export const CLOSE_ALL_MS = 4000;
/** For a task that is told to stop: after this its connection is cut. */
export const STOP_GRACE_MS = 300;
/** For the answer to a COMMIT when a task is told to stop: a COMMIT that is under way can't be cancelled. */
export const COMMIT_GRACE_MS = 5000;
/** For a COPY or a cursor that a task began, when the task has returned and the statement has not ended. */
export const STREAM_GRACE_MS = 1000;
/** For the last statement of a task that has failed: after this its connection is cut. */
export const LAST_STATEMENT_MS = 100;
/** For the answer of the server when a COPY is given up. */
export const COPY_END_MS = 5000;
/** For the answer whether a COMMIT took place whose connection was lost. */
export const RESOLVE_COMMIT_MS = 30_000;
/** For the databases to record the end of a run. */
export const FINISH_MS = 30_000;
/** As `FINISH_MS`, for a run that was stopped. */
export const STOPPED_FINISH_MS = 5000;

/**
 * Waits for `work`, or for the abort of `signal`: then it throws its reason. What comes of `work` after that is left to
 * `late`, so that a result that must be given back is not lost.
 */
export async function untilAborted<T>(
  work: Promise<T>,
  signal: AbortSignal,
  late: (result: T) => unknown = () => undefined,
): Promise<T> {
  let onAbort: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(toError(signal.reason));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } catch (error) {
    // The reason of the abort says more than what it makes of the work.
    if (signal.aborted) work.then(late, () => undefined);
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Says whether `work` came to an end, good or bad, within a time: for what only cleans up. */
export async function within(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<boolean>((resolve) => (timer = setTimeout(resolve, ms, false)));
  const ended = work.then(
    () => true,
    () => true,
  );
  const isEnded = await Promise.race([ended, limit]);
  clearTimeout(timer);
  return isEnded;
}
