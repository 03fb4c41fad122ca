import type { DataInterval } from '../interval/interval.js';
import type { Session } from '../session/session.js';
import type { Watermark } from '../watermark/watermark.js';
import type { Log } from '../report/event.js';

/** The run that a task is part of. */
export interface TaskRun {
  readonly id: string;
  readonly dagId: string;
  readonly taskId: string;
  /** From 1. */
  readonly attempt: number;
  /** The same for every attempt of this task in this run: hand it to services that can refuse a repeat. */
  readonly idempotencyKey: string;
  /** The run was asked to begin anew: the task has no watermark, and what it has loaded before should go. */
  readonly fullRefresh: boolean;
}

/** What every task function gets. */
export interface TaskContext<
  Params = unknown,
  Interval = DataInterval | undefined,
  Up = unknown,
  With = unknown,
> {
  readonly params: Params;
  /** The time span `[start, end)` that the run covers; undefined where the Dag has no schedule. */
  readonly interval: Interval;
  readonly upstream: Up;
  readonly with: With;
  readonly run: TaskRun;
  /** Aborts when the attempt times out or the run is stopped. */
  readonly signal: AbortSignal;
  readonly log: Log;
  /** Reports that this many more rows are done. */
  readonly progress: (rows: number) => void;
  /** The IDs of all connections that begin with `prefix`, whatever its case, sorted, from every source. */
  readonly connections: (prefix?: string) => readonly string[];
}

/** What a task gets besides that works in a transaction. */
export interface TransactionContext<
  Params = unknown,
  Interval = DataInterval | undefined,
  Up = unknown,
  With = unknown,
> extends TaskContext<Params, Interval, Up, With> {
  /** The last value that the task has committed under this name, and the next one. */
  readonly watermark: (name: string) => Promise<Watermark>;
}

/** What a session task gets besides: one open transaction. */
export interface SessionContext<
  Params = unknown,
  Interval = DataInterval | undefined,
  Up = unknown,
  With = unknown,
  Reads extends string = string,
> extends TransactionContext<Params, Interval, Up, With> {
  readonly session: Session;
  /** The connections that the task `reads`: one read-only transaction each, of one snapshot. */
  readonly sources: Readonly<Record<Reads, Session>>;
}
