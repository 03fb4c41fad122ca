import { setTimeout as delay } from 'node:timers/promises';
import { EtlError } from '../errors.js';
import { attemptTask } from './attempt.js';
import { attemptPlain } from './attempt-plain.js';
import { contextOf, type ContextFacts } from './context.js';
import type { RunDatabases } from './databases.js';
import { formatDuration } from './duration.js';
import type { EventBody, TaskSummary } from './event.js';
import { fingerprint } from './fingerprint.js';
import type { DoneTask, TaskKey } from './ledger/task-row.js';
import { asError, type AttemptOutcome } from './outcome.js';
import type { PlannedTask, RunPlan } from './plan.js';
import { nextDelay, type Spent } from './retry.js';
import { taskScope } from './scope.js';

/** How a task ended, with what the tasks that need it use. */
export interface TaskOutcome extends TaskSummary {
  readonly result: unknown;
}

/** What the attempts of a run's tasks share. */
export interface AttemptServices extends ContextFacts {
  readonly databases: RunDatabases;
  readonly root: string;
  /** Tasks that an earlier process of the run has done. */
  readonly done: ReadonlyMap<string, DoneTask>;
  /** Fingerprints that are known already, by the index of their tasks. */
  readonly prints: readonly string[];
  readonly emit: (event: EventBody) => void;
  /** In `[0, 1)`. */
  readonly random: () => number;
  /** Aborts when the run stops, with the reason. */
  readonly signal: AbortSignal;
  /** Takes an error that belongs to a task that is over. */
  readonly onLateError: (error: EtlError) => void;
}

/** A timer of Node waits no longer. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Runs the tasks of one run: each in as many attempts as it takes, or as it may have. */
export class TaskRunner {
  readonly #plan: RunPlan;
  readonly #services: AttemptServices;
  readonly #results: unknown[] = [];
  readonly #fingerprints: string[];

  constructor(plan: RunPlan, services: AttemptServices) {
    this.#plan = plan;
    this.#services = services;
    this.#fingerprints = [...services.prints];
    for (const { id, index } of plan.tasks) this.#results[index] = services.done.get(id)?.result;
  }

  /** Runs one task whose upstream tasks have succeeded. Never rejects. */
  async run(task: PlannedTask): Promise<TaskOutcome> {
    const startedAt = performance.now();
    const { outcome, attempts } = await this.#attempts(task);
    const base = { taskId: task.id, attempts, durationMs: performance.now() - startedAt };
    switch (outcome.state) {
      case 'success': {
        this.#results[task.index] = outcome.result;
        const { result, reused, rows } = outcome;
        return { ...base, state: 'success', result, reused, ...(rows === undefined ? {} : { rows }) };
      }
      case 'skipped':
        return { ...base, state: 'skipped', reused: false, result: undefined, reason: outcome.reason };
      case 'failed':
        return { ...base, state: 'failed', reused: false, result: undefined, error: outcome.error };
      default:
        return outcome satisfies never;
    }
  }

  async #attempts(task: PlannedTask): Promise<{ outcome: AttemptOutcome; attempts: number }> {
    const { emit, random, signal } = this.#services;
    let spent: Spent = { serialization: 0, transient: 0 };
    let claimOnly = false;
    for (let attempt = 1; ; attempt++) {
      emit({ type: 'task_started', taskId: task.id, attempt });
      const outcome = await this.#attempt(task, attempt, claimOnly);
      if (outcome.state !== 'failed' || signal.aborted || claimOnly) return { outcome, attempts: attempt };
      spent = spend(spent, outcome.kind);
      const wait = nextDelay(outcome.kind, spent, task.retry, random);
      // Whether a lost COMMIT took place must be known before anything is said of it, also without a retry left.
      claimOnly = wait === undefined && outcome.ending === 'unknown';
      if (wait === undefined && !claimOnly) return { outcome, attempts: attempt };
      const delayMs = wait ?? 0;
      emit({ type: 'task_retrying', taskId: task.id, attempt, error: outcome.error, delayMs });
      if (!(await waited(delayMs, signal))) return { outcome, attempts: attempt };
    }
  }

  /** One attempt with its own time limit, in the scope that unawaited errors are told by. */
  async #attempt(task: PlannedTask, attempt: number, claimOnly: boolean): Promise<AttemptOutcome> {
    const { signal } = this.#services;
    const controller = new AbortController();
    const stop = (): void => controller.abort(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    const deadline = task.timeoutMs === undefined ? undefined : performance.now() + task.timeoutMs;
    const timer =
      task.timeoutMs === undefined
        ? undefined
        : setTimeout(() => controller.abort(timedOut(task)), Math.min(task.timeoutMs, MAX_TIMER_MS));
    const order = {
      attempt,
      claimOnly,
      signal: controller.signal,
      budgetMs: () => deadline && deadline - performance.now(),
    };
    let isOver = false;
    const fail = (error: Error): boolean => {
      if (!isOver) controller.abort(error);
      return !isOver;
    };
    try {
      return await taskScope.run({ taskId: task.id, fail }, () => this.#order(task, order));
    } catch (error) {
      return { state: 'failed', error: unexpected(task, error), kind: 'permanent', ending: 'rolled back' };
    } finally {
      isOver = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    }
  }

  async #order(
    task: PlannedTask,
    limits: {
      readonly attempt: number;
      readonly claimOnly: boolean;
      readonly signal: AbortSignal;
      readonly budgetMs: () => number | undefined;
    },
  ): Promise<AttemptOutcome> {
    const { databases, root, onLateError } = this.#services;
    const { body } = task.task;
    const print = await this.#fingerprint(task);
    const context = contextOf(task, this.#plan, this.#services, {
      attempt: limits.attempt,
      signal: limits.signal,
      results: this.#results,
    });
    const home = task.conn ?? this.#plan.home;
    const database = home === undefined ? undefined : await databases.get(home);
    const key = this.#key(task, database?.epoch ?? '');
    const common = { ...limits, task, key, fingerprint: print, context, root };
    const before = body.transactional ? undefined : this.#services.done.get(task.id);
    if (before?.fingerprint === print) return { state: 'success', ...before, reused: true };
    if (!body.transactional) return attemptPlain({ ...common, body, database });
    if (database === undefined) throw new Error(`task ${task.id} was planned without a connection`);
    const onLateQuery = (sql: string): void => onLateError(lateQuery(task, sql));
    const notice = (text: string): void => this.#services.emit({ type: 'notice', text });
    return attemptTask({ ...common, body, database, notice, onLateQuery });
  }

  #key(task: PlannedTask, epoch: string): TaskKey {
    return { runId: this.#plan.runId, dagId: this.#plan.dag.id, taskId: task.id, epoch };
  }

  async #fingerprint(task: PlannedTask): Promise<string> {
    const upstream = task.upstream.map((index) => this.#fingerprints[index] ?? '');
    return (this.#fingerprints[task.index] ??= await fingerprint(task, this.#services.root, upstream));
  }
}

function spend(spent: Spent, kind: 'serialization' | 'transient' | 'permanent'): Spent {
  return kind === 'permanent' ? spent : { ...spent, [kind]: spent[kind] + 1 };
}

/** Says whether the wait came to its end; a run that stops ends it. */
async function waited(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await delay(ms, undefined, { signal });
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}

function timedOut(task: PlannedTask): EtlError {
  return new EtlError('ETL-3301', {
    what: `the task did not end within its timeout of ${formatDuration(task.timeoutMs ?? 0)}`,
    fix: 'give it a longer `timeout`, or less to do',
  });
}

function lateQuery(task: PlannedTask, sql: string): EtlError {
  return new EtlError('ETL-3206', {
    what: `task "${task.id}" sent a query after it had ended: ${sql.slice(0, 100)}`,
    why: 'a promise that it started was not awaited',
    fix: 'await every promise that the task starts',
    data: 'the query did not run; what the task did before it ended is committed',
  });
}

/** An error that is not the task's: the database can't be opened, or a bug of ours. */
function unexpected(task: PlannedTask, thrown: unknown): EtlError {
  if (thrown instanceof EtlError) return thrown;
  const cause = asError(thrown);
  return new EtlError('ETL-9001', {
    what: `"${task.id}" could not be run: ${cause.message}`,
    data: `"${task.id}" wrote nothing`,
    cause,
  });
}
