import type { DataInterval } from '../interval/interval.js';
import type { Place } from '../modules/location.js';
import type { Session } from '../session/session.js';
import type { TaskBody } from './task-body.js';
import type { Watermark } from '../watermark/watermark.js';

declare const resultOf: unique symbol;

/** What a task does: decides how it runs and what it promises. An `unload` and a `task` run at least once, the others once. */
export type TaskKind = 'session' | 'sql' | 'load' | 'transfer' | 'unload' | 'task';

/**
 * A handle on one task of a Dag. Other tasks need it as a value, so that an upstream that does not exist, or a
 * cycle, cannot be written.
 */
export interface Task<Id extends string = string, Result = unknown> {
  readonly id: Id;
  /** Its place in the Dag's `tasks`. */
  readonly index: number;
  readonly kind: TaskKind;
  readonly options: TaskOptions<Needs>;
  /** The tasks that must succeed first, by the name under which this task sees their results, in order. */
  readonly upstream: ReadonlyMap<string, Task>;
  readonly body: TaskBody;
  /** Where the task is defined in the user's code. */
  readonly place: Place;
  readonly [resultOf]?: Result;
}

/** Upstream tasks by name, to use their results; or in an array, for the order alone. */
export type Needs = Readonly<Record<string, Task>> | readonly Task[];

/** The results of upstream tasks by name; nothing for an array of tasks. */
export type Upstream<N extends Needs> = N extends readonly Task[]
  ? Readonly<Record<never, never>>
  : { readonly [K in keyof N]: N[K] extends Task<string, infer Result> ? Result : never };

/** A time span: `'500ms'`, `'10m'`, `'1h30m'`, or a number of milliseconds. */
export type Duration = string | number;

export type Isolation = 'read committed' | 'repeatable read' | 'serializable';

/** How long to wait before retry n: `initial * factor ** (n - 1)`, at most `max`; `jitter` takes a random part of it. */
export interface Backoff {
  readonly initial?: Duration;
  readonly factor?: number;
  readonly max?: Duration;
  readonly jitter?: boolean;
}

/** What a config or a Dag can set for all of its tasks. A task's own value wins over its Dag's, and that over the config's. */
export interface TaskDefaults {
  /** The ID of the connection that the task writes through. */
  readonly conn?: string;
  /** How often a failed attempt is repeated. Default 0. Serialization failures and deadlocks have 8 retries of their own. */
  readonly retries?: number;
  readonly backoff?: Backoff;
  /** For one attempt, the wait for a connection included. */
  readonly timeout?: Duration;
  /** Default `repeatable read`: under `read committed` a read-modify-write task can lose updates. */
  readonly isolation?: Isolation;
  /**
   * SQLSTATEs (`'23505'`) or their classes (`'23'`) that are worth a retry although PostgreSQL calls them
   * permanent: data errors (22), broken constraints (23), and wrong SQL (42).
   */
  readonly retryOn?: readonly string[];
}

/** A query that must return no row. It runs on the real tables before COMMIT, so that nobody sees data that fails it. */
export interface Check {
  readonly name: string;
  /** Returns the offending rows: `select 1 from report where region is null`. */
  readonly sql: string;
  /** Bound to `$1`, `$2`, … */
  readonly values?: readonly unknown[];
}

export interface TaskOptions<N extends Needs, With = unknown> extends TaskDefaults {
  readonly needs?: N;
  readonly checks?: readonly Check[];
  readonly tags?: readonly string[];
  /** Fixed values for a function that several tasks share; the function finds them in `with`. */
  readonly with?: With;
}

/** Options of a session task. */
export interface SessionOptions<N extends Needs, With, Reads extends string> extends TaskOptions<N, With> {
  /** The IDs of other connections that the task reads from. It can't write there: a task commits in one database. */
  readonly reads?: readonly Reads[];
}

/** Options of a task that reads a database: it changes nothing there that a check could find. */
export type ReadOnlyTaskOptions<N extends Needs, With> = Omit<TaskOptions<N, With>, 'checks'>;

/** Options of a task that works without a transaction. */
export type PlainTaskOptions<N extends Needs, With> = Omit<
  TaskOptions<N, With>,
  'conn' | 'isolation' | 'checks'
>;

/** Writes one line about a task to the run's report. Values of `fields` must be JSON. */
export type Log = (message: string, fields?: Readonly<Record<string, unknown>>) => void;

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
