import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { EtlError, toError } from '../../errors.js';
import { type TaskOutcome, TaskRunner } from '../attempt/task-runner.js';
import type { Database } from '../../hooks/hook.js';
import { RunDatabases } from '../database/run-databases.js';
import { formatDuration } from '../duration.js';
import type { EventBody, Reporter, RunState, TaskSummary } from '../report/event.js';
import { executeDag } from './executor.js';
import { FailureLog } from './failure-log.js';
import { finishRun, summarize } from './finish.js';
import type { PlannedTask } from '../dag/plan.js';
import { type RunRequest, type StartedRun, startRun } from './start.js';
import { findDatabaseError, describeState, isConnectionLoss } from '../postgres/sqlstate.js';
import { FINISH_MS, LONGEST_MS, STOPPED_FINISH_MS, untilAborted } from '../waiting.js';

/** The connections that a run can use, by ID. */
export interface RunConnections {
  /** Opens a database. `notice` takes one line that a person should read. Throws `EtlError` when it can't be reached. */
  readonly open: (id: string, notice: Database['notice']) => Promise<Database>;
  /** The IDs that begin with `prefix`. */
  readonly list: (prefix?: string) => readonly string[];
  /** Where a connection points, without its password. */
  readonly describe: (id: string) => string;
  /** How many tasks may run at once on a connection. */
  readonly getPoolSize: (id: string) => number;
}

/** When a run starts no further task, and when it ends. */
export interface RunLimits {
  /** How many tasks may run at once. */
  readonly concurrency: number;
  /** Start nothing new once a task has failed. */
  readonly failFast: boolean;
  readonly timeoutMs: number | undefined;
}

/** What a run takes from outside. */
export interface RunServices {
  readonly connections: RunConnections;
  readonly limits: RunLimits;
  readonly reporter: Reporter;
  /** Aborts, with an `EtlError` as the reason, when the run must stop. */
  readonly signal: AbortSignal;
  readonly random: () => number;
  readonly process: {
    readonly pid: number;
    readonly host: string;
    readonly version: string;
    /** New for every start of the program. */
    readonly holder: string;
  };
  /** Masks secrets in a text that is kept. */
  readonly redact: (text: string) => string;
  /** Errors that no running task could be blamed for; asked at the end of the run. */
  readonly unhandledErrors: () => readonly EtlError[];
  /** Called once no task of the run is under way any more, nor will be. */
  readonly onTasksEnded?: () => void;
}

/** How a run ended: a value, because a failed run is no error of the program. */
export interface RunResult {
  readonly runId: string;
  readonly state: RunState;
  readonly tasks: readonly TaskSummary[];
  /** Errors of the run itself, apart from those of its tasks. */
  readonly errors: readonly EtlError[];
  readonly durationMs: number;
}

/**
 * Runs a Dag once. Throws `EtlError` when it could not start: the database can't be reached, another run has the lock,
 * there is nothing to resume. From the first task on, whatever happens is part of the result. All connections are
 * closed in every case.
 */
export async function runDag(request: RunRequest, services: RunServices): Promise<RunResult> {
  return new Run(request, services).run();
}

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
    this.#failures = new FailureLog(services.redact);
    const { pid, host } = services.process;
    const lockHolder = { dagId: request.dag.id, holder: getHolder(request.start, services), pid, host };
    const notice = (text: string): void => this.#emit({ type: 'notice', text });
    this.#databases = new RunDatabases(
      (id) => services.connections.open(id, notice),
      lockHolder,
      (error) => this.#abort(error),
    );
  }

  async run(): Promise<RunResult> {
    const { signal, limits } = this.#services;
    const { timeoutMs } = limits;
    const onSignal = (): void => this.#abort(signal.reason as EtlError);
    if (signal.aborted) onSignal();
    else signal.addEventListener('abort', onSignal, { once: true });
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => this.#abort(runTimedOut(timeoutMs)), Math.min(timeoutMs, LONGEST_MS));
    try {
      const started = await this.#start();
      return await this.#finish(started, await this.#execute(started));
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onSignal);
      await this.#databases.close();
    }
  }

  async #start(): Promise<StartedRun> {
    const { process, connections } = this.#services;
    const services = { databases: this.#databases, process };
    const started = await untilAborted(startRun(this.#request, services), this.#stop.signal).catch(
      throwNotStarted,
    );
    setMaxListeners(0, this.#stop.signal);
    const { runId, home, interval, tasks } = started.plan;
    this.#runId = runId;
    const place = home === undefined ? undefined : `${home} (${connections.describe(home)})`;
    const span = interval && { start: interval.start, end: interval.end };
    this.#emit({ type: 'run_started', tasks: tasks.length, interval: span, home: place });
    if (started.resume) {
      const { plan, of } = started.resume;
      this.#emit({ type: 'run_resumed', was: of.state, startedAt: of.startedAt, ...plan });
    }
    return started;
  }

  async #execute({ plan, done, prints, only, resume }: StartedRun): Promise<readonly TaskOutcome[]> {
    const { random, connections, limits } = this.#services;
    const { signal } = this.#stop;
    const runner = new TaskRunner(plan, {
      databases: this.#databases,
      isNew: resume === undefined && only === undefined,
      done,
      prints,
      emit: (event) => this.#emit(event),
      random,
      signal,
      connections: connections.list,
      onLateError: (error) => this.#errors.push(error),
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
    return { runId: plan.runId, state, tasks, errors, durationMs };
  }

  #abort(reason: EtlError): void {
    if (this.#stop.signal.aborted) return;
    this.#errors.push(reason);
    this.#stop.abort(reason);
  }

  #emit(body: EventBody): void {
    const event = { at: new Date(), runId: this.#runId, dagId: this.#request.dag.id, ...body };
    this.#failures.add(event);
    this.#services.reporter.report(event);
  }
}

/** Processes that do single tasks of one run are one holder: none of them fences the others. */
function getHolder(start: RunRequest['start'], { process }: RunServices): string {
  if (start.kind !== 'task') return process.holder;
  const hash = createHash('sha256').update(start.runId).digest('hex');
  return [
    hash.slice(0, 8),
    hash.slice(8, 12),
    hash.slice(12, 16),
    hash.slice(16, 20),
    hash.slice(20, 32),
  ].join('-');
}

/** An error of the database before the first task: nothing was started. */
function throwNotStarted(error: unknown): never {
  const cause = toError(error);
  const database = findDatabaseError(cause);
  const isLost = isConnectionLoss(cause);
  if (cause instanceof EtlError || (database === undefined && !isLost)) throw cause;
  throw new EtlError(isLost ? 'ETL-1002' : 'ETL-4006', {
    what: `the ledger can't be used: ${cause.message}`,
    why: database && describeState(database.code),
    fix:
      database?.code === '42501'
        ? 'let a role that may create schemas run the output of `etl ledger sql`, and grant what it says'
        : undefined,
    data: 'nothing was started',
    cause: error,
  });
}

function createPassedOverOutcome(
  { id }: PlannedTask,
  because: { readonly taskId: string; readonly outcome: TaskOutcome } | 'stopped',
): TaskOutcome {
  const base = { taskId: id, attempts: 0, durationMs: 0, reused: false, result: undefined };
  if (because === 'stopped') return { ...base, state: 'skipped', reason: 'the run stopped before it' };
  const { taskId, outcome } = because;
  if (outcome.state === 'skipped') return { ...base, state: 'skipped', reason: `"${taskId}" was skipped` };
  return { ...base, state: 'upstream_failed', reason: `needs "${taskId}"` };
}

function runTimedOut(timeoutMs: number): EtlError {
  return new EtlError('ETL-3303', {
    what: `the run did not end within its timeout of ${formatDuration(timeoutMs)}`,
    data: 'tasks that had ended are committed; the others wrote nothing',
  });
}
