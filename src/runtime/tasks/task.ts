import type { Location } from '../modules/location.js';
import type { TaskBody } from './task-body.js';
import type { Duration } from '../duration.js';
import type { Isolation } from '../postgres/transaction.js';

declare const resultOf: unique symbol;

/** The kind of a task. An `unload` and a `task` have their effect at least once, the other kinds exactly once. */
export type TaskKind = 'session' | 'sql' | 'load' | 'transfer' | 'unload' | 'task';

/**
 * A handle on one task of a Dag. Other tasks name it as a value in `needs`, not by its ID. So nobody can write a cycle,
 * or an upstream that does not exist.
 */
export interface Task<Id extends string = string, Result = unknown> {
  readonly id: Id;
  /** The index of the task in the `tasks` of its Dag, from 0. */
  readonly index: number;
  readonly kind: TaskKind;
  readonly options: TaskOptions<Needs>;
  /** The tasks that must succeed first, in order. The key is the name under which this task sees the result. */
  readonly upstream: ReadonlyMap<string, Task>;
  /** @internal What the runner calls. */
  readonly body: TaskBody;
  /** @internal The position of the task's definition in the user's code. */
  readonly location: Location;
  readonly [resultOf]?: Result;
}

/** The upstream tasks: an object with names if the task uses their results, or an array if only the order matters. */
export type Needs = Readonly<Record<string, Task>> | readonly Task[];

/** The results of upstream tasks by name. Has no property if `needs` is an array. */
export type Upstream<N extends Needs> = N extends readonly Task[]
  ? Readonly<Record<never, never>>
  : { readonly [K in keyof N]: N[K] extends Task<string, infer Result> ? Result : never };

/**
 * The wait before a retry. Before retry n it is `initial * factor ** (n - 1)`, at most `max`. With `jitter` it is a
 * random part of this time.
 */
export interface Backoff {
  readonly initial?: Duration;
  readonly factor?: number;
  readonly max?: Duration;
  readonly jitter?: boolean;
}

/**
 * The options that a config or a Dag can set for all of its tasks. A value of the task wins over a value of the Dag,
 * and a value of the Dag wins over a value of the config.
 */
export interface TaskDefaults {
  /** The ID of the connection that the task writes through. */
  readonly conn?: string;
  /**
   * How often a failed attempt is repeated. Default 0. Serialization failures and deadlocks have 8 more retries of
   * their own.
   */
  readonly retries?: number;
  /** The wait before a retry. */
  readonly backoff?: Backoff;
  /** The time limit of one attempt. It includes the wait for a connection. */
  readonly timeout?: Duration;
  /**
   * The isolation level. Default `repeatable read`. Under `read committed` a read-modify-write task can lose updates.
   */
  readonly isolation?: Isolation;
  /**
   * SQLSTATEs (`'23505'`) or their classes (`'23'`) that are retried although PostgreSQL calls them permanent: data
   * errors (22), broken constraints (23) and wrong SQL (42).
   */
  readonly retryOn?: readonly string[];
}

/**
 * A query that must return no row. It runs on the real tables before COMMIT, so nobody sees data that fails the check.
 */
export interface Check {
  readonly name: string;
  /** A query that returns the wrong rows: `select 1 from report where region is null`. */
  readonly sql: string;
  /** The values of `$1`, `$2`, … */
  readonly values?: readonly unknown[];
}

/** The options of every task. */
export interface TaskOptions<N extends Needs, With = unknown> extends TaskDefaults {
  /** The tasks that must succeed first. */
  readonly needs?: N;
  /** The checks that run before COMMIT. */
  readonly checks?: readonly Check[];
  /** Has no effect yet; selection by tag will use it. */
  readonly tags?: readonly string[];
  /** Fixed values for a function that several tasks share. The function gets them as `with` of its context. */
  readonly with?: With;
}

/** The options of a session task. */
export interface SessionOptions<N extends Needs, With, Reads extends string> extends TaskOptions<N, With> {
  /**
   * The IDs of other connections that the task reads from. The task can't write there, because it commits in one
   * database.
   */
  readonly reads?: readonly Reads[];
}

/** The options of a task that only reads its database. Such a task has no checks, because it changes nothing there. */
export type ReadOnlyTaskOptions<N extends Needs, With> = Omit<TaskOptions<N, With>, 'checks'>;

/** The options of a task without a transaction. */
export type PlainTaskOptions<N extends Needs, With> = Omit<
  TaskOptions<N, With>,
  'conn' | 'isolation' | 'checks'
>;
