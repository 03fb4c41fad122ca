/* oxlint-disable typescript/unbound-method -- a method marks a stack frame for captureLocation; it is not called */
import { EtlError } from '../../errors.js';
import { type DataInterval, type Schedule, parseSchedule } from '../interval/interval.js';
import type { JsonResult } from '../json.js';
import {
  assertFunction,
  assertId,
  locateErrors,
  validateDagOptions,
  validateTaskOptions,
} from './options.js';
import {
  type ConfigRoot,
  type Location,
  TaskLocations,
  captureLocation,
  formatLocation,
} from '../modules/location.js';
import type { InferOutput, StandardSchema } from './standard-schema.js';
import type {
  Needs,
  PlainTaskOptions,
  ReadOnlyTaskOptions,
  SessionOptions,
  Task,
  TaskDefaults,
  TaskKind,
  TaskOptions,
  Upstream,
} from '../tasks/task.js';
import type { LoadResult, LoadSource } from '../tasks/load/load-input.js';
import { createLoadBody } from '../tasks/load/load-task.js';
import { createSessionBody } from '../tasks/session-task.js';
import { type Sql, type SqlResult, createSqlBody } from '../tasks/sql-task.js';
import { PlainFunction } from '../tasks/plain-task.js';
import {
  type TransferResult,
  type TransferSource,
  createTransferBody,
} from '../tasks/transfer/transfer-task.js';
import { type UnloadResult, type UnloadSource, createUnloadBody } from '../tasks/unload/unload-task.js';
import type { IncrementalRange, SqlIncremental } from '../watermark/incremental.js';
import type { SessionContext, TaskContext, TransactionContext } from '../tasks/task-context.js';
import type { TaskBody } from '../tasks/task-body.js';

/** The options of a Dag. */
export interface DagOptions {
  readonly description?: string;
  /** A cron expression of five fields, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@quarterly`, `@yearly`. */
  readonly schedule?: string;
  /** The IANA time zone of `schedule` and `startDate`. Default `UTC`. */
  readonly timezone?: string;
  /**
   * A date such as `2020-08-01`, or an ISO date and time. The first data interval starts at the first tick of the
   * schedule at or after this time.
   */
  readonly startDate?: string;
  /**
   * The schema of the params that `--param name=value` sets, from any Standard Schema library:
   * https://standardschema.dev.
   */
  readonly params?: StandardSchema;
  /** The options of all tasks of the Dag. The options of a task win over these. */
  readonly defaults?: TaskDefaults;
  /** Has no effect yet; selection by tag will use it. */
  readonly tags?: readonly string[];
}

/** A graph of tasks that run together. The graph is known before any task runs. */
export interface Dag {
  readonly id: string;
  readonly options: DagOptions;
  /** Undefined if the Dag has no `schedule`, or `@once`. */
  readonly schedule: Schedule | undefined;
  /**
   * The tasks in the order of definition. The order is topological, because a task must exist before another can need
   * it.
   */
  readonly tasks: readonly Task[];
  /** @internal The location in the user's code where the Dag is defined. */
  readonly location: Location;
}

/** The type of the params of a Dag: the output of its schema, or an object without properties. */
type ParamsOf<O extends DagOptions> = O['params'] extends StandardSchema
  ? InferOutput<O['params']>
  : Readonly<Record<never, never>>;
/** The type of the data interval of a Dag. A Dag without a schedule, or with `@once`, has no data interval. */
type IntervalOf<O extends DagOptions> = O['schedule'] extends '@once'
  ? undefined
  : O['schedule'] extends string
    ? DataInterval
    : undefined;

/** All Dags that `dag()` returned. A copy of a Dag, or an object that looks like a Dag, is not in this set. */
const DAGS = new WeakSet<object>();

/**
 * Defines a Dag. `dag` calls `define` once and synchronously; `define` adds the tasks.
 *
 * Throws `EtlError` (exit code 2), with the location in the user's code, for mistakes that the compiler can't see: a
 * wrong ID, an ID that is used twice, a task of another Dag, a wrong option, a wrong schedule.
 */
export function dag<const O extends DagOptions>(
  id: string,
  options: O,
  define: (d: DagBuilder<ParamsOf<O>, IntervalOf<O>>) => void,
): Dag {
  const location = captureLocation(dag);
  assertId('Dag', id, location);
  validateDagOptions(options, location);
  const made: DefinedTasks = { tasks: [], isComplete: false, root: location.root };
  define(new DagBuilder(made));
  made.isComplete = true;
  const result = {
    id,
    options,
    schedule: locateErrors(location, () => parseSchedule(options)),
    tasks: made.tasks,
    location,
  };
  DAGS.add(result);
  return result;
}

/** Says whether a value was returned by `dag()`. */
export function isDag(value: unknown): value is Dag {
  return typeof value === 'object' && value !== null && DAGS.has(value);
}

/** The context of a task function, with the results of the tasks in `needs`. */
type Context<P, I, N extends Needs, W> = TaskContext<P, I, Upstream<N>, W>;
/** The context of the functions of a sql task. It has a range of rows if the task is incremental. */
type InSql<P, I, N extends Needs, W, Inc> = TransactionContext<P, I, Upstream<N>, W> & {
  readonly incremental: Inc extends SqlIncremental ? IncrementalRange : undefined;
};

/** The tasks that a builder has added so far. */
interface DefinedTasks {
  /** The tasks in the order of definition. The `index` of a task is its index in this list. */
  readonly tasks: Task[];
  /** Whether `define` has returned. */
  isComplete: boolean;
  readonly root: ConfigRoot;
}

/** Adds tasks to the Dag that is being defined, and returns their handles. */
export class DagBuilder<P, I> {
  readonly #made: DefinedTasks;
  readonly #byId = new Map<string, Task>();
  readonly #locations: TaskLocations;

  /** @internal Only `dag` creates a builder. */
  constructor(made: DefinedTasks) {
    this.#made = made;
    this.#locations = new TaskLocations(made.root);
  }

  /**
   * Adds a task with a function that works with a session, in one transaction. The ledger records the return value in
   * the same COMMIT. The tasks that need this task get the value with its type.
   */
  session<
    const Id extends string,
    R,
    const N extends Needs = readonly [],
    W = undefined,
    const Reads extends string = never,
  >(
    id: Id,
    options: SessionOptions<N, W, Reads>,
    run: (context: SessionContext<P, I, Upstream<N>, W, Reads>) => Promise<R> & JsonResult<R>,
  ): Task<Id, R> {
    const location = this.#locations.capture(this.session);
    assertFunction(id, run, location);
    const body = createSessionBody(run as never, options.reads ?? []);
    return this.#add({ id, kind: 'session', options, body, location });
  }

  /** Adds a task that runs SQL statements in one transaction. The SQL is in the options or in a file. */
  sql<
    const Id extends string,
    const N extends Needs = readonly [],
    W = undefined,
    const Inc extends SqlIncremental | undefined = undefined,
  >(
    id: Id,
    options: TaskOptions<N, W> & {
      readonly sql?: Sql | ((context: InSql<P, I, N, W, Inc>) => Sql | Promise<Sql>);
      readonly file?: string;
      readonly values?: (context: InSql<P, I, N, W, Inc>) => Readonly<Record<string, unknown>>;
      readonly incremental?: Inc;
    },
  ): Task<Id, SqlResult> {
    const location = this.#locations.capture(this.sql);
    return this.#add({ id, kind: 'sql', options, body: createSqlBody(options as never), location });
  }

  /** Adds a task that loads files or rows into a table with COPY, in one transaction. */
  load<const Id extends string, const N extends Needs = readonly [], W = undefined>(
    id: Id,
    options: TaskOptions<N, W> & LoadSource<Context<P, I, N, W>>,
  ): Task<Id, LoadResult> {
    const location = this.#locations.capture(this.load);
    return this.#add({ id, kind: 'load', options, body: createLoadBody(options as LoadSource), location });
  }

  /**
   * Adds a task that writes the rows of a query to a file with COPY. The file appears complete or not at all. It is
   * written before the COMMIT, so it is written at least once: if the COMMIT fails, the next attempt writes it again.
   */
  unload<const Id extends string, const N extends Needs = readonly [], W = undefined>(
    id: Id,
    options: ReadOnlyTaskOptions<N, W> & UnloadSource<Context<P, I, N, W>>,
  ): Task<Id, UnloadResult> {
    const location = captureLocation(this.unload, this.#made.root);
    const body = locateErrors(location, () => createUnloadBody(options as UnloadSource));
    return this.#add({ id, kind: 'unload', options, body, location });
  }

  /** Adds a task that copies rows of another database into a table with COPY, in one transaction. */
  transfer<const Id extends string, const N extends Needs = readonly [], W = undefined>(
    id: Id,
    options: TaskOptions<N, W> & TransferSource<Context<P, I, N, W>>,
  ): Task<Id, TransferResult> {
    const location = this.#locations.capture(this.transfer);
    const body = createTransferBody(options as TransferSource);
    return this.#add({ id, kind: 'transfer', options, body, location });
  }

  /**
   * Adds a task with a function that has no connection. The ledger records the task after the function has run, so the
   * function runs at least once.
   */
  task<const Id extends string, R, const N extends Needs = readonly [], W = undefined>(
    id: Id,
    options: PlainTaskOptions<N, W>,
    run: (context: Context<P, I, N, W>) => Promise<R> & JsonResult<R>,
  ): Task<Id, R> {
    const location = this.#locations.capture(this.task);
    assertFunction(id, run, location);
    return this.#add({ id, kind: 'task', options, body: new PlainFunction(run as never), location });
  }

  /**
   * Checks the definition of a task, adds the task to the Dag and returns its handle. Throws `EtlError` ETL-2301 if the
   * ID is used twice, ETL-2302 if a task in `needs` belongs to another Dag, ETL-2303 for a wrong option, ETL-2305 for a
   * wrong ID, and ETL-2307 if `define` has already returned.
   */
  #add<Id extends string, R>(definition: Definition<Id>): Task<Id, R> {
    const { id, kind, options, location } = definition;
    assertId('task', id, location);
    const first = this.#byId.get(id);
    if (first !== undefined) {
      throw new EtlError('ETL-2301', {
        what: `the task ID "${id}" is used twice`,
        where: `${formatLocation(location)}, and first at ${formatLocation(first.location)}`,
        fix: 'give one of the tasks another ID',
      });
    }
    validateTaskOptions(kind, options, location);
    const { needs } = options;
    if (Array.isArray(needs)) for (const task of needs as readonly Task[]) this.#assertOwn(task, definition);
    else if (needs !== undefined)
      for (const [name, task] of Object.entries(needs)) this.#assertOwn(task, definition, name);
    const { tasks, isComplete } = this.#made;
    if (isComplete) {
      throw new EtlError('ETL-2307', {
        what: `the task "${id}" was added after its Dag was defined`,
        where: formatLocation(location),
        why: 'tasks must be added synchronously inside the callback of `dag()`',
        fix: 'add the task before the callback returns; an async callback returns at its first `await`',
      });
    }
    const task = new DefinedTask(definition, tasks.length);
    tasks.push(task);
    this.#byId.set(id, task);
    return task as unknown as Task<Id, R>;
  }

  /**
   * Throws `EtlError` ETL-2302 if `task`, which a definition lists in `needs`, is not a task of this Dag. `name` is the
   * key of the task in `needs`, or its ID if `needs` is an array. `task` is undefined if the user passed `undefined`.
   */
  #assertOwn(task: Task, { id, location }: Definition, name = task?.id): void {
    // A task of another Dag has an index too, but in this Dag another task is at this index.
    if (this.#made.tasks[task?.index] === task) return;
    throw new EtlError('ETL-2302', {
      what: `task "${id}" needs "${name}", which is not a task of the same Dag`,
      where: formatLocation(location),
      fix: 'pass the value that a method of `d` returned inside this Dag',
    });
  }
}

/** The arguments of one call of a method of `DagBuilder`. */
export interface Definition<Id extends string = string> {
  readonly id: Id;
  readonly kind: TaskKind;
  readonly options: TaskOptions<Needs>;
  readonly body: TaskBody;
  readonly location: Location;
}

/**
 * The only implementation of `Task`. A Dag can have a million tasks, so this is a class, and `upstream` is computed on
 * each read instead of stored.
 */
export class DefinedTask implements Task {
  readonly id: string;
  readonly index: number;
  readonly kind: TaskKind;
  readonly options: TaskOptions<Needs>;
  readonly body: TaskBody;
  readonly location: Location;

  constructor({ id, kind, options, body, location }: Definition, index: number) {
    this.id = id;
    this.index = index;
    this.kind = kind;
    this.options = options;
    this.body = body;
    this.location = location;
  }

  /** Builds the map from `needs`. The keys are the names in `needs`, or the task IDs if `needs` is an array. */
  get upstream(): ReadonlyMap<string, Task> {
    const { needs = [] } = this.options;
    if (Array.isArray(needs)) return new Map((needs as readonly Task[]).map((task) => [task.id, task]));
    return new Map(Object.entries(needs));
  }
}
