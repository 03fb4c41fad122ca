import type { DataInterval } from '../interval/interval.js';
import type { Session } from '../session/session.js';
import type { Watermark } from '../watermark/watermark.js';
import type { Log } from '../report/event.js';

/** The run that a task is part of. */
export interface TaskRun {
  /** The `runId`. */
  readonly id: string;
  readonly dagId: string;
  readonly taskId: string;
  /** The number of this attempt. Attempts count from 1. */
  readonly attempt: number;
  /**
   * A key that is the same for every attempt of this task in this run. Pass it to services that can refuse a repeat.
   */
  readonly idempotencyKey: string;
  /** True with `--full-refresh`: the task has no watermark in this run, and should replace what it loaded before. */
  readonly fullRefresh: boolean;
}

/** The context that every task function gets. */
export interface TaskContext<
  Params = unknown,
  Interval = DataInterval | undefined,
  Up = unknown,
  With = unknown,
> {
  /** The params of the run, as the schema of the Dag returned them. */
  readonly params: Params;
  /** The data interval of the run, `[start, end)`. Undefined if the Dag has no schedule. */
  readonly interval: Interval;
  /** The results of the tasks in `needs`, by name. */
  readonly upstream: Up;
  /** The fixed values of the `with` option. */
  readonly with: With;
  readonly run: TaskRun;
  /** Aborts when the attempt times out or the run is stopped. */
  readonly signal: AbortSignal;
  readonly log: Log;
  /** Reports the number of rows that the task has processed since the last call. */
  readonly progress: (rows: number) => void;
  /**
   * Returns the IDs of all connections that begin with `prefix`, sorted. Upper and lower case do not matter. The IDs
   * come from flags, environment and config.
   */
  readonly connections: (prefix?: string) => readonly string[];
}

/** The context of a task that runs in a transaction. */
export interface TransactionContext<
  Params = unknown,
  Interval = DataInterval | undefined,
  Up = unknown,
  With = unknown,
> extends TaskContext<Params, Interval, Up, With> {
  /** Opens the watermark with this name: reads the last value that the task committed, and sets the next value. */
  readonly watermark: (name: string) => Promise<Watermark>;
}

/** The context of a session task. */
export interface SessionContext<
  Params = unknown,
  Interval = DataInterval | undefined,
  Up = unknown,
  With = unknown,
  Reads extends string = string,
> extends TransactionContext<Params, Interval, Up, With> {
  /** The transaction of this attempt, as a Knex instance. */
  readonly session: Session;
  /**
   * The read sessions of the connections in `reads`, by connection ID. Each is one read-only transaction with one
   * snapshot.
   */
  readonly sources: Readonly<Record<Reads, Session>>;
}
