import { EtlError } from '../errors.js';
import type { Dag } from './dag.js';
import { parseDuration } from './duration.js';
import type { DataInterval } from './interval.js';
import { validateDefaults } from './options.js';
import { placeText, type Place } from './place.js';
import type { RetryPolicy } from './retry.js';
import type { Backoff, Check, Isolation, Needs, SessionOptions, Task, TaskDefaults } from './task.js';

/** A task with every option decided. */
export interface PlannedTask {
  readonly id: string;
  /** Its place in `RunPlan.tasks`. */
  readonly index: number;
  readonly task: Task;
  /** The places of the tasks that it needs; each is less than its own. */
  readonly upstream: readonly number[];
  /** The connection that it writes through; undefined for a task without one. */
  readonly conn: string | undefined;
  /** Other connections that it reads from. */
  readonly reads: readonly string[];
  readonly retry: RetryPolicy;
  readonly timeoutMs: number | undefined;
  readonly isolation: Isolation;
  readonly checks: readonly Check[];
  readonly retryOn: readonly string[];
  readonly place: Place;
}

/** What a run will do: everything is decided, nothing is open. */
export interface RunPlan {
  readonly runId: string;
  readonly dag: Dag;
  /** In a topological order. */
  readonly tasks: readonly PlannedTask[];
  /** Where the run's header and lock live: the Dag's default connection, or that of its first task with one. */
  readonly home: string | undefined;
  readonly interval: DataInterval | undefined;
  readonly params: unknown;
}

const DEFAULT_BACKOFF: Required<Backoff> = { initial: '5s', factor: 2, max: '5m', jitter: true };

/**
 * Decides the options of every task: its own win over the Dag's defaults, and those over the config's. Pure. Throws
 * `EtlError` for a task that needs a connection and names none anywhere.
 */
export function planTasks(dag: Dag, configDefaults: TaskDefaults): readonly PlannedTask[] {
  validateDefaults(configDefaults, 'defaults');
  const indexes = new Map(dag.tasks.map((task, index) => [task, index]));
  const defaults = { ...configDefaults, ...defined(dag.options.defaults ?? {}) };
  return dag.tasks.map((task, index) => {
    const upstream = [...task.upstream.values()].map((each) => indexes.get(each) ?? -1);
    return { index, upstream, ...decide(task, defaults) };
  });
}

/** The home connection of planned tasks. */
export function homeOf(
  dag: Dag,
  configDefaults: TaskDefaults,
  tasks: readonly PlannedTask[],
): string | undefined {
  const first = tasks.find((task) => task.conn !== undefined)?.conn;
  return dag.options.defaults?.conn ?? configDefaults.conn ?? first;
}

function decide(task: Task, defaults: TaskDefaults): Omit<PlannedTask, 'index' | 'upstream'> {
  const options = { ...defaults, ...defined(task.options) };
  const backoff = {
    ...DEFAULT_BACKOFF,
    ...defined(defaults.backoff ?? {}),
    ...defined(task.options.backoff ?? {}),
  };
  if (task.body.transactional && options.conn === undefined) throw withoutConnection(task);
  const retryOn = options.retryOn ?? [];
  return {
    id: task.id,
    task,
    conn: task.body.transactional ? options.conn : undefined,
    reads: (task.options as Partial<SessionOptions<Needs, unknown, string>>).reads ?? [],
    retry: {
      retries: options.retries ?? 0,
      initialMs: parseDuration(backoff.initial, 'backoff.initial'),
      factor: backoff.factor,
      maxMs: parseDuration(backoff.max, 'backoff.max'),
      jitter: backoff.jitter,
    },
    timeoutMs: options.timeout === undefined ? undefined : parseDuration(options.timeout, 'timeout'),
    isolation: options.isolation ?? 'repeatable read',
    checks: task.options.checks ?? [],
    retryOn,
    place: task.place,
  };
}

/** An option that is given as `undefined` is not given. */
function defined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}

function withoutConnection(task: Task): EtlError {
  return new EtlError('ETL-2306', {
    what: `task "${task.id}" has no connection`,
    where: placeText(task.place, ''),
    fix: 'give it `conn`, or put `conn` into the `defaults` of its Dag or of the config',
  });
}
