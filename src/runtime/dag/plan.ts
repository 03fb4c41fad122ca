import { EtlError } from '../../errors.js';
import type { Dag } from './dag.js';
import { parseDuration } from '../duration.js';
import type { DataInterval } from '../interval/interval.js';
import { validateDefaults } from './options.js';
import { type Location, formatLocation } from '../modules/location.js';
import type { Backoff, Check, Needs, SessionOptions, Task, TaskDefaults } from '../tasks/task.js';
import type { TransferSource } from '../tasks/transfer/transfer-task.js';
import type { Isolation } from '../postgres/transaction.js';

/** What is decided of a task; many tasks can share one. */
export interface TaskPolicy {
  /** The connection that it writes through; undefined for a task without one. */
  readonly conn: string | undefined;
  /** Other connections that it reads from. */
  readonly reads: readonly string[];
  readonly retry: RetryPolicy;
  readonly timeoutMs: number | undefined;
  readonly isolation: Isolation;
  readonly checks: readonly Check[];
  readonly retryOn: readonly string[];
}

/** A task with every option decided. */
export interface PlannedTask extends TaskPolicy {
  readonly id: string;
  /** Its place in `RunPlan.tasks`. */
  readonly index: number;
  readonly task: Task;
  /** The places of the tasks that it needs; each is less than its own. */
  readonly upstream: readonly number[];
  readonly location: Location;
}

/** A Dag with every option of its tasks decided. */
export interface PlannedDag {
  readonly dag: Dag;
  /** In a topological order. */
  readonly tasks: readonly PlannedTask[];
  /**
   * The connection where the header and the lock of a run are stored: the Dag's default connection, or that of its first
   * task with one. Undefined for a Dag without a connection: nothing of its runs is recorded.
   */
  readonly home: string | undefined;
}

/** What a run will do: everything is decided, nothing is open. */
export interface RunPlan extends PlannedDag {
  readonly runId: string;
  readonly interval: DataInterval | undefined;
  readonly params: unknown;
  /** The tasks that begin anew; `*` stands for all. */
  readonly fullRefresh: readonly string[];
}

/** Says whether a task of a run begins anew. */
export function isFullRefresh(fullRefresh: readonly string[], taskId: string): boolean {
  return fullRefresh.includes('*') || fullRefresh.includes(taskId);
}

const DEFAULT_BACKOFF: Required<Backoff> = { initial: '5s', factor: 2, max: '5m', jitter: true };

/**
 * Decides the options of every task: its own win over the Dag's defaults, and those over the config's. Pure. Throws
 * `EtlError` for a task that needs a connection and names none anywhere.
 */
export function planTasks(dag: Dag, configDefaults: TaskDefaults): readonly PlannedTask[] {
  validateDefaults(configDefaults, 'defaults');
  const defaults = { ...configDefaults, ...removeUndefined(dag.options.defaults ?? {}) };
  const plain = getSharedPolicy(defaults, false);
  const transactional = getSharedPolicy(defaults, true);
  return dag.tasks.map((task) => {
    const { transactional: hasSession } = task.body;
    if (hasSession && (task.options.conn ?? defaults.conn) === undefined) throw createNoConnectionError(task);
    const shared = hasSession ? transactional : plain;
    const own = getOwnOptions(task);
    return new Planned(task, hasOwnDecision(own) ? decidePolicy(own, defaults, hasSession) : shared);
  });
}

/** Plans the tasks of a Dag, as `planTasks` does, and finds the home connection. Pure. Throws as `planTasks`. */
export function planDag(dag: Dag, configDefaults: TaskDefaults): PlannedDag {
  const tasks = planTasks(dag, configDefaults);
  const first = tasks.find((task) => task.conn !== undefined)?.conn;
  return { dag, tasks, home: dag.options.defaults?.conn ?? configDefaults.conn ?? first };
}

/** The connections of a Dag. Each list begins with the home connection and contains no ID twice. */
export interface DagConnections {
  /** The connections whose ledgers record the runs: the home connection, and what tasks write through. */
  readonly recording: readonly string[];
  /** All connections that a run opens: `recording`, and what tasks only read from. */
  readonly used: readonly string[];
}

/** Finds the connections that runs of a Dag open. */
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

/** What a transfer task reads from is the connection that it is `from`. */
function getOwnOptions({ kind, options }: Task): Partial<SessionOptions<Needs, unknown, string>> {
  if (kind !== 'transfer') return options;
  return { ...options, reads: [(options as unknown as TransferSource).from] };
}

/** Options that change a task's policy. */
const DECIDING: ReadonlySet<string> = new Set([
  'conn',
  'reads',
  'retries',
  'backoff',
  'timeout',
  'isolation',
  'checks',
  'retryOn',
] satisfies readonly (keyof SessionOptions<Needs, unknown, string>)[]);

function hasOwnDecision(options: object): boolean {
  for (const name in options) if (DECIDING.has(name)) return true;
  return false;
}

function getSharedPolicy(defaults: TaskDefaults, isTransactional: boolean): TaskPolicy {
  return decidePolicy({}, defaults, isTransactional);
}

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

/** The one implementation of `PlannedTask`: two fields, because a plan can have a million of them. */
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

/** By index, in the order of `Task.upstream`. */
function listUpstream({ options: { needs = NONE } }: Task): readonly number[] {
  if (!Array.isArray(needs))
    return Object.values(needs as Readonly<Record<string, Task>>).map(({ index }) => index);
  const indexes = (needs as readonly Task[]).map(({ index }) => index);
  return indexes.length < 2 || new Set(indexes).size === indexes.length ? indexes : [...new Set(indexes)];
}

const NONE: readonly Task[] = [];

/** An option that is given as `undefined` is not given. */
function removeUndefined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}

function createNoConnectionError(task: Task): EtlError {
  return new EtlError('ETL-2306', {
    what: `task "${task.id}" has no connection`,
    where: formatLocation(task.location),
    fix: 'give it `conn`, or put `conn` into the `defaults` of its Dag or of the config',
  });
}

/** How often, and how long between; times in milliseconds. */
export interface RetryPolicy {
  readonly retries: number;
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
  readonly jitter: boolean;
}
