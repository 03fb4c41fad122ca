import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { describeThrown, EtlError, toError } from '../../errors.js';
import type { BeforeCommit } from '../attempt/before-commit.js';
import { type TaskOutcome, TaskRunner } from '../attempt/task-runner.js';
import type { Database } from '../../hooks/hook.js';
import { RunDatabases } from '../database/run-databases.js';
import { formatDuration } from '../duration.js';
import { DEFAULT_ZONE } from '../interval/zone-time.js';
import type { EventBody, Reporter, RunState, TaskSummary } from '../report/event.js';
import { executeDag } from './executor.js';
import { FailureLog } from './failure-log.js';
import { finishRun, summarize } from './finish.js';
import { type LedgerSchema, nameSchema } from '../ledger/ledger.js';
import type { PlannedTask } from '../dag/plan.js';
import { type RunRequest, type StartedRun, startRun } from './start.js';
import { findLedgerConnection } from '../postgres/failed-statement.js';
import { adviseFix, findDatabaseError, describeState, isConnectionLoss } from '../postgres/sqlstate.js';
import { FINISH_MS, LONGEST_MS, STOPPED_FINISH_MS, untilAborted } from '../waiting.js';

/** The connections that a run can use, by ID. */
export interface RunConnections {
  /**
   * Opens a database. `notice` takes one line that a person should read. Throws `EtlError` if the database can't be
   * reached.
   */
  readonly open: (id: string, notice: Database['notice']) => Promise<Database>;
  /** Returns the IDs that begin with `prefix`. Without a prefix, returns all IDs. */
  readonly list: (prefix?: string) => readonly string[];
  /** Describes the location of a connection, without its password. */
  readonly describe: (id: string) => string;
  /** Returns how many tasks may run at once on a connection. */
  readonly getPoolSize: (id: string) => number;
}

/** The number of tasks that run at once if nobody sets a limit. */
export const DEFAULT_CONCURRENCY = 4;

/** The default of `RunServices.schema`. */
const DEFAULT_LEDGER = nameSchema();

/** The limits of a run. */
export interface RunLimits {
  /** The maximum number of tasks that run at once. */
  readonly concurrency: number;
  /** True: no further task is started after a task has failed. */
  readonly failFast: boolean;
  /** The run is stopped after this time. Undefined: no limit. */
  readonly timeoutMs: number | undefined;
}

/** The services that a run gets from its caller. */
export interface RunServices {
  readonly connections: RunConnections;
  readonly limits: RunLimits;
  /** The schema of the ledger in each database. Default: `etl`. */
  readonly schema?: LedgerSchema;
  readonly reporter: Reporter;
  /** Aborts when the run must stop. The reason is an `EtlError`. */
  readonly signal: AbortSignal;
  /** Returns a random number in `[0, 1)`. */
  readonly random: () => number;
  readonly process: {
    readonly pid: number;
    readonly host: string;
    readonly version: string;
    /** A UUID that is new for each start of the program. */
    readonly holder: string;
  };
  /** Masks secrets in a text that is stored in the ledger. */
  readonly redact: (text: string) => string;
  /** True if the ledger may contain values of rows. Default: false. */
  readonly recordsRowData?: boolean;
  /** Returns the unhandled errors that belong to no running task. Called at the end of the run. */
  readonly unhandledErrors: () => readonly EtlError[];
  /** Takes an error (ETL-9002) that the reporter has thrown. The run goes on. */
  readonly onReportFailed: (error: EtlError) => void;
  /** Called before the COMMIT of each task with a transaction. An error that it throws rolls the task back. */
  readonly beforeCommit?: BeforeCommit | undefined;
  /** Called when all tasks of the run have ended. */
  readonly onTasksEnded?: () => void;
}

/** The result of a run. A failed run is a value, not an exception. */
export interface RunResult {
  readonly runId: string;
  /** The data interval. Undefined if the Dag has no schedule. */
  readonly interval: { readonly start: Date; readonly end: Date } | undefined;
  readonly state: RunState;
  readonly tasks: readonly TaskSummary[];
  /** The errors of the run itself. The errors of tasks are in `tasks`. */
  readonly errors: readonly EtlError[];
  /** The results of the tasks that have succeeded, by task ID. */
  readonly results: ReadonlyMap<string, unknown>;
  readonly durationMs: number;
}

/**
 * Runs a Dag once. Throws `EtlError` if the run can't start: for example, the database can't be reached, another run
 * has the lock, or there is nothing to resume. After the first task has started, all errors are part of the result.
 * All connections are closed in every case.
 */
export async function executeRun(request: RunRequest, services: RunServices): Promise<RunResult> {
  return new Run(request, services).run();
}

/** One run of a Dag: start, tasks, end. */
class Run {
  readonly #request: RunRequest;
  readonly #services: RunServices;
  readonly #databases: RunDatabases;
  readonly #stop = new AbortController();
  readonly #errors: EtlError[] = [];
  readonly #failures: FailureLog;
  readonly #startedAt = performance.now();
  #runId: string;

  constructor(request: RunRequest, services: RunServices) {
    this.#request = request;
    this.#services = services;
    this.#runId = request.start.runId ?? '';
    this.#failures = new FailureLog(services.redact, services.recordsRowData ?? false);
    const { pid, host } = services.process;
    const lockHolder = { dagId: request.dag.id, holder: createHolder(request.start, services), pid, host };
    const notice = (text: string): void => this.#emit({ type: 'notice', text });
    this.#databases = new RunDatabases(
      {
        open: (id) => services.connections.open(id, notice),
        schema: services.schema ?? DEFAULT_LEDGER,
      },
      lockHolder,
      (error) => this.#abort(error),
    );
  }

  /**
   * Runs the Dag and returns the result of the run. Listens to the signal and the timeout of the run until the end of
   * the run is recorded; then closes all connections. Throws `EtlError` if the run can't start.
   */
  async run(): Promise<RunResult> {
    const { signal, limits } = this.#services;
    const { timeoutMs } = limits;
    const onSignal = (): void => this.#abort(signal.reason as EtlError);
    if (signal.aborted) onSignal();
    else signal.addEventListener('abort', onSignal, { once: true });
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => this.#abort(createRunTimeoutError(timeoutMs)), Math.min(timeoutMs, LONGEST_MS));
    try {
      const started = await this.#start();
      return await this.#finish(started, await this.#execute(started));
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onSignal);
      await this.#databases.close();
    }
  }

  /**
   * Takes the lock, starts or resumes the run in the ledger, and emits `run_started` and, for a resumed run,
   * `run_resumed`. Throws `EtlError` if the run can't start, or if it is stopped before.
   */
  async #start(): Promise<StartedRun> {
    const { process, connections } = this.#services;
    const services = { databases: this.#databases, process };
    const started = await untilAborted(startRun(this.#request, services), this.#stop.signal).catch(
      (error: unknown) => throwNotStarted(error, connections.describe),
    );
    // Each running task listens to the signal, so Node.js must not warn of more than ten listeners.
    setMaxListeners(0, this.#stop.signal);
    const { runId, home, interval, tasks } = started.plan;
    this.#runId = runId;
    const homeText = home === undefined ? undefined : `${home} (${connections.describe(home)})`;
    const timezone = this.#request.dag.schedule?.timezone ?? DEFAULT_ZONE;
    const span = interval && { start: interval.start, end: interval.end };
    this.#emit({ type: 'run_started', tasks: tasks.length, interval: span, timezone, home: homeText });
    if (started.resume) {
      const { plan, of } = started.resume;
      this.#emit({ type: 'run_resumed', was: of.state, startedAt: of.startedAt, ...plan });
    }
    return started;
  }

  /**
   * Runs the tasks, and returns their outcomes in the order of definition. If the run is for one task (`only`), runs
   * this task alone and returns its outcome. Emits `task_finished` for each task.
   */
  async #execute({ plan, done, fingerprints, only, resume }: StartedRun): Promise<readonly TaskOutcome[]> {
    const { random, connections, limits } = this.#services;
    const { signal } = this.#stop;
    const runner = new TaskRunner(plan, {
      databases: this.#databases,
      isNew: resume === undefined && only === undefined,
      done,
      fingerprints,
      emit: (event) => this.#emit(event),
      random,
      signal,
      connections: connections.list,
      onLateError: (error) => this.#errors.push(error),
      beforeCommit: this.#services.beforeCommit,
    });
    if (only !== undefined) return [this.#reportEnded(await runner.run(only))];
    return executeDag(plan, {
      runTask: async (task) => this.#reportEnded(await runner.run(task)),
      passOver: (task, because) => this.#reportEnded(createPassedOverOutcome(task, because)),
      concurrency: limits.concurrency,
      getPoolSize: connections.getPoolSize,
      failFast: limits.failFast,
      signal,
    });
  }

  #reportEnded(outcome: TaskOutcome): TaskOutcome {
    this.#emit({ type: 'task_finished', ...summarize(outcome) });
    return outcome;
  }

  /** Records the end of the run and emits the last event. */
  async #finish({ plan, only }: StartedRun, outcomes: readonly TaskOutcome[]): Promise<RunResult> {
    this.#services.onTasksEnded?.();
    const attempts = this.#failures.rows;
    const errors = this.#errors;
    errors.push(...this.#services.unhandledErrors());
    const { state, tasks } = await finishRun({
      plan,
      outcomes,
      attempts,
      errors,
      databases: this.#databases,
      isWhole: only === undefined,
      limitMs: this.#stop.signal.aborted ? STOPPED_FINISH_MS : FINISH_MS,
    });
    const durationMs = performance.now() - this.#startedAt;
    this.#emit({ type: 'run_finished', state, tasks, durationMs, errors });
    const values = new Map(outcomes.map(({ taskId, result }) => [taskId, result]));
    const done = tasks.filter((task) => task.state === 'success');
    const results = new Map(done.map(({ taskId }) => [taskId, values.get(taskId)]));
    const { runId, interval } = plan;
    const span = interval && { start: interval.start, end: interval.end };
    return { runId, interval: span, state, tasks, errors, results, durationMs };
  }

  /** Stops the run, which fails with `reason`. A later reason is ignored. */
  #abort(reason: EtlError): void {
    if (this.#stop.signal.aborted) return;
    this.#errors.push(reason);
    this.#stop.abort(reason);
  }

  /**
   * Adds the time, the run and the Dag to an event. Gives the event to the failure log and to the reporter. Never throws:
   * an error of the reporter must not end a task or hold the lock.
   */
  #emit(body: EventBody): void {
    const event = { at: new Date(), runId: this.#runId, dagId: this.#request.dag.id, ...body };
    this.#failures.add(event);
    try {
      this.#services.reporter.report(event);
    } catch (error) {
      this.#services.onReportFailed(createReportError(event.type, error));
    }
  }
}

/** Creates the error of a reporter that has thrown for an event of this type. */
function createReportError(type: string, thrown: unknown): EtlError {
  return new EtlError('ETL-9002', {
    what: `a part of the report is missing: the event ${type} could not be shown (${describeThrown(thrown)})`,
    fix: 'look at the run with `etl show`, and report this as a bug',
    data: 'the run went on: its tasks and its record are not affected',
    cause: thrown,
  });
}

/**
 * Returns the ID of the holder of the lock, in the form of a UUID. A process that runs a whole run has its own ID.
 * Processes that each run one task of the same run compute the same ID from the ID of the run. So they count as one
 * holder, and no process makes the epoch of another process old.
 */
function createHolder(start: RunRequest['start'], { process }: RunServices): string {
  if (start.kind !== 'task') return process.holder;
  const hash = createHash('sha256').update(start.runId).digest('hex');
  return hash.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, '$1-$2-$3-$4-$5');
}

/**
 * Throws the error of a run that can't start. An error of the server or of a connection becomes an `EtlError`: ETL-1002
 * if the connection was lost, otherwise ETL-4006. Rethrows any other error.
 */
function throwNotStarted(error: unknown, describe: (connectionId: string) => string): never {
  const cause = toError(error);
  const database = findDatabaseError(cause);
  const isLost = isConnectionLoss(cause);
  if (cause instanceof EtlError || (database === undefined && !isLost)) throw cause;
  const { connectionId: id, readOnly } = findLedgerConnection(cause) ?? {};
  throw new EtlError(isLost ? 'ETL-1002' : 'ETL-4006', {
    what: `the ledger${id === undefined ? '' : ` of connection "${id}"`} (etl's own tables) can't be used: ${cause.message}`,
    where: id === undefined ? undefined : `connection "${id}" (${describe(id)})`,
    why:
      database &&
      [describeState(database.code), ...(readOnly === undefined ? [] : [readOnly.why])].join('\n'),
    fix:
      database?.code === '42501'
        ? 'run the output of `etl ledger sql` as a role that may create schemas, and grant the rights that the output names'
        : (readOnly?.fix ?? (database && adviseFix(database.code, undefined))),
    data: 'nothing was started',
    cause: error,
  });
}

/**
 * Creates the outcome of a task that was not started: skipped if the run has stopped or if the upstream task
 * `because.taskId` was skipped; `upstream_failed` if this upstream task failed or could not run itself.
 */
function createPassedOverOutcome(
  { id }: PlannedTask,
  because: { readonly taskId: string; readonly outcome: TaskOutcome } | 'stopped',
): TaskOutcome {
  const base = { taskId: id, attempts: 0, durationMs: 0, reused: false, result: undefined };
  if (because === 'stopped')
    return { ...base, state: 'skipped', reason: 'the run stopped before the task started' };
  const { taskId, outcome } = because;
  if (outcome.state === 'skipped') return { ...base, state: 'skipped', reason: `"${taskId}" was skipped` };
  return { ...base, state: 'upstream_failed', reason: `needs "${taskId}"` };
}

/** Creates the error of a run that reached its timeout. */
function createRunTimeoutError(timeoutMs: number): EtlError {
  return new EtlError('ETL-3303', {
    what: `the run did not end within its timeout of ${formatDuration(timeoutMs)}`,
    data: 'tasks that had succeeded are committed; the others wrote nothing',
  });
}
