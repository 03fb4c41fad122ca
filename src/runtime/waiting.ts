import { asError } from '../errors.js';

/** A timer of Node waits no longer, and neither does a timeout of PostgreSQL: 24.8 days. */
export const LONGEST_MS = 2 ** 31 - 1;

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
    onAbort = () => reject(asError(signal.reason));
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
