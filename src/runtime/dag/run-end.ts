import type { EtlError } from '../../errors.js';
import type { RunState, TaskSummary } from '../report/event.js';
import type { Task } from '../tasks/task.js';

/**
 * The results of the tasks in a value that the definition of a Dag returns: of one task, or of the tasks in an array or
 * an object. A result is undefined if its task did not succeed.
 */
export type ResultsOf<Defined> =
  Defined extends Task<string, infer Result>
    ? Result | undefined
    : Defined extends readonly unknown[] | Readonly<Record<string, unknown>>
      ? { readonly [K in keyof Defined]: ResultsOf<Defined[K]> }
      : undefined;

/** The result of a run. A failed run is a value, not an exception. */
export interface DagRunResult<Defined = unknown> {
  readonly runId: string;
  readonly state: RunState;
  /** The exit code that `etl run` has for this result: 0, 1, 3 or 124, or that of the signal that stopped it. */
  readonly exitCode: number;
  /** The data interval. Undefined if the Dag has no schedule. */
  readonly interval: { readonly start: Date; readonly end: Date } | undefined;
  /** All tasks of the Dag in the order of definition. */
  readonly tasks: readonly TaskSummary[];
  /**
   * The results of the tasks that the definition of the Dag returns, in the shape that it returns. A result is undefined
   * if the task did not succeed.
   */
  readonly results: ResultsOf<Defined>;
  /** The errors of the run itself. The errors of tasks are in `tasks`. */
  readonly errors: readonly EtlError[];
  /** The first error that `onEvent` has thrown, as ETL-9002. The run went on. */
  readonly reportError: EtlError | undefined;
  /** The errors of `onSuccess` and `onFailure`, as ETL-3012. They do not change `state` and `exitCode`. */
  readonly callbackErrors: readonly EtlError[];
  readonly durationMs: number;
}

/**
 * The facts about a run for `onSuccess` and `onFailure`. In the texts, secrets are masked, and values of rows are
 * included only if `showData` allows them. `result` and `error` have errors as they are.
 */
export interface RunFacts {
  readonly dagId: string;
  /** Undefined if the Dag has no schedule, or if the run could not start. */
  readonly interval: { readonly start: Date; readonly end: Date } | undefined;
  readonly exitCode: number;
  /** The whole report as lines of text: how the run ended, its errors and its tasks, those that failed first. */
  readonly summary: string;
  /** Aborts when the time of the function is over. */
  readonly signal: AbortSignal;
}

/** A run that has succeeded, for `onSuccess`. */
export interface SucceededRun<Defined = unknown> extends RunFacts {
  readonly result: DagRunResult<Defined>;
}

/** A run that has failed or could not start, for `onFailure`. */
export interface FailedRun<Defined = unknown> extends RunFacts {
  /** Undefined if the run could not start. */
  readonly result: DagRunResult<Defined> | undefined;
  /** The first error: of the run itself, or else of a task. */
  readonly error: EtlError | undefined;
  /** A line for each error, such as `load: ETL-3551 in/orders.csv does not exist`. */
  readonly reason: string;
  /** The command that resumes the run. Undefined if there is nothing to resume. */
  readonly resume: string | undefined;
}

/**
 * Functions that are called once a run has ended: its state is recorded, and its connections are closed. They can't change
 * the run. An error of a function, or a function that does not end in time, is a notice.
 */
export interface RunCallbacks<Defined = unknown> {
  /** Called if the run has succeeded. */
  readonly onSuccess?: ((run: SucceededRun<Defined>) => unknown) | undefined;
  /** Called if the run has failed, or could not start although its command line and its config are right. */
  readonly onFailure?: ((run: FailedRun<Defined>) => unknown) | undefined;
}
