import type { RetryPolicy } from '../dag/plan.js';

/** The kind of a failure. The kind decides whether a retry makes sense. */
export type FailureKind =
  /**
   * A serialization failure, a deadlock, or a lock that was not available. The same work succeeds without concurrent
   * work.
   */
  | 'serialization'
  /** A failure that may not happen again: a lost connection, a timeout, an exception in the task's own code. */
  | 'transient'
  /** A failure that a retry meets again. */
  | 'permanent';

/** The number of failed attempts of a task, for each of the two retry budgets. */
export interface UsedRetries {
  readonly serialization: number;
  readonly transient: number;
}

/**
 * The number of retries after serialization failures. With 8 retries, 40 of 40 concurrent read-modify-write tasks
 * succeed. With 2 retries, 16 of the 40 fail.
 */
const SERIALIZATION_RETRIES = 8;
const SERIALIZATION_INITIAL_MS = 25;
const SERIALIZATION_MAX_MS = 2000;

/**
 * The classes of SQLSTATE whose errors the same statement meets again.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const PERMANENT_CLASSES = new Set(['0A', '22', '23', '25', '28', '2B', '3D', '3F', '42', '44']);
const SERIALIZATION_STATES = new Set(['40001', '40P01', '55P03']);

/**
 * Returns the kind of a failure with this SQLSTATE:
 *
 * - `serialization`: 40001, 40P01 and 55P03.
 * - `permanent`: a class of `PERMANENT_CLASSES`, unless `retryOn` names the SQLSTATE (`23505`) or its class (`23`).
 * - `transient`: any other SQLSTATE, and a failure without a SQLSTATE.
 */
export function classifyState(state: string | undefined, retryOn: readonly string[]): FailureKind {
  if (state === undefined) return 'transient';
  if (SERIALIZATION_STATES.has(state)) return 'serialization';
  const isAsked = retryOn.some((each) => each === state || (each.length === 2 && state.startsWith(each)));
  return PERMANENT_CLASSES.has(state.slice(0, 2)) && !isAsked ? 'permanent' : 'transient';
}

/**
 * Returns how many milliseconds to wait before the next attempt. Returns undefined if there is no retry left. `spent`
 * includes the failure that has just happened. `random` returns a number in `[0, 1)`.
 *
 * The wait grows with each retry up to a maximum. The wait is then multiplied by a random number (jitter), which keeps
 * two tasks from meeting again. Example without jitter, with `initialMs` 5000 and `factor` 2: 5000, 10000, 20000.
 */
export function nextDelay(
  kind: FailureKind,
  spent: UsedRetries,
  policy: RetryPolicy,
  random: () => number,
): number | undefined {
  switch (kind) {
    case 'permanent':
      return undefined;
    case 'serialization':
      if (spent.serialization > SERIALIZATION_RETRIES) return undefined;
      return random() * Math.min(SERIALIZATION_INITIAL_MS * 2 ** spent.serialization, SERIALIZATION_MAX_MS);
    case 'transient': {
      if (spent.transient > policy.retries) return undefined;
      const delay = Math.min(policy.initialMs * policy.factor ** (spent.transient - 1), policy.maxMs);
      return policy.jitter ? random() * delay : delay;
    }
    default:
      return kind satisfies never;
  }
}
