import type { EtlError } from '../../errors.js';
import type { FailureKind } from './retry.js';

/** Thrown by a task to fail at once: no retry. */
export class FailTask extends Error {
  override readonly name = 'FailTask';
}

/** Thrown by a task that has nothing to do: it is rolled back and shown as skipped, and so is what needs it. */
export class SkipTask extends Error {
  override readonly name = 'SkipTask';
}

/** What became of the transaction of a failed attempt. */
export type Ending =
  | 'rolled back'
  /** The connection was lost in COMMIT: only the next claim can tell. */
  | 'unknown'
  /** It had no transaction: what it did elsewhere is not known here. */
  | 'no transaction'
  /** The task ended its transaction itself: what it wrote before is a matter for a person. */
  | 'check data';

/** What came of one attempt. */
export type AttemptOutcome =
  | {
      readonly state: 'success';
      readonly result: unknown;
      readonly rows: number | undefined;
      readonly reused: boolean;
    }
  | { readonly state: 'skipped'; readonly reason: string }
  | {
      readonly state: 'failed';
      readonly error: EtlError;
      readonly kind: FailureKind;
      readonly ending: Ending;
      /** The claim has answered: whatever an earlier attempt left undecided was rolled back. */
      readonly isClaimed: boolean;
    };
