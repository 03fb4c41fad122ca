import type { RetryPolicy } from '../dag/plan.js';

/** Why an attempt failed, as far as a retry is concerned. */
export type FailureKind =
  /** Serialization failure, deadlock, lock not available: the same work succeeds when it is alone. */
  | 'serialization'
  /** Anything that may pass: a lost connection, a timeout, an exception of the task's own code. */
  | 'transient'
  /** The same again will fail the same way. */
  | 'permanent';

/** Failed attempts so far, by their budget. */
export interface UsedRetries {
  readonly serialization: number;
  readonly transient: number;
}

/** Forty concurrent read-modify-write tasks all got through with it; with two, sixteen gave up. */
const SERIALIZATION_RETRIES = 8;
const SERIALIZATION_INITIAL_MS = 25;
const SERIALIZATION_MAX_MS = 2000;

/** Classes of SQLSTATE that the same statement meets again. https://www.postgresql.org/docs/current/errcodes-appendix.html */
const PERMANENT_CLASSES: ReadonlySet<string> = new Set([
  '0A',
  '22',
  '23',
  '25',
  '28',
  '2B',
  '3D',
  '3F',
  '42',
  '44',
]);
const SERIALIZATION_STATES: ReadonlySet<string> = new Set(['40001', '40P01', '55P03']);

/** The kind of a failure with this SQLSTATE; without one it may pass. */
export function classifyState(state: string | undefined, retryOn: readonly string[]): FailureKind {
  if (state === undefined) return 'transient';
  if (SERIALIZATION_STATES.has(state)) return 'serialization';
  const isAsked = retryOn.some((each) => each === state || (each.length === 2 && state.startsWith(each)));
  return PERMANENT_CLASSES.has(state.slice(0, 2)) && !isAsked ? 'permanent' : 'transient';
}

/**
 * Milliseconds to wait before the next attempt, or undefined to give up. `spent` counts the failure that has just
 * happened. `random` is in `[0, 1)`: a retry at a random moment keeps two tasks from meeting again.
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
