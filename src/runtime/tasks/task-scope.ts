import { AsyncLocalStorage } from 'node:async_hooks';
import type { EtlError } from '../../errors.js';

/** The task whose code is running. */
export interface TaskScope {
  readonly taskId: string;
  /** Fails the attempt that is under way; does nothing once it is over. Says whether it was still under way. */
  readonly fail: (error: EtlError) => boolean;
}

/** Tells which task an error belongs to that nobody awaits: a rejected promise, an exception in a timer. */
export const taskScope = new AsyncLocalStorage<TaskScope | undefined>();
