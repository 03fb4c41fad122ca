import { EtlError } from '../errors.js';
import { TaskRunner, type TaskOutcome } from './attempts.js';
import { RunDatabases, type OpenDatabase } from './databases.js';
import type { EventBody, Reporter, RunState, TaskSummary } from './event.js';
import { executeDag } from './execute.js';
import { formatDuration } from './duration.js';
import type { LockHolder } from './ledger/lock.js';
import { closeRun, openRun } from './ledger/run-row.js';
import { readDone, type DoneTask } from './ledger/task-row.js';
import { asError } from './outcome.js';
import type { PlannedTask, RunPlan } from './plan.js';
import type { ProtocolClient } from './protocol.js';

/** What a run takes from outside. */
export interface RunServices {
  readonly openDatabase: OpenDatabase;
  readonly reporter: Reporter;
  /** Aborts, with an `EtlError` as the reason, when the run must stop. */
  readonly signal: AbortSignal;
  readonly random: () => number;
  readonly process: {
    readonly pid: number;
    readonly host: string;
    readonly version: string;
    readonly holder: string;
  };
  /** The directory of the config. */
  readonly root: string;
  readonly connections: (prefix?: string) => readonly string[];
  /** The place of a connection without its password. */
  readonly placeOf: (connectionId: string) => string;
  readonly lanesOf: (connectionId: string) => number;
  readonly concurrency: number;
  readonly failFast: boolean;
  readonly timeoutMs: number | undefined;
}

/** How a run ended: a value, because a failed run is no error of the program. */
export interface RunResult {
  readonly state: RunState;
  readonly tasks: readonly TaskSummary[];
  /** Errors of the run itself, apart from those of its tasks. */
  readonly errors: readonly EtlError[];
  readonly durationMs: number;
}

const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Runs a Dag once. Throws `EtlError` when it could not start: the database can't be reached, or another run has the
 * lock. From the first task on, whatever happens is part of the result. All connections are closed in every case.
 */
export async function runDag(plan: RunPlan, services: RunServices): Promise<RunResult> {
  return new Run(plan, services).run();
}

class Run {
  readonly #plan: RunPlan;
  readonly #services: RunServices;
  readonly #databases: RunDatabases;
  readonly #stop = new AbortController();
  readonly #errors: EtlError[] = [];
  readonly #startedAt = performance.now();

  constructor(plan: RunPlan, services: RunServices) {
    this.#plan = plan;
    this.#services = services;
    const { holder, pid, host } = services.process;
    const lockHolder: LockHolder = { dagId: plan.dag.id, runId: plan.runId, holder, pid, host };
    this.#databases = new RunDatabases(services.openDatabase, lockHolder, (error) => this.#abort(error));
  }

  async run(): Promise<RunResult> {
    const onSignal = (): void => this.#abort(this.#services.signal.reason as EtlError);
    if (this.#services.signal.aborted) onSignal();
    else this.#services.signal.addEventListener('abort', onSignal, { once: true });
    const timer = this.#startTimer();
    try {
      await this.#open();
      const outcomes = await this.#execute();
      return await this.#close(outcomes);
    } finally {
      clearTimeout(timer);
      this.#services.signal.removeEventListener('abort', onSignal);
      await this.#databases.close();
    }
  }

  #startTimer(): NodeJS.Timeout | undefined {
    const { timeoutMs } = this.#services;
    if (timeoutMs === undefined) return undefined;
    return setTimeout(() => this.#abort(runTimedOut(timeoutMs)), Math.min(timeoutMs, MAX_TIMER_MS));
  }

  async #open(): Promise<void> {
    const { home, interval, tasks } = this.#plan;
    if (home !== undefined) {
      await this.#databases.openHome(home);
      await this.#with(home, (client) => openRun(client, this.#header()));
    }
    const place = home === undefined ? undefined : `${home} (${this.#services.placeOf(home)})`;
    this.#emit({ type: 'run_started', tasks: tasks.length, interval, home: place });
  }

  #header() {
    const { runId, dag, interval, params } = this.#plan;
    const { pid, host, version } = this.#services.process;
    return { runId, dagId: dag.id, interval, params: JSON.stringify(params ?? {}), pid, host, version };
  }

  async #execute(): Promise<readonly TaskOutcome[]> {
    const { random, root, connections, concurrency, lanesOf, failFast } = this.#services;
    const { signal } = this.#stop;
    const runner = new TaskRunner(this.#plan, {
      databases: this.#databases,
      root,
      emit: (event) => this.#emit(event),
      random,
      signal,
      connections,
      onLateError: (error) => this.#errors.push(error),
    });
    return executeDag(this.#plan, {
      runTask: async (task) => this.#finished(await runner.run(task)),
      passOver: (task, because) => this.#finished(passedOver(task, because)),
      concurrency,
      lanesOf,
      failFast,
      signal,
    });
  }

  #finished(outcome: TaskOutcome): TaskOutcome {
    const { result: _result, ...summary } = outcome;
    this.#emit({ type: 'task_finished', ...summary });
    return outcome;
  }

  /** Records the end of the run, and reports what the ledger holds, not what this process remembers. */
  async #close(outcomes: readonly TaskOutcome[]): Promise<RunResult> {
    const tasks = await this.#confirmed(outcomes);
    const failed = tasks.some((task) => task.state === 'failed' || task.state === 'upstream_failed');
    const state: RunState = failed || this.#errors.length > 0 ? 'failed' : 'success';
    const recorded = await this.#record(state);
    const durationMs = performance.now() - this.#startedAt;
    const result = { state: recorded ? state : 'failed', tasks, errors: this.#errors, durationMs } as const;
    this.#emit({ type: 'run_finished', ...result });
    return result;
  }

  async #confirmed(outcomes: readonly TaskOutcome[]): Promise<readonly TaskSummary[]> {
    const done = new Map<string, DoneTask>();
    try {
      for (const [id] of this.#databases.opened) {
        const rows = await this.#with(id, (client) => readDone(client, this.#plan.runId));
        for (const [taskId, row] of rows) done.set(taskId, row);
      }
    } catch (error) {
      this.#errors.push(unconfirmed(error));
      return outcomes.map(summaryOf);
    }
    return outcomes.map((outcome) => {
      const row = done.get(outcome.taskId);
      if (outcome.state !== 'success' || this.#plan.home === undefined) return summaryOf(outcome);
      if (row === undefined)
        return { ...summaryOf(outcome), state: 'failed', error: notInLedger(outcome.taskId) };
      return { ...summaryOf(outcome), ...(row.rows === undefined ? {} : { rows: row.rows }) };
    });
  }

  /** Says whether the end of the run is on disk. */
  async #record(state: RunState): Promise<boolean> {
    if (this.#plan.home === undefined) return true;
    try {
      await this.#with(this.#plan.home, (client) => closeRun(client, this.#plan.runId, state));
      return true;
    } catch (error) {
      this.#errors.push(unconfirmed(error));
      return false;
    }
  }

  async #with<T>(connectionId: string, work: (client: ProtocolClient) => Promise<T>): Promise<T> {
    const database = await this.#databases.get(connectionId);
    const client = await database.acquire();
    try {
      return await work(client);
    } finally {
      await database.release(client, true);
    }
  }

  #abort(reason: EtlError): void {
    if (this.#stop.signal.aborted) return;
    this.#errors.push(reason);
    this.#stop.abort(reason);
  }

  #emit(event: EventBody): void {
    const { runId, dag } = this.#plan;
    this.#services.reporter.report({ at: new Date(), runId, dagId: dag.id, ...event });
  }
}

function summaryOf({ result: _result, ...summary }: TaskOutcome): TaskSummary {
  return summary;
}

function passedOver(
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

function unconfirmed(error: unknown): EtlError {
  return new EtlError('ETL-4002', {
    what: `the end of the run could not be recorded: ${asError(error).message}`,
    data: 'each task is either committed with its ledger row in etl.task, or wrote nothing',
    cause: error,
  });
}

function notInLedger(taskId: string): EtlError {
  return new EtlError('ETL-4003', {
    what: `"${taskId}" was committed, and its row is gone from the ledger`,
    why: 'something else has deleted it, or the server has lost it',
    data: 'look at the data before you run it again',
  });
}
