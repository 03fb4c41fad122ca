import type { EtlError } from '../../errors.js';

/** How a task ended. Airflow's words. */
export type TaskState = 'success' | 'failed' | 'upstream_failed' | 'skipped';

/** How a run ended, for its exit code. */
export type RunState = 'success' | 'failed';

/** A task at the end of a run, as the ledger has it. */
export interface TaskSummary {
  readonly taskId: string;
  readonly state: TaskState;
  /** 0 where the task was never started. */
  readonly attempts: number;
  readonly rows?: number;
  /** Rows that were put aside because they did not fit: the `rejected` of the task's result; absent where it is 0. */
  readonly rejected?: number;
  readonly durationMs: number;
  /** The result of an earlier attempt was found in the ledger. */
  readonly reused: boolean;
  readonly error?: EtlError;
  /** Why it was skipped, or the upstream task that failed. */
  readonly reason?: string;
}

/**
 * All that leaves the runtime: each event is plain data, and each kind has only its own fields. The NDJSON reporter
 * prints them as they are, so that their names are a contract.
 */
export type RunEvent = { readonly at: Date; readonly runId: string; readonly dagId: string } & (
  | {
      readonly type: 'run_started';
      readonly tasks: number;
      readonly interval: { readonly start: Date; readonly end: Date } | undefined;
      /** The home connection: its ID, and its place without the password. */
      readonly home: string | undefined;
    }
  | {
      readonly type: 'run_resumed';
      /** The state that the run was left in. */
      readonly was: 'running' | 'success' | 'failed';
      readonly startedAt: Date;
      readonly reused: readonly string[];
      readonly toRun: readonly { readonly taskId: string; readonly why: string }[];
    }
  | { readonly type: 'task_started'; readonly taskId: string; readonly attempt: number }
  | {
      /** At most ten times a second and a task, and at its end. */
      readonly type: 'task_progress';
      readonly taskId: string;
      /** What this attempt has done so far. */
      readonly rows: number;
      readonly bytes: number;
    }
  | {
      readonly type: 'task_log';
      readonly taskId: string;
      readonly message: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  | {
      readonly type: 'task_retrying';
      readonly taskId: string;
      readonly attempt: number;
      readonly error: EtlError;
      readonly delayMs: number;
    }
  | ({ readonly type: 'task_finished' } & TaskSummary)
  /** Something that a person should know and that is nobody's failure. */
  | { readonly type: 'notice'; readonly text: string }
  | {
      readonly type: 'run_finished';
      readonly state: RunState;
      readonly tasks: readonly TaskSummary[];
      readonly durationMs: number;
      /** Errors of the run itself: it was stopped, timed out, or left work unawaited. */
      readonly errors: readonly EtlError[];
    }
);

/** A kind of event without the fields that the run fills in. */
export type EventBody = RunEvent extends infer E
  ? E extends RunEvent
    ? Omit<E, 'at' | 'runId' | 'dagId'>
    : never
  : never;

/** Shows a run's events. Never throws for a stream that is gone: a run does not end for its report. */
export interface Reporter {
  report(event: RunEvent): void;
}

/** Writes one line about a task to the run's report. Values of `fields` must be JSON. */
export type Log = (message: string, fields?: Readonly<Record<string, unknown>>) => void;
