import type { EtlError } from '../../errors.js';

/** How a task ended, in Airflow's words. */
export type TaskState = 'success' | 'failed' | 'upstream_failed' | 'skipped';

/** How a run ended. Decides the exit code. */
export type RunState = 'success' | 'failed';

/** How one task of a run ended. `run_finished` contains each task as the ledger has recorded it. */
export interface TaskSummary {
  readonly taskId: string;
  readonly state: TaskState;
  /** The number of attempts. 0 if the task was not started. */
  readonly attempts: number;
  /** Rows that the task wrote. Absent for a task without a connection. */
  readonly rows?: number;
  /** Input rows that a load did not accept: the field `rejected` of the task's result. Absent if 0. */
  readonly rejected?: number;
  readonly durationMs: number;
  /** True if the task did not run, because the ledger has its result already. */
  readonly reused: boolean;
  readonly error?: EtlError;
  /** Why the task was skipped, or which upstream task failed. */
  readonly reason?: string;
}

/** The run has started: it has the lock and is recorded. */
export interface RunStarted {
  readonly type: 'run_started';
  readonly tasks: number;
  readonly interval: { readonly start: Date; readonly end: Date } | undefined;
  /** The time zone of the Dag's schedule, in which a person reads the interval. */
  readonly timezone: string;
  /** The home connection: its ID and its URL without the password. Undefined if the Dag has no connection. */
  readonly home: string | undefined;
}

/** The run is a resume. Comes after `run_started`. */
export interface RunResumed {
  readonly type: 'run_resumed';
  /** The state of the run before the resume. */
  readonly was: 'running' | 'success' | 'failed';
  readonly startedAt: Date;
  readonly reused: readonly string[];
  readonly toRun: readonly { readonly taskId: string; readonly why: string }[];
}

/** An attempt of a task has started. */
export interface TaskStarted {
  readonly type: 'task_started';
  readonly taskId: string;
  readonly attempt: number;
}

/** A task moves rows. Sent at most ten times a second for each task, and at the end of the task's work. */
export interface TaskProgress {
  readonly type: 'task_progress';
  readonly taskId: string;
  /** Rows that this attempt has moved so far. */
  readonly rows: number;
  readonly bytes: number;
}

/** A task has called `log`. */
export interface TaskLog {
  readonly type: 'task_log';
  readonly taskId: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** An attempt has failed, and another one follows after `delayMs`. */
export interface TaskRetrying {
  readonly type: 'task_retrying';
  readonly taskId: string;
  readonly attempt: number;
  readonly error: EtlError;
  readonly delayMs: number;
}

/** A task has ended, or is not run. Each task of the Dag has one such event. */
export interface TaskFinished extends TaskSummary {
  readonly type: 'task_finished';
}

/** Something that a person should know and that is not an error. */
export interface Notice {
  readonly type: 'notice';
  readonly text: string;
}

/** The last event of a run. */
export interface RunFinished {
  readonly type: 'run_finished';
  readonly state: RunState;
  readonly tasks: readonly TaskSummary[];
  readonly durationMs: number;
  /** Errors of the run itself: the run was stopped, timed out, or did not await some work. */
  readonly errors: readonly EtlError[];
}

/** An event without the fields that the run fills in. */
export type EventBody =
  | RunStarted
  | RunResumed
  | TaskStarted
  | TaskProgress
  | TaskLog
  | TaskRetrying
  | TaskFinished
  | Notice
  | RunFinished;

/**
 * Something that happened in a run. Events are all the output of the runtime. Each event is plain data, and each kind
 * has only its own fields. The NDJSON reporter prints the fields unchanged, so the names of the fields are a contract.
 */
export type RunEvent = { readonly at: Date; readonly runId: string; readonly dagId: string } & EventBody;

/**
 * Shows the events of a run. `report` never throws if its stream is closed: a run does not stop because of its report.
 */
export interface Reporter {
  report(event: RunEvent): void;
}

/** Writes a line about a task to the report of the run. Values of `fields` must be JSON. */
export type Log = (message: string, fields?: Readonly<Record<string, unknown>>) => void;
