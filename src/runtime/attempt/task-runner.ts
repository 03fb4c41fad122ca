import { setTimeout as delay } from 'node:timers/promises';
import { EtlError, toError } from '../../errors.js';
import { createFailedOutcome } from './failure.js';
import type { FailureSite } from './statement-location.js';
import { type OpenReadSession, openReadSession } from '../session/read-session.js';
import { findDatabaseError, isConnectionLoss } from '../postgres/sqlstate.js';
import { LONGEST_MS, RESOLVE_COMMIT_MS, untilAborted } from '../waiting.js';
import { attemptTask } from './attempt.js';
import { attemptPlainTask } from './attempt-plain.js';
import { type ContextFacts, createContext } from './context.js';
import type { RunDatabases } from '../database/run-databases.js';
import type { EventBody, TaskSummary } from '../report/event.js';
import { computeFingerprint } from '../dag/fingerprint.js';
import type { Epoch } from '../ledger/epoch.js';
import type { DoneTask, TaskKey } from '../ledger/task-row.js';
import { createConnectionLostError, createLateQueryError } from '../postgres/task-connection-errors.js';
import type { AttemptOutcome } from './outcome.js';
import { findConnections, type PlannedTask, type RunPlan } from '../dag/plan.js';
import { Progress } from './progress.js';
import type { BeforeCommit } from './before-commit.js';
import { type UsedRetries, nextDelay } from './retry.js';
import { taskScope } from '../tasks/task-scope.js';
import { createTaskTimeoutError } from './stop.js';
import type { Moved } from '../tasks/task-body.js';
import type { CursorReader } from '../tasks/unset-cursor.js';
import { listCursorReaders } from '../dag/cursor-readers.js';

/** The outcome of a task after all its attempts, with the result for the tasks that need it. */
export interface TaskOutcome extends TaskSummary {
  readonly result: unknown;
  /**
   * The fingerprint of a task whose COMMIT got no answer. The end of the run looks the task up in the ledger.
   * Undefined in all other cases.
   */
  readonly undecided?: string | undefined;
}

/** The services and facts that all tasks of a run share. */
export interface AttemptServices extends ContextFacts {
  readonly databases: RunDatabases;
  /** True if no other process can have worked on this run. */
  readonly isNew: boolean;
  /** The tasks that an earlier process of the run has done, by task ID. */
  readonly done: ReadonlyMap<string, DoneTask>;
  /** The fingerprints that are already computed, by the index of the task. */
  readonly fingerprints: readonly string[];
  readonly emit: (event: EventBody) => void;
  /** Returns a random number in `[0, 1)`. */
  readonly random: () => number;
  /** Aborts with the reason when the run stops. */
  readonly signal: AbortSignal;
  /** Takes an error of a task that has already ended. */
  readonly onLateError: (error: EtlError) => void;
  /** Called before the COMMIT of each task with a transaction. Default: nothing. */
  readonly beforeCommit?: BeforeCommit | undefined;
}

type FailedAttempt = AttemptOutcome & { readonly state: 'failed' };

/** The facts and limits of one attempt. */
interface AttemptLimits {
  /** The number of the attempt, from 1. */
  readonly attempt: number;
  /** True: the attempt ends after the claim, which tells whether an earlier attempt was committed. */
  readonly claimOnly: boolean;
  readonly signal: AbortSignal;
  /** Returns how much of the timeout is left, in milliseconds. Undefined if the task has no timeout. */
  readonly budgetMs: () => number | undefined;
  readonly moved: (delta: Moved) => void;
}

/** The epoch of a task of a Dag without a home connection. Nothing is recorded, so nothing reads the epoch. */
const NO_EPOCH: Epoch = { number: '', holder: '' };

/** Runs the tasks of one run. Repeats the attempt of a task until the task succeeds or has no retry left. */
export class TaskRunner {
  readonly #plan: RunPlan;
  readonly #services: AttemptServices;
  /** The results of the tasks that are done, by the index of the task. */
  readonly #results: unknown[] = [];
  readonly #fingerprints: string[];
  /** No task before this index lacks its fingerprint. */
  #nextFingerprint = 0;
  readonly #hasSeveralConnections: boolean;

  constructor(plan: RunPlan, services: AttemptServices) {
    this.#plan = plan;
    this.#services = services;
    this.#fingerprints = [...services.fingerprints];
    this.#hasSeveralConnections = findConnections(plan).used.length > 1;
    for (const { id, index } of plan.tasks) this.#results[index] = services.done.get(id)?.result;
  }

  /** Runs one task. All its upstream tasks have succeeded. Never rejects. */
  async run(task: PlannedTask): Promise<TaskOutcome> {
    const startedAt = performance.now();
    const { outcome, attempts } = await this.#runAttempts(task).catch((error: unknown) => ({
      outcome: createNotRunOutcome(error, { task, hasSeveralConnections: this.#hasSeveralConnections }),
      attempts: 1,
    }));
    const base = { taskId: task.id, attempts, durationMs: performance.now() - startedAt };
    switch (outcome.state) {
      case 'success': {
        this.#results[task.index] = outcome.result;
        const { result, reused, rows } = outcome;
        return { ...base, state: 'success', result, reused, ...(rows === undefined ? {} : { rows }) };
      }
      case 'skipped':
        return { ...base, state: 'skipped', reused: false, result: undefined, reason: outcome.reason };
      case 'failed': {
        const undecided = outcome.ending === 'unknown' ? this.#fingerprints[task.index] : undefined;
        const { error } = outcome;
        return { ...base, state: 'failed', reused: false, result: undefined, error, undecided };
      }
      default:
        return outcome satisfies never;
    }
  }

  /**
   * Runs attempts until one succeeds or is skipped, no retry is left, or the run stops. Returns the last outcome and
   * the number of attempts. If it is unknown whether an attempt was committed, finds that out before the end.
   */
  async #runAttempts(task: PlannedTask): Promise<{ outcome: AttemptOutcome; attempts: number }> {
    const { emit, random, signal } = this.#services;
    let spent: UsedRetries = { serialization: 0, transient: 0 };
    // The last attempt whose COMMIT got no answer. If a later attempt gets its claim, nothing was committed.
    let undecided: FailedAttempt | undefined;
    for (let attempt = 1; ; attempt++) {
      emit({ type: 'task_started', taskId: task.id, attempt });
      const outcome = await this.#runAttempt(task, attempt);
      if (outcome.state !== 'failed') return { outcome, attempts: attempt };
      if (outcome.ending === 'unknown') undecided = outcome;
      else if (outcome.isClaimed) undecided = undefined;
      spent = addFailure(spent, outcome.kind);
      const delayMs = signal.aborted ? undefined : nextDelay(outcome.kind, spent, task.retry, random);
      if (delayMs !== undefined) {
        emit({ type: 'task_retrying', taskId: task.id, attempt, error: outcome.error, delayMs });
        if (await pause(delayMs, signal)) continue;
      }
      if (undecided === undefined) return { outcome, attempts: attempt };
      return { outcome: await this.#resolveCommit(task, attempt, undecided), attempts: attempt };
    }
  }

  /**
   * Finds out whether a COMMIT that got no answer took place, by claiming the task again. Each try is an attempt that
   * stops after its claim and does not run the task's code.
   *
   * - If the task is done, the COMMIT took place: returns the success that the ledger has.
   * - If the task could be claimed, the COMMIT did not take place: returns a failure.
   * - If the database can't be reached for `RESOLVE_COMMIT_MS`, or if the run is stopped: returns `undecided`. A try that
   *   is still waiting then is ended.
   *
   * The pauses before the tries are 0, 100, 300, 700, 1500 ms and so on, at most 5 s.
   */
  async #resolveCommit(
    task: PlannedTask,
    attempt: number,
    undecided: FailedAttempt,
  ): Promise<AttemptOutcome> {
    const { signal } = this.#services;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(createTaskTimeoutError(RESOLVE_COMMIT_MS)), RESOLVE_COMMIT_MS);
    const ended = AbortSignal.any([signal, limit.signal]);
    try {
      for (let delayMs = 0; await pause(delayMs, ended); delayMs = Math.min(delayMs * 2 + 100, 5000)) {
        const outcome = await this.#runAttempt(task, attempt, ended);
        if (outcome.state !== 'failed' || outcome.isClaimed) return outcome;
      }
    } finally {
      clearTimeout(timer);
    }
    return undecided;
  }

  /**
   * Runs one attempt with its own timeout, and returns its outcome. Never rejects. With `claimLimit`, the attempt ends
   * after its claim, and when the signal aborts. Three events stop an attempt: the stop of the run, the timeout of the
   * task, and an unhandled error of the task's code. `taskScope` assigns an unhandled error to the task; an error that
   * comes after the COMMIT becomes an error of the run.
   */
  async #runAttempt(task: PlannedTask, attempt: number, claimLimit?: AbortSignal): Promise<AttemptOutcome> {
    const signal = claimLimit ?? this.#services.signal;
    const controller = new AbortController();
    const stop = (): void => controller.abort(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    const timeoutMs = Math.min(task.timeoutMs ?? Infinity, LONGEST_MS);
    const deadline = task.timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
    const timer =
      deadline && setTimeout(() => controller.abort(createTaskTimeoutError(task.timeoutMs ?? 0)), timeoutMs);
    let unhandledError: EtlError | undefined;
    let isOver = false;
    // Takes an unhandled error of the task. Returns false if the attempt is over and can't fail any more.
    const fail = (error: EtlError): boolean => {
      unhandledError ??= error;
      if (!isOver) controller.abort(error);
      return !isOver;
    };
    const budgetMs = (): number | undefined => deadline && deadline - performance.now();
    const progress = this.#createProgress(task);
    const moved = (delta: Moved): void => progress.addMovement(delta);
    const claimOnly = claimLimit !== undefined;
    const limits = { attempt, claimOnly, signal: controller.signal, budgetMs, moved };
    try {
      const log = (message: string): void =>
        this.#services.emit({ type: 'task_log', taskId: task.id, message, fields: {} });
      const scope = { taskId: task.id, fail, log };
      const outcome = await taskScope.run(scope, () => this.#prepareAndRun(task, limits));
      // The error came too late to stop the COMMIT.
      if (outcome.state === 'success' && unhandledError !== undefined)
        this.#services.onLateError(unhandledError);
      return outcome;
    } catch (error) {
      return createNotRunOutcome(error, { task, hasSeveralConnections: this.#hasSeveralConnections });
    } finally {
      isOver = true;
      progress.finish();
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    }
  }

  /**
   * Prepares one attempt and runs it: computes the fingerprint, opens the database of the task, and creates the
   * context. A task without a connection that is already done is not run; its result in the ledger is reused. (The
   * claim does this for a task with a connection.) Throws if the database can't be opened.
   */
  async #prepareAndRun(task: PlannedTask, limits: AttemptLimits): Promise<AttemptOutcome> {
    const { databases, onLateError } = this.#services;
    const { body } = task.task;
    const fingerprint = await this.#readFingerprint(task);
    const doneBefore = body.transactional ? undefined : this.#services.done.get(task.id);
    if (doneBefore?.fingerprint === fingerprint) return { state: 'success', ...doneBefore, reused: true };
    const facts = { ...limits, results: this.#results };
    const context = createContext(task, this.#plan, this.#services, facts);
    // The ledger of this connection records the task. A Dag without any connection records nothing.
    const connectionId = task.conn ?? this.#plan.home;
    const database =
      connectionId === undefined ? undefined : await untilAborted(databases.get(connectionId), limits.signal);
    const key = this.#createKey(task, database?.epoch ?? NO_EPOCH);
    const hasSeveralConnections = this.#hasSeveralConnections;
    const cursorReaders = (): readonly CursorReader[] => listCursorReaders(this.#plan.tasks, connectionId);
    const common = { ...limits, task, key, fingerprint, context, hasSeveralConnections, cursorReaders };
    if (!body.transactional) return attemptPlainTask({ ...common, body, database });
    if (database === undefined) throw new Error(`task ${task.id} was planned without a connection`);
    const onLateQuery = (sql: string): void => onLateError(createLateQueryError(task.id, sql));
    const openSession: OpenReadSession = async (id, opening) =>
      openReadSession(
        { connectionId: id, database: await databases.getWithoutLedger(id) },
        limits.signal,
        opening,
      );
    const isFirst = this.#services.isNew && limits.attempt === 1 && !limits.claimOnly;
    const onCommitting = (): void => void this.#prepareFingerprint();
    const { beforeCommit } = this.#services;
    const calls = { openReadSession: openSession, onLateQuery, onCommitting, beforeCommit };
    return attemptTask({ ...common, ...calls, isFirst, body, database });
  }

  #createProgress({ id: taskId }: PlannedTask): Progress {
    const { emit } = this.#services;
    return new Progress(
      (totals) => emit({ type: 'task_progress', taskId, ...totals }),
      () => performance.now(),
    );
  }

  #createKey(task: PlannedTask, epoch: Epoch): TaskKey {
    return { runId: this.#plan.runId, dagId: this.#plan.dag.id, taskId: task.id, epoch };
  }

  /** Returns the fingerprint of a task. Computes it at the first call, from the fingerprints of the upstream tasks. */
  async #readFingerprint(task: PlannedTask): Promise<string> {
    const upstream = task.upstream.map((index) => this.#fingerprints[index] ?? '');
    return (this.#fingerprints[task.index] ??= await computeFingerprint(task, upstream));
  }

  /**
   * Computes the fingerprint of the next task in the order of definition that has none. Does nothing if that task reads a
   * file of code, because the file can change until the task runs. Never rejects.
   */
  async #prepareFingerprint(): Promise<void> {
    while (this.#fingerprints[this.#nextFingerprint] !== undefined) this.#nextFingerprint++;
    const task = this.#plan.tasks[this.#nextFingerprint];
    if (task === undefined || task.task.body.readFiles !== undefined) return;
    // If this fails, it fails again when the task runs, and is reported there.
    await this.#readFingerprint(task).catch(() => undefined);
  }
}

/** Returns the numbers of failed attempts with one more failure of this kind. A permanent failure is not counted. */
function addFailure(spent: UsedRetries, kind: 'serialization' | 'transient' | 'permanent'): UsedRetries {
  return kind === 'permanent' ? spent : { ...spent, [kind]: spent[kind] + 1 };
}

/** Waits `ms` milliseconds and returns true. Returns false at once if the run stops. */
async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await delay(ms, undefined, { signal });
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}

/**
 * Creates the outcome of an attempt that could not start, or of a task around whose attempts etl itself failed. An `EtlError` or an error of the server, such as a database
 * that can't be opened, is reported as it is, and a lost connection as ETL-1002. Any other error is a bug of etl (ETL-9001).
 */
function createNotRunOutcome(thrown: unknown, site: FailureSite): AttemptOutcome {
  const cause = toError(thrown);
  const isKnown = cause instanceof EtlError || findDatabaseError(cause) !== undefined;
  const isLost = !isKnown && isConnectionLoss(cause);
  const error = isKnown
    ? cause
    : isLost
      ? createConnectionLostError(cause)
      : new EtlError('ETL-9001', { what: `"${site.task.id}" could not be run: ${cause.message}`, cause });
  return createFailedOutcome(error, { ...site, ending: 'rolled back' });
}
