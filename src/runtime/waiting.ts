import { toError } from '../errors.js';

/** The maximum delay of a timer of Node and of a timeout of PostgreSQL: 24.8 days in milliseconds. */
export const LONGEST_MS = 2 ** 31 - 1;

// The limits below are in milliseconds. Each is the maximum time that the runner waits before it goes on. Waits that a
// user can set, and timeouts that the server applies, are not here.

/** The limit for one clean-up action: a rollback, a cancel request, DISCARD ALL, or the end of one connection. */
export const CLEAN_UP_MS = 2000;
/** The limit for closing all databases of a run. It is longer than closing one database that does not answer. */
export const CLOSE_ALL_MS = 4000;
/** The limit for a task that was told to stop. After this time its connection is destroyed. */
export const STOP_GRACE_MS = 300;
/** The limit for the answer to a COMMIT when a task is told to stop: a COMMIT that was sent can't be cancelled. */
export const COMMIT_GRACE_MS = 5000;
/** The limit for a COPY or a cursor that has not ended when its task has returned. */
export const STREAM_GRACE_MS = 1000;
/**
 * The limit for queries that wait behind a stream of the task, such as a COPY of `pg-copy-streams` or a cursor, while the
 * stream does not move: possibly it waits for one of these queries.
 */
export const STREAM_STALL_MS = 30_000;
/**
 * The limit for queries that wait for the end of a transaction of `session.pg`, while the transaction sends no query:
 * possibly it waits for one of these queries.
 */
export const TRANSACTION_STALL_MS = 12_000;
/** The limit for the last statement of a task that has failed. After this time its connection is destroyed. */
export const LAST_STATEMENT_MS = 100;
/** The limit for the answer of the server to a COPY that is ended early. */
export const COPY_END_MS = 5000;
/**
 * The limit for one piece of work of the runner in a database, such as a look into the ledger. It is longer than the 60 s
 * that the runner gives the server for one such statement, and shorter than the 120 s after which PgBouncer gives up.
 */
export const ANSWER_MS = 90_000;
/** The limit for a function of the config that returns a connection. */
export const CONNECTION_FUNCTION_MS = 30_000;
/** The time after which work of the runner without an answer is reported. */
export const SILENCE_MS = 6000;
/** The limit for the statement that ends a question on a control connection, so that the next question can be asked. */
export const CLEAR_MS = 60_000;
/** The limit for creating or migrating a ledger, which may rewrite a large table. */
export const MIGRATE_MS = 3_600_000;
/** A timer that is late by more than this proves nothing: this process was suspended or busy. */
export const LATE_TIMER_MS = 2000;
/** The limit for finding out whether a COMMIT took place after its connection was lost. */
export const RESOLVE_COMMIT_MS = 30_000;
/** The limit for recording the end of a run in the databases. */
export const FINISH_MS = 30_000;
/** The limit for recording the end of a run that was stopped. */
export const STOPPED_FINISH_MS = 5000;

/**
 * Waits for `work`, and returns its result. Throws the reason of `signal` if the signal aborts first. `late` then
 * receives the result of `work` when it arrives, for example to release a connection.
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
    // Ignores an error of `work` after the abort: the reason of the abort is more useful.
    if (signal.aborted) work.then(late, () => undefined);
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Returns true if `work` resolves or rejects within `ms` milliseconds. Use this for clean-up whose errors do not
 * matter.
 */
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

/**
 * Waits for `work`, and returns its result. Throws the error that `createError` returns if `work` has not ended after `ms`
 * milliseconds. `work` goes on, so `createError` must also end it, for example by destroying its connection. The time
 * during which this process was suspended or busy does not count: the answer can wait in a buffer.
 */
export async function untilAnswered<T>(work: Promise<T>, ms: number, createError: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    const watch = (): void => {
      const startedAt = performance.now();
      timer = setTimeout(() => {
        if (performance.now() - startedAt > ms + LATE_TIMER_MS) watch();
        else reject(createError());
      }, ms);
    };
    watch();
  });
  try {
    return await Promise.race([work, silence]);
  } finally {
    clearTimeout(timer);
  }
}
