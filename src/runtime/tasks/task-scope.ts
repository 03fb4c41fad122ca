import { AsyncLocalStorage } from 'node:async_hooks';
import type { EtlError } from '../../errors.js';

/** The task whose code is running. */
export interface TaskScope {
  readonly taskId: string;
  /** Fails the running attempt and returns true. If the attempt has ended, does nothing and returns false. */
  readonly fail: (error: EtlError) => boolean;
  /** Shows a line that the code of the task has printed, as a log line of the task. */
  readonly log: (line: string) => void;
}

/**
 * The task whose code is running, also after an `await` and in a timer. It names the task of an unhandled error, such
 * as a rejected promise or an exception in a timer.
 */
export const taskScope = new AsyncLocalStorage<TaskScope | undefined>();
