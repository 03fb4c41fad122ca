/* oxlint-disable typescript/unbound-method -- a method marks a stack frame for captureLocation; it is not called */
import { EtlError } from '../../errors.js';
import { type DataInterval, type Schedule, parseSchedule } from '../interval/interval.js';
import { type JsonResult, showValue } from '../json.js';
import {
  assertCallbacks,
  assertDefinition,
  assertFunction,
  assertHasTask,
  assertOwnRejectsFile,
  assertId,
  assertSynchronous,
} from './definition.js';
import { locateErrors, validateDagOptions, validateTaskOptions } from './options.js';
import {
  type ConfigRoot,
  type Location,
  TaskLocations,
  captureLocation,
  formatLocation,
} from '../modules/location.js';
import type { RunCallbacks } from './run-end.js';
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

/**
 * A graph of tasks that run together. The graph is known before any task runs. `Defined` is the type of the value that
 * its definition returned.
 */
export interface Dag<Defined = unknown> {
  readonly id: string;
  readonly options: DagOptions;
  /** Undefined if the Dag has no `schedule`, or `@once`. */
  readonly schedule: Schedule | undefined;
  /**
   * The tasks in the order of definition. The order is topological, because a task must exist before another can need
   * it.
   */
  readonly tasks: readonly Task[];
  /** The value that the definition returned. `runDag` returns the results of the tasks in it. */
  readonly defined: Defined;
  /** The functions that are called once a run of this Dag has ended. */
  readonly callbacks: RunCallbacks;
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
 * The return type of a definition: any type except a promise. For a promise, the text becomes a part of the compiler's
 * message.
 */
type Synchronous<R> = R extends PromiseLike<unknown> ? 'the definition of a Dag must not be async' : R;

/**
 * Defines a Dag. `dag` calls `define` once and synchronously; `define` adds the tasks, at least one. `callbacks` come
 * last, so that they get the results of the tasks that `define` returns with their types.
 *
 * Throws `EtlError` (exit code 2), with the location in the user's code, for mistakes that the compiler can't see: a
 * wrong ID, an ID that is used twice, a task of another Dag, a wrong option, a wrong schedule, a definition that is
 * async or adds no task.
 */
export function dag<const O extends DagOptions, R>(
  id: string,
  options: O,
  define: (d: DagBuilder<ParamsOf<O>, IntervalOf<O>>) => Synchronous<R>,
  callbacks: RunCallbacks<NoInfer<R>> = {},
): Dag<R> {
  const location = captureLocation(dag);
  assertId('Dag', id, location);
  validateDagOptions(options, location);
  assertDefinition(id, define, location);
  assertCallbacks(callbacks, location);
  const schedule = locateErrors(location, () => parseSchedule(options));
  const made: DefinedTasks = { tasks: [], isComplete: false, root: location.root };
  let defined: R;
  try {
    defined = define(new DagBuilder(made)) as R;
    assertSynchronous(id, defined, location);
  } finally {
    made.isComplete = true;
  }
  assertHasTask(id, made.tasks, location);
  const result = {
    id,
    options,
    schedule,
    tasks: made.tasks,
    defined,
    // The results of a run of this Dag have the types that the functions expect.
    callbacks: callbacks as RunCallbacks,
    location,
  };
  DAGS.add(result);
  return result;
}

/** Says whether a value was returned by `dag()`. */
export function isDag(value: unknown): value is Dag {
  return typeof value === 'object' && value !== null && DAGS.has(value);
}

/** Returns a text for a Dag, a task or a builder, by its ID. Returns undefined for any other object. */
export function describeDefinition(value: object): string | undefined {
  if (value instanceof DefinedTask) return `task ${value.id}`;
  if (value instanceof DagBuilder) return 'builder';
  return isDag(value) ? `Dag ${value.id}` : undefined;
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
    return this.#add({ id, kind: 'session', options, location }, () => {
      assertFunction(id, run, location);
      return createSessionBody(run as never, options.reads ?? []);
    });
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
    return this.#add({ id, kind: 'sql', options, location }, () => createSqlBody(options as never));
  }

  /** Adds a task that loads files or rows into a table with COPY, in one transaction. */
  load<const Id extends string, const N extends Needs = readonly [], W = undefined>(
    id: Id,
    options: TaskOptions<N, W> & LoadSource<Context<P, I, N, W>>,
  ): Task<Id, LoadResult> {
    const location = this.#locations.capture(this.load);
    return this.#add({ id, kind: 'load', options, location }, () => createLoadBody(options as LoadSource));
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
    return this.#add({ id, kind: 'unload', options, location }, () =>
      locateErrors(location, () => createUnloadBody(options as UnloadSource)),
    );
  }

  /** Adds a task that copies rows of another database into a table with COPY, in one transaction. */
  transfer<const Id extends string, const N extends Needs = readonly [], W = undefined>(
    id: Id,
    options: TaskOptions<N, W> & TransferSource<Context<P, I, N, W>>,
  ): Task<Id, TransferResult> {
    const location = this.#locations.capture(this.transfer);
    return this.#add({ id, kind: 'transfer', options, location }, () =>
      createTransferBody(options as TransferSource),
    );
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
    return this.#add({ id, kind: 'task', options, location }, () => {
      assertFunction(id, run, location);
      return new PlainFunction(run as never);
    });
  }

  /**
   * Checks the definition of a task, adds the task to the Dag and returns its handle. `createBody` is called when all
   * other parts are right.
   *
   * Throws `EtlError` ETL-2301 if the ID is used twice, ETL-2302 if `needs` has anything that is not a task of this
   * Dag, ETL-2303 for a wrong option, ETL-2305 for a wrong ID, ETL-2307 if the definition has already ended, and ETL-2310 if another load
   * writes the same file of rejected rows.
   */
  #add<Id extends string, R>(
    definition: Omit<Definition<Id>, 'body'>,
    createBody: () => TaskBody,
  ): Task<Id, R> {
    const { id, kind, options, location } = definition;
    assertId('task', id, location);
    const { tasks, isComplete } = this.#made;
    if (isComplete) {
      throw new EtlError('ETL-2307', {
        what: `the task "${id}" was added after its Dag was defined`,
        where: formatLocation(location),
        why: 'tasks must be added synchronously inside the callback of `dag()`',
        fix: 'add the task before the callback returns; an async callback returns at its first `await`',
      });
    }
    const first = this.#byId.get(id);
    if (first !== undefined) {
      throw new EtlError('ETL-2301', {
        what: `the task ID "${id}" is used twice`,
        where: `${formatLocation(location)}, and first at ${formatLocation(first.location)}`,
        fix: 'give one of the tasks another ID',
      });
    }
    validateTaskOptions(kind, options, location);
    this.#assertNeeds(definition);
    const task = new DefinedTask({ ...definition, body: createBody() }, tasks.length);
    assertOwnRejectsFile(task, tasks);
    tasks.push(task);
    this.#byId.set(id, task);
    return task as unknown as Task<Id, R>;
  }

  /**
   * Throws `EtlError` ETL-2302 if `needs` of a definition contains anything that is not a task of this Dag, such as
   * the `undefined` of a lookup that found nothing.
   */
  #assertNeeds({ id, options: { needs = [] }, location }: Omit<Definition, 'body'>): void {
    const isList = Array.isArray(needs);
    // `entries` also yields the holes of an array.
    const entries: Iterable<[string | number, unknown]> = isList ? needs.entries() : Object.entries(needs);
    for (const [key, value] of entries) {
      const task = value as Task | null | undefined;
      // A task of another Dag has an index too, but in this Dag another task is at this index.
      if (task instanceof DefinedTask && this.#made.tasks[task.index] === task) continue;
      const name = task instanceof DefinedTask && isList ? task.id : String(key);
      const isForeign = task instanceof DefinedTask;
      throw new EtlError('ETL-2302', {
        what: isForeign
          ? `task "${id}" needs "${name}", which is not a task of the same Dag`
          : `task "${id}" needs ${isList ? `\`needs[${name}]\`` : `"${name}"`}, which is ${showValue(task)} and not a task`,
        where: formatLocation(location),
        fix: 'pass the value that a method of `d` returned inside this Dag',
      });
    }
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
