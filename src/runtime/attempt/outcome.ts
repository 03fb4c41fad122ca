import type { EtlError } from '../../errors.js';
import type { FailureKind } from './retry.js';

/** An error that a task throws to fail without a retry. */
export class FailTask extends Error {
  override readonly name = 'FailTask';
}

/**
 * An error that a task throws if it has nothing to do. The task is rolled back. The task and all tasks that need it
 * are shown as skipped.
 */
export class SkipTask extends Error {
  override readonly name = 'SkipTask';
}

/** The end of the transaction of a failed attempt: rolled back, unknown, ended by the task, or no transaction. */
export type Ending =
  /** The attempt wrote nothing. */
  | 'rolled back'
  /** The connection was lost during COMMIT. Only the next claim can find out whether the COMMIT took place. */
  | 'unknown'
  /** The task has no transaction. The runner does not know what the task did. */
  | 'no transaction'
  /** The task ended its transaction itself. A person must check the rows that the task wrote before. */
  | 'check data';

/** The outcome of one attempt. */
export type AttemptOutcome =
  | {
      readonly state: 'success';
      readonly result: unknown;
      /** The rows that the task wrote. Undefined for a task without a connection. */
      readonly rows: number | undefined;
      /** True if the task was already done, and its result came from the ledger. */
      readonly reused: boolean;
    }
  | { readonly state: 'skipped'; readonly reason: string }
  | {
      readonly state: 'failed';
      readonly error: EtlError;
      readonly kind: FailureKind;
      readonly ending: Ending;
      /** True if the server has answered the claim. Then no earlier attempt of the task was committed. */
      readonly isClaimed: boolean;
    };
