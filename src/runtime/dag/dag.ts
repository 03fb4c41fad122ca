/* oxlint-disable typescript/unbound-method -- a method names the frame that a place leaves out; it is not called */
import {
  assertFunction,
  createDefinedLateError,
  createDefinedTwiceError,
  createForeignTaskError,
} from './dag-errors.js';
import { type DataInterval, type Schedule, parseSchedule } from '../interval/interval.js';
import type { JsonResult } from '../json.js';
import { assertId, locateErrors, validateDagOptions, validateTaskOptions } from './options.js';
import { type ConfigRoot, type Location, LocationCache, captureLocation } from '../modules/location.js';
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
import { loadBody } from '../tasks/load/load-task.js';
import { createSessionBody } from '../tasks/session-task.js';
import { type Sql, type SqlResult, createSqlBody } from '../tasks/sql-task.js';
import { createPlainBody } from '../tasks/plain-task.js';
import {
  type TransferResult,
  type TransferSource,
  createTransferBody,
} from '../tasks/transfer/transfer-task.js';
import { type UnloadResult, type UnloadSource, createUnloadBody } from '../tasks/unload/unload-task.js';
import type { IncrementalRange, SqlIncremental } from '../watermark/incremental.js';
import type { SessionContext, TaskContext, TransactionContext } from '../tasks/task-context.js';
import type { TaskBody } from '../tasks/task-body.js';

/** What a Dag is made with. */
export interface DagOptions {
  readonly description?: string;
  /** A cron expression of five fields, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@quarterly`, `@yearly`. */
  readonly schedule?: string;
  /** The IANA time zone of `schedule` and `startDate`. Default `UTC`. */
  readonly timezone?: string;
  /** `2020-08-01`, or a full ISO date: the first interval starts at the first tick from here. */
  readonly startDate?: string;
  /** A schema of any Standard Schema library (https://standardschema.dev) for `--param name=value`. */
  readonly params?: StandardSchema;
  readonly defaults?: TaskDefaults;
  /** Has no effect yet; selection by tag will use it. */
  readonly tags?: readonly string[];
}

/** A graph of tasks that is run as a whole. Known without running anything. */
export interface Dag {
  readonly id: string;
  readonly options: DagOptions;
  readonly schedule: Schedule | undefined;
  /** In the order of definition, which is a topological one: a task exists before another can need it. */
  readonly tasks: readonly Task[];
  /** @internal Where the Dag is defined in the user's code. */
  readonly location: Location;
}

type ParamsOf<O extends DagOptions> = O['params'] extends StandardSchema
  ? InferOutput<O['params']>
  : Readonly<Record<never, never>>;
type IntervalOf<O extends DagOptions> = O['schedule'] extends '@once'
  ? undefined
  : O['schedule'] extends string
    ? DataInterval
    : undefined;

const DAGS = new WeakSet<object>();

/**
 * Defines a Dag. `define` is called once, at once. Throws `EtlError` (exit code 2), with the place in the user's
 * code, for whatever the compiler can't see: a wrong ID, one used twice, a task of another Dag, a wrong schedule.
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

/** True for what `dag()` returned. */
export function isDag(value: unknown): value is Dag {
  return typeof value === 'object' && value !== null && DAGS.has(value);
}

type Context<P, I, N extends Needs, W> = TaskContext<P, I, Upstream<N>, W>;
type InSql<P, I, N extends Needs, W, Inc> = TransactionContext<P, I, Upstream<N>, W> & {
  readonly incremental: Inc extends SqlIncremental ? IncrementalRange : undefined;
};

/** What a builder has made so far. */
interface DefinedTasks {
  /** In the order of definition; each task has its place here as its index. */
  readonly tasks: Task[];
  isComplete: boolean;
  readonly root: ConfigRoot;
}

/** Adds tasks to the Dag that is being defined, and returns their handles. */
export class DagBuilder<P, I> {
  readonly #made: DefinedTasks;
  readonly #byId = new Map<string, Task>();
  readonly #locations: LocationCache;

  /** @internal Only `dag` makes one. */
  constructor(made: DefinedTasks) {
    this.#made = made;
    this.#locations = new LocationCache(made.root);
  }

  /**
   * A function that works with a session, in one transaction. What it returns is recorded in the same COMMIT, and
   * typed in the tasks that need it.
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

  /** SQL statements in one transaction, written here or in a file. */
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

  /** Files into a table by COPY, in one transaction. */
  load<const Id extends string, const N extends Needs = readonly [], W = undefined>(
    id: Id,
    options: TaskOptions<N, W> & LoadSource<Context<P, I, N, W>>,
  ): Task<Id, LoadResult> {
    const location = this.#locations.capture(this.load);
    return this.#add({ id, kind: 'load', options, body: loadBody(options as LoadSource), location });
  }

  /** A query to a file by COPY; the file is complete or not there. It is written at least once: before the COMMIT. */
  unload<const Id extends string, const N extends Needs = readonly [], W = undefined>(
    id: Id,
    options: ReadOnlyTaskOptions<N, W> & UnloadSource<Context<P, I, N, W>>,
  ): Task<Id, UnloadResult> {
    const location = captureLocation(this.unload, this.#made.root);
    const body = locateErrors(location, () => createUnloadBody(options as UnloadSource));
    return this.#add({ id, kind: 'unload', options, body, location });
  }

  /** Rows of another database into a table by COPY, in one transaction. */
  transfer<const Id extends string, const N extends Needs = readonly [], W = undefined>(
    id: Id,
    options: TaskOptions<N, W> & TransferSource<Context<P, I, N, W>>,
  ): Task<Id, TransferResult> {
    const location = this.#locations.capture(this.transfer);
    return this.#add({
      id,
      kind: 'transfer',
      options,
      body: createTransferBody(options as TransferSource),
      location,
    });
  }

  /** A function without a connection. It is recorded after it has run: at least once. */
  task<const Id extends string, R, const N extends Needs = readonly [], W = undefined>(
    id: Id,
    options: PlainTaskOptions<N, W>,
    run: (context: Context<P, I, N, W>) => Promise<R> & JsonResult<R>,
  ): Task<Id, R> {
    const location = this.#locations.capture(this.task);
    assertFunction(id, run, location);
    return this.#add({ id, kind: 'task', options, body: createPlainBody(run as never), location });
  }

  #add<Id extends string, R>(definition: Definition<Id>): Task<Id, R> {
    const { id, kind, options, location } = definition;
    assertId('task', id, location);
    const first = this.#byId.get(id);
    if (first !== undefined) throw createDefinedTwiceError(id, location, first.location);
    validateTaskOptions(kind, options, location);
    const { needs } = options;
    if (Array.isArray(needs)) for (const task of needs as readonly Task[]) this.#assertOwn(task, definition);
    else if (needs !== undefined)
      for (const [name, task] of Object.entries(needs)) this.#assertOwn(task, definition, name);
    const { tasks, isComplete } = this.#made;
    if (isComplete) throw createDefinedLateError(id, location);
    const task = new DefinedTask(definition, tasks.length);
    tasks.push(task);
    this.#byId.set(id, task);
    return task as unknown as Task<Id, R>;
  }

  #assertOwn(task: Task, { id, location }: Definition, name = task?.id): void {
    if (this.#made.tasks[task?.index] !== task) throw createForeignTaskError(id, name, location);
  }
}

/** What one call on a Dag's builder says. */
export interface Definition<Id extends string = string> {
  readonly id: Id;
  readonly kind: TaskKind;
  readonly options: TaskOptions<Needs>;
  readonly body: TaskBody;
  readonly location: Location;
}

/** The one implementation of `Task`. A class, and `upstream` not kept, because a Dag can have a million of them. */
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

  get upstream(): ReadonlyMap<string, Task> {
    const { needs = [] } = this.options;
    if (Array.isArray(needs)) return new Map((needs as readonly Task[]).map((task) => [task.id, task]));
    return new Map(Object.entries(needs));
  }
}
