import { EtlError, toError } from '../../errors.js';
import { describeTask } from './before-commit.js';
import { runChecks } from './checks.js';
import { commitTask } from './commit.js';
import { createFailedOutcome } from './failure.js';
import { encodeResult } from '../json.js';
import type { Ledger } from '../ledger/ledger.js';
import { readClaimed } from '../ledger/task-row.js';
import {
  createEndedByTaskError,
  isSealed,
  createConnectionLostError,
  createNotCommittedError,
  createSealTouchedError,
  createSwallowedError,
  createUnfinishedError,
} from '../postgres/task-connection-errors.js';
import { type AttemptRequest, TaskBegin } from './begin.js';
import { type AttemptOutcome, type Ending, SkipTask } from './outcome.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import type { Session } from '../session/session.js';
import { ReadSessions } from '../session/read-session.js';
import { findDatabaseError, isConnectionEnd, isConnectionLoss } from '../postgres/sqlstate.js';
import { BlockedWatch } from './blocked-statement.js';
import type { Interrupted } from './statement-location.js';
import { unwrapLibraryError } from '../postgres/library-error.js';
import { AttemptStop } from './stop.js';
import { isIdle } from '../postgres/transaction.js';
import { explainNoRows, type FoundHighWatermark } from '../watermark/incremental.js';
import { CLEAN_UP_MS, within } from '../waiting.js';
import { Watermarks } from '../watermark/watermark.js';
import { SilenceWatch } from '../postgres/silence-watch.js';
import { TaskConnection } from '../postgres/task-connection.js';
import { acquire } from '../database/run-database.js';

/**
 * Runs one attempt of a task inside a transaction. One COMMIT covers the task and its ledger row. Never throws: each
 * error becomes a failed outcome. In every case the connection is released to the pool or destroyed.
 *
 * The order: take a connection, find the high watermark, begin the transaction and claim the task, run the body, run
 * the checks, close the ledger row and commit, release the connection.
 */
export async function attemptTask(request: AttemptRequest): Promise<AttemptOutcome> {
  const outcome = await attemptOnce(request);
  // Undefined: the fast claim has failed. The safe claim (`isFirst: false`) never returns undefined.
  return outcome ?? (await attemptTask({ ...request, isFirst: false }));
}

/**
 * Runs one attempt. Returns undefined if the fast claim of a first attempt failed (`isFirst`). The caller then
 * repeats the attempt with the safe claim. The transaction of the fast claim was rolled back.
 */
async function attemptOnce(request: AttemptRequest): Promise<AttemptOutcome | undefined> {
  let client: ProtocolClient;
  try {
    client = await acquire(request.database, request.signal);
  } catch (error) {
    const { task, hasSeveralConnections } = request;
    return createFailedOutcome(error, { task, hasSeveralConnections, ending: 'rolled back' });
  }
  const attempt = new Attempt(request, client);
  try {
    return await attempt.run();
  } catch (error) {
    if (request.isFirst && (await attempt.hasFastClaimFailed())) return undefined;
    return await attempt.toOutcome(error);
  } finally {
    await attempt.release();
  }
}

type Running = Pick<Interrupted, 'sql' | 'connectionId'>;

/** One attempt that has its connection. Call `run`. If `run` throws, call `toOutcome`. Always call `release` last. */
class Attempt {
  readonly #request: AttemptRequest;
  readonly #client: ProtocolClient;
  readonly #taskConnection: TaskConnection;
  readonly #stop: AttemptStop;
  readonly #readSessions: ReadSessions;
  readonly #blockedWatch: BlockedWatch;
  readonly #silenceWatch: SilenceWatch;
  readonly #begin: TaskBegin;
  /** True from the moment when the COMMIT is sent. */
  #isCommitting = false;
  /** The statement that ran when the attempt was stopped. Undefined if the attempt was not stopped. */
  #interrupted: Running | undefined;
  /** Resolves to true if the session was made clean behind the COMMIT. Undefined if no COMMIT was sent. */
  #cleaned: Promise<boolean> | undefined;

  constructor(request: AttemptRequest, client: ProtocolClient) {
    this.#request = request;
    this.#client = client;
    if (client.trace !== undefined) client.trace.taskId = request.task.id;
    this.#taskConnection = new TaskConnection(client, request.task.conn ?? '');
    this.#begin = new TaskBegin(request);
    this.#readSessions = new ReadSessions(request.openReadSession);
    this.#blockedWatch = new BlockedWatch({
      taskId: request.task.id,
      running: () => this.#taskConnection.running,
      schema: request.database.schema,
      pid: () => this.#begin.transaction?.pid,
      ask: (question) => request.database.ask(question),
      notice: request.database.database.notice,
    });
    this.#silenceWatch = new SilenceWatch({
      connectionId: request.database.connectionId,
      client,
      database: request.database.database,
      backend: () => this.#begin.transaction,
      isBeginning: () => this.#begin.isSent && this.#begin.transaction === undefined,
      mayAwaitTask: () => this.#taskConnection.mayAwaitTask,
      ask: request.database.askOnLock,
    });
    this.#stop = new AttemptStop({
      signal: request.signal,
      client,
      ask: (question) => request.database.ask(question),
      transaction: () => this.#begin.transaction,
      isCommitting: () => this.#isCommitting,
      onStop: () => (this.#interrupted = this.#findRunning()),
    });
  }

  /**
   * Runs the attempt up to the answer to the COMMIT. Returns a success: the result of the body or, if the task is
   * already done, the result in the ledger. Throws if the attempt failed or was skipped.
   *
   * The fast claim of a first attempt (`isFirst`) is sent by `#runBody`, together with the first query of the body. The
   * safe claim is sent here, and its answer decides whether the body runs.
   */
  async run(): Promise<AttemptOutcome> {
    const { body, context, signal } = this.#request;
    const highWatermark = await body.findHighWatermark?.({
      client: this.#client,
      openReadSession: this.#readSessions.open,
      context,
      signal,
    });
    signal.throwIfAborted();
    this.#taskConnection.openWithBegin(this.#begin);
    if (!this.#request.isFirst) {
      this.#taskConnection.begin();
      if (!(await this.#begin.claimed)) return this.#readDoneResult();
      if (this.#request.claimOnly) throw createNotCommittedError();
    }
    const result = await this.#runBody(highWatermark);
    await this.#check();
    const { task, beforeCommit } = this.#request;
    const { written } = this.#taskConnection.rows;
    await beforeCommit?.(describeTask(this.#client, { taskId: task.id, result, rows: written }));
    return this.#commit(result);
  }

  get #ledger(): Ledger {
    return { client: this.#client, schema: this.#request.database.schema };
  }

  /** Reads the result of a task that an earlier attempt or process has committed, and ends the transaction. */
  async #readDoneResult(): Promise<AttemptOutcome> {
    this.#taskConnection.endByRunner();
    const { key, fingerprint } = this.#request;
    const done = await readClaimed(this.#ledger, key, fingerprint);
    await send(this.#client, 'rollback');
    return { state: 'success', ...done, reused: true };
  }

  /**
   * Runs the body, and waits for the claim and for all queries that the body has started. Returns the result as JSON
   * text. Throws if the body, the claim or one of these queries fails, or if the attempt is stopped. In every case the
   * task connection refuses each later query of the task, and the sessions on the databases that the task only reads
   * are closed.
   */
  async #runBody(highWatermark: FoundHighWatermark | undefined): Promise<string> {
    const { task, body, context, database, moved, cursorReaders, signal } = this.#request;
    let session: Promise<Session> | undefined;
    const open = {
      taskConnection: this.#taskConnection,
      client: this.#client,
      isolation: task.isolation,
    };
    const watermarks = new Watermarks({ client: this.#taskConnection, schema: database.schema }, context.run);
    try {
      const work = body.run({
        context,
        taskConnection: this.#taskConnection,
        watermarks,
        highWatermark,
        session: () => (session ??= database.takeUnboundSession().bind(open)),
        openReadSession: this.#readSessions.open,
        root: task.location.root.directory,
        moved,
        cursorReaders,
      });
      // The body has run up to its first `await`. If it has sent a query, the begin is sent with the query.
      void this.#taskConnection.beginSoon();
      const finished = work.then(async (result) => {
        await watermarks.save();
        // A body without a query can end before `beginSoon` has sent the begin.
        this.#taskConnection.begin();
        await this.#taskConnection.awaitQueries();
        if (this.#taskConnection.rows.written === 0) explainNoRows(highWatermark, context.log);
        return result;
      });
      // If the claim fails, its error wins: a result of the body does not count without a claim.
      const [, result] = await Promise.race([
        Promise.all([this.#begin.claimed, finished]),
        this.#stop.stopped,
      ]);
      signal.throwIfAborted();
      return encodeResult(result);
    } finally {
      this.#taskConnection.close();
      await this.#readSessions.close();
    }
  }

  /**
   * Runs the checks of the task. Throws if the body ignored an error: that of a query that was not sent, such as a
   * COMMIT, or ETL-3203 for a statement that failed.
   */
  async #check(): Promise<void> {
    if (this.#taskConnection.refused !== undefined) throw this.#taskConnection.refused;
    if (this.#taskConnection.failure !== undefined) throw createSwallowedError(this.#taskConnection.failure);
    if (this.#taskConnection.reservation.isHeld) throw createUnfinishedError();
    if (this.#taskConnection.savepoints.size > 0) throw createUnfinishedError('session.transaction(…)');
    const { checks, conn = '' } = this.#request.task;
    if (checks.length > 0) await runChecks({ client: this.#client, connectionId: conn }, checks);
  }

  /**
   * Closes the ledger row and commits, in one pipeline. Throws the reason, before anything is sent, if the connection
   * is lost, if the task has sent a query too late, or if the attempt is stopped. From the moment when the COMMIT is
   * sent, a stop does not cancel it.
   */
  async #commit(result: string): Promise<AttemptOutcome> {
    if (this.#taskConnection.lost !== undefined) throw this.#taskConnection.lost;
    if (this.#taskConnection.lateQuery !== undefined) {
      throw new EtlError('ETL-3206', {
        what: 'the task returned before all of its queries were sent',
        why: 'the task did not await a promise that it started',
        fix: 'await every promise that the task starts',
      });
    }
    this.#request.signal.throwIfAborted();
    const rows = this.#taskConnection.rows.written;
    this.#isCommitting = true;
    this.#taskConnection.endByRunner();
    const { committed, cleaned } = commitTask(this.#ledger, { key: this.#request.key, result, rows });
    this.#cleaned = cleaned;
    // Both use the time until the answer to the COMMIT.
    this.#request.database.prepareSession();
    this.#request.onCommitting();
    await committed;
    this.#reportLate();
    return { state: 'success', result: JSON.parse(result) as unknown, rows, reused: false };
  }

  /**
   * Reports each query that the task sends from now on. The task is committed, so the work of such a query is lost.
   */
  #reportLate(): void {
    const { onLateQuery } = this.#request;
    this.#taskConnection.onLate = onLateQuery;
    if (this.#taskConnection.lateQuery !== undefined) onLateQuery(this.#taskConnection.lateQuery);
  }

  /**
   * Returns true if the fast claim of a first attempt failed in one of two ways:
   *
   * - 23505: the ledger has a row of the task already.
   * - 26000: a pooler sent the claim to a session that does not have its prepared statement.
   */
  async hasFastClaimFailed(): Promise<boolean> {
    await this.#taskConnection.drain();
    const code = findDatabaseError(this.#begin.failure)?.code;
    return code === '23505' || code === '26000';
  }

  /**
   * Turns the error that `run` has thrown into the outcome of the attempt: skipped for a `SkipTask`, otherwise
   * failed. A `SkipTask` also counts as a failure if the attempt was stopped, if the task has ended its transaction
   * itself or tried to, or if the connection was lost.
   */
  async toOutcome(error: unknown): Promise<AttemptOutcome> {
    const { reported } = this.#taskConnection;
    const errors = [...(reported === undefined ? [] : [reported]), ...this.#readSessions.reported];
    const thrown = unwrapLibraryError(toError(error), errors);
    await this.#taskConnection.drain();
    const isUndisturbed =
      !this.#request.signal.aborted &&
      !this.#taskConnection.isEndedByTask &&
      this.#taskConnection.refused === undefined &&
      this.#taskConnection.lost === undefined;
    if (thrown instanceof SkipTask && isUndisturbed) return { state: 'skipped', reason: thrown.message };
    const interrupted = this.#interrupted && {
      ...this.#interrupted,
      error: this.#taskConnection.cancelled,
      thrown,
    };
    return createFailedOutcome(this.#findCause(thrown), {
      task: this.#request.task,
      hasSeveralConnections: this.#request.hasSeveralConnections,
      ending: this.#findEnding(thrown),
      isClaimed: this.#begin.isOver,
      pid: this.#begin.transaction?.pid,
      interrupted,
      lockHolders: this.#blockedWatch.holders,
    });
  }

  /** Finds the statement that the task is running, on its own connection or on one that it reads. */
  #findRunning(): Running {
    const own = { sql: this.#taskConnection.runningSql, connectionId: this.#request.task.conn ?? '' };
    return own.sql === undefined ? (this.#readSessions.findRunning() ?? own) : own;
  }

  /**
   * Returns the first cause of the failure, because `thrown` can be only its consequence. The first case that applies
   * decides:
   *
   * 1. The attempt was stopped before the COMMIT: the reason of the stop.
   * 2. The connection was destroyed because the server gave no answer: ETL-1004.
   * 3. The task has ended its transaction itself, or a query was refused that would have done so: ETL-3202.
   * 4. The task has made the server check the seal: ETL-3208.
   * 5. A statement was refused because an earlier statement had failed: the earlier error, as ETL-3203.
   * 6. The connection was lost: the last message of the server, else ETL-1002.
   * 7. Otherwise: `thrown`.
   */
  #findCause(thrown: Error): unknown {
    const { signal } = this.#request;
    if (signal.aborted && !this.#isCommitting) return signal.reason;
    if (this.#silenceWatch.error !== undefined) return this.#silenceWatch.error;
    if (this.#taskConnection.isEndedByTask) return createEndedByTaskError(thrown);
    if (this.#taskConnection.refused !== undefined) return this.#taskConnection.refused;
    if (isSealed(thrown)) return createSealTouchedError(thrown);
    const { failure } = this.#taskConnection;
    const refusal = findDatabaseError(thrown);
    // 25P02: the server refused the statement because an earlier statement of the transaction failed.
    const isConsequence = failure !== refusal && refusal?.code === '25P02';
    if (failure !== undefined && isConsequence) return createSwallowedError(failure);
    if (this.#taskConnection.lost !== undefined && isConnectionLoss(thrown))
      return this.#taskConnection.fatal ?? createConnectionLostError(this.#taskConnection.lost);
    return thrown;
  }

  /**
   * Returns what became of the transaction:
   *
   * - `check data`: the task itself has ended the transaction, so a person must check what the task wrote.
   * - `rolled back`: no COMMIT was sent, or the server has refused the COMMIT and the connection is still open.
   * - `unknown`: any other error after the COMMIT was sent.
   */
  #findEnding(thrown: Error): Ending {
    if (this.#taskConnection.isEndedByTask && !isSealed(thrown)) return 'check data';
    if (!this.#isCommitting) return 'rolled back';
    // Only an error that leaves the connection open proves that the COMMIT did not take place. The last message of a
    // pooler, for example, proves nothing.
    const refusal = findDatabaseError(thrown);
    const isRefused = thrown instanceof EtlError || (refusal !== undefined && !isConnectionEnd(refusal));
    return isRefused && this.#taskConnection.lost === undefined ? 'rolled back' : 'unknown';
  }

  /**
   * Rolls back an open transaction, and gives the connection back to the pool. If the rollback fails, terminates the
   * server process of the connection, and the pool destroys the connection. Never throws.
   */
  async release(): Promise<void> {
    this.#stop.dispose();
    this.#blockedWatch.stop();
    this.#silenceWatch.stop();
    await this.#readSessions.close();
    const isIntact = await this.#rollBack();
    this.#taskConnection.detach();
    if (this.#client.trace !== undefined) this.#client.trace.taskId = undefined;
    // After its last message (`fatal`) the server has ended the backend itself.
    if (!isIntact && this.#taskConnection.fatal === undefined) await this.#stop.terminate();
    this.#request.database.release(this.#client, isIntact, this.#cleaned);
  }

  /**
   * Rolls back an open transaction, within `CLEAN_UP_MS`. Returns true if the connection is idle and can be used again.
   * Returns false without a rollback if the connection is lost, if a query is still running or waiting, or if the
   * attempt was stopped: the stop may have cancelled or destroyed something at any point.
   */
  async #rollBack(): Promise<boolean> {
    if (
      this.#taskConnection.lost !== undefined ||
      this.#taskConnection.isBusy ||
      this.#request.signal.aborted
    )
      return false;
    if (isIdle(this.#client)) return true;
    this.#taskConnection.endByRunner();
    try {
      const rolledBack = send(this.#client, 'rollback');
      if (!(await within(rolledBack, CLEAN_UP_MS))) return false;
      await rolledBack;
      return isIdle(this.#client);
    } catch {
      // Ignores the error: the cause of the failure is known, and the connection is destroyed.
      return false;
    }
  }
}
