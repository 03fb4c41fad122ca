import { EtlError } from '../../errors.js';
import type { Dag } from './dag.js';
import { parseDuration } from '../duration.js';
import type { DataInterval } from '../interval/interval.js';
import { DEFAULT_NAMES, validateDefaults } from './options.js';
import { type Location, formatLocation } from '../modules/location.js';
import type { Backoff, Check, Needs, SessionOptions, Task, TaskDefaults } from '../tasks/task.js';
import type { TransferSource } from '../tasks/transfer/transfer-task.js';
import type { Isolation } from '../postgres/transaction.js';

/** The options of a task after all defaults were applied. Tasks without options of their own share one object. */
export interface TaskPolicy {
  /** The ID of the connection that the task writes through. Undefined if the task has no connection. */
  readonly conn: string | undefined;
  /** The IDs of other connections that the task reads from. */
  readonly reads: readonly string[];
  readonly retry: RetryPolicy;
  readonly timeoutMs: number | undefined;
  readonly isolation: Isolation;
  readonly checks: readonly Check[];
  readonly retryOn: readonly string[];
}

/** A task with all of its options decided. */
export interface PlannedTask extends TaskPolicy {
  readonly id: string;
  /** The index of the task in `PlannedDag.tasks`. */
  readonly index: number;
  readonly task: Task;
  /** The indexes of the tasks that the task needs. Each is less than the index of the task. */
  readonly upstream: readonly number[];
  readonly location: Location;
}

/** A Dag with all options of its tasks decided. */
export interface PlannedDag {
  readonly dag: Dag;
  /** The tasks in a topological order. */
  readonly tasks: readonly PlannedTask[];
  /**
   * The connection where the header and the lock of a run are stored: the default connection of the Dag, or the
   * connection of its first task that has one. Undefined if the Dag has no connection: then nothing of its runs is
   * recorded.
   */
  readonly home: string | undefined;
}

/** A run before it starts: all options are decided, and no connection is open. */
export interface RunPlan extends PlannedDag {
  readonly runId: string;
  readonly interval: DataInterval | undefined;
  readonly params: unknown;
  /** The IDs of the incremental tasks that read all rows again, as if no run came before. `*` means all tasks. */
  readonly fullRefresh: readonly string[];
}

/** Says whether an incremental task of a run reads all rows again. `fullRefresh` is that of `RunPlan`. */
export function isFullRefresh(fullRefresh: readonly string[], taskId: string): boolean {
  return fullRefresh.includes('*') || fullRefresh.includes(taskId);
}

const DEFAULT_BACKOFF: Required<Backoff> = { initial: '5s', factor: 2, max: '5m', jitter: true };

/**
 * Decides the options of every task. The options of a task win over the defaults of its Dag. The defaults of the Dag win
 * over the defaults of the config. Pure. Throws `EtlError` ETL-2303 if a default of the config is wrong, and ETL-2306 if a task
 * needs a connection and neither the task nor the defaults name one.
 */
export function planTasks(dag: Dag, configDefaults: TaskDefaults): readonly PlannedTask[] {
  validateDefaults(configDefaults, 'defaults');
  const defaults = { ...configDefaults, ...removeUndefined(dag.options.defaults ?? {}) };
  // A Dag can have a million tasks. All tasks without options of their own share one of these two policies.
  const plain = decidePolicy({}, defaults, false);
  const transactional = decidePolicy({}, defaults, true);
  return dag.tasks.map((task) => {
    const { transactional: hasSession } = task.body;
    if (lacksConnection(task, defaults)) throw createNoConnectionError(task);
    const shared = hasSession ? transactional : plain;
    const own = getOwnOptions(task);
    const hasOwnPolicy = POLICY_OPTIONS.some((name) => name in own);
    return new Planned(task, hasOwnPolicy ? decidePolicy(own, defaults, hasSession) : shared);
  });
}

/** Says whether a task needs a connection, and neither the task nor the defaults name one. */
function lacksConnection({ body, options }: Task, defaults: TaskDefaults): boolean {
  return body.transactional && (options.conn ?? defaults.conn) === undefined;
}

/** Creates the error ETL-2306 of a task that needs a connection. */
function createNoConnectionError({ id, location }: Task): EtlError {
  return new EtlError('ETL-2306', {
    what: `task "${id}" has no connection`,
    where: formatLocation(location),
    fix: 'set `conn` of the task, or set `conn` in the `defaults` of its Dag or of the config',
  });
}

/**
 * Plans a Dag as `planDag` does, but returns all faults instead of throwing the first. The plan is undefined if the Dag
 * can't be planned.
 */
export function tryPlanDag(
  dag: Dag,
  configDefaults: TaskDefaults,
): { readonly plan: PlannedDag | undefined; readonly faults: readonly EtlError[] } {
  const defaults = { ...configDefaults, ...removeUndefined(dag.options.defaults ?? {}) };
  const faults = dag.tasks.filter((task) => lacksConnection(task, defaults)).map(createNoConnectionError);
  if (faults.length > 0) return { plan: undefined, faults };
  try {
    return { plan: planDag(dag, configDefaults), faults };
  } catch (error) {
    if (error instanceof EtlError) return { plan: undefined, faults: [error] };
    throw error;
  }
}

/**
 * Plans the tasks of a Dag and finds its home connection. Pure. Throws `EtlError` ETL-2303 and ETL-2306 in the cases of
 * `planTasks`.
 */
export function planDag(dag: Dag, configDefaults: TaskDefaults): PlannedDag {
  const tasks = planTasks(dag, configDefaults);
  const first = tasks.find((task) => task.conn !== undefined)?.conn;
  return { dag, tasks, home: dag.options.defaults?.conn ?? configDefaults.conn ?? first };
}

/** The IDs of the connections of a Dag. Each list begins with the home connection and contains no ID twice. */
export interface DagConnections {
  /**
   * The connections whose ledgers record the runs: the home connection, and the connections that tasks write through.
   */
  readonly recording: readonly string[];
  /** All connections that a run opens: `recording`, and the connections that tasks only read from. */
  readonly used: readonly string[];
}

/** Finds the connections that runs of a Dag open. A task opens its own `conn` and each connection of its `reads`. */
export function findConnections({ tasks, home }: Omit<PlannedDag, 'dag'>): DagConnections {
  const recording = new Set(home === undefined ? [] : [home]);
  const used = new Set(recording);
  for (const { conn, reads } of tasks) {
    if (conn !== undefined) {
      recording.add(conn);
      used.add(conn);
    }
    for (const id of reads) used.add(id);
  }
  return { recording: [...recording], used: [...used] };
}

/** Returns the options of a task. A transfer task also gets `reads`: the connection of its option `from`. */
function getOwnOptions({ kind, options }: Task): Partial<SessionOptions<Needs, unknown, string>> {
  if (kind !== 'transfer') return options;
  return { ...options, reads: [(options as unknown as TransferSource).from] };
}

/** The options that change the policy of a task. */
const POLICY_OPTIONS = [...DEFAULT_NAMES, 'reads', 'checks'];

/**
 * Merges the options of a task, `own`, with the defaults of its Dag and config, and fills in the built-in defaults.
 * `backoff` is merged field by field. A task that is not transactional gets no connection, even if the defaults name one.
 */
function decidePolicy(
  own: Partial<SessionOptions<Needs, unknown, string>>,
  defaults: TaskDefaults,
  isTransactional: boolean,
): TaskPolicy {
  const options = { ...defaults, ...removeUndefined(own) };
  const backoff = {
    ...DEFAULT_BACKOFF,
    ...removeUndefined(defaults.backoff ?? {}),
    ...removeUndefined(own.backoff ?? {}),
  };
  return {
    conn: isTransactional ? options.conn : undefined,
    reads: own.reads ?? [],
    retry: {
      retries: options.retries ?? 0,
      initialMs: parseDuration(backoff.initial, 'backoff.initial'),
      factor: backoff.factor,
      maxMs: parseDuration(backoff.max, 'backoff.max'),
      jitter: backoff.jitter,
    },
    timeoutMs: options.timeout === undefined ? undefined : parseDuration(options.timeout, 'timeout'),
    isolation: options.isolation ?? 'repeatable read',
    checks: own.checks ?? [],
    retryOn: options.retryOn ?? [],
  };
}

/** The only implementation of `PlannedTask`. It has two fields only, because a plan can have a million tasks. */
class Planned implements PlannedTask {
  readonly task: Task;
  readonly #policy: TaskPolicy;

  constructor(task: Task, policy: TaskPolicy) {
    this.task = task;
    this.#policy = policy;
  }

  get id(): string {
    return this.task.id;
  }

  get index(): number {
    return this.task.index;
  }

  get upstream(): readonly number[] {
    return listUpstream(this.task);
  }

  get location(): Location {
    return this.task.location;
  }

  get conn(): string | undefined {
    return this.#policy.conn;
  }

  get reads(): readonly string[] {
    return this.#policy.reads;
  }

  get retry(): RetryPolicy {
    return this.#policy.retry;
  }

  get timeoutMs(): number | undefined {
    return this.#policy.timeoutMs;
  }

  get isolation(): Isolation {
    return this.#policy.isolation;
  }

  get checks(): readonly Check[] {
    return this.#policy.checks;
  }

  get retryOn(): readonly string[] {
    return this.#policy.retryOn;
  }
}

/** Lists the indexes of the tasks that a task needs, each once, in the order of `Task.upstream`. */
function listUpstream({ options: { needs = NONE } }: Task): readonly number[] {
  if (!Array.isArray(needs))
    return Object.values(needs as Readonly<Record<string, Task>>).map(({ index }) => index);
  const indexes = (needs as readonly Task[]).map(({ index }) => index);
  // A plan can have a million tasks, and nearly no task lists the same task twice: then no second array is made.
  return indexes.length < 2 || new Set(indexes).size === indexes.length ? indexes : [...new Set(indexes)];
}

const NONE: readonly Task[] = [];

/** Removes options whose value is `undefined`: such an option counts as not given. */
function removeUndefined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}

/** How often a task is repeated after a failure, and how long the pauses are. All times are in milliseconds. */
export interface RetryPolicy {
  /** The number of attempts after the first one. */
  readonly retries: number;
  /** The first pause. */
  readonly initialMs: number;
  /** Each pause is the pause before, multiplied by this factor. */
  readonly factor: number;
  /** The longest pause. */
  readonly maxMs: number;
  /** Whether a pause is a random part of this time, so that tasks that failed together do not retry together. */
  readonly jitter: boolean;
}
