import type { Location } from '../modules/location.js';
import type { TaskBody } from './task-body.js';
import type { Duration } from '../duration.js';
import type { Isolation } from '../postgres/transaction.js';

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
  /** @internal What the runner calls. */
  readonly body: TaskBody;
  /** @internal Where the task is defined in the user's code. */
  readonly location: Location;
  readonly [resultOf]?: Result;
}

/** Upstream tasks by name, to use their results; or in an array, for the order alone. */
export type Needs = Readonly<Record<string, Task>> | readonly Task[];

/** The results of upstream tasks by name; nothing for an array of tasks. */
export type Upstream<N extends Needs> = N extends readonly Task[]
  ? Readonly<Record<never, never>>
  : { readonly [K in keyof N]: N[K] extends Task<string, infer Result> ? Result : never };

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
  /** Has no effect yet; selection by tag will use it. */
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
