import { EtlError, toError } from '../../errors.js';
import { commitTask } from './commit.js';
import { createFailedOutcome } from './failure.js';
import { encodeResult } from '../json.js';
import { readClaimed } from '../ledger/task-row.js';
import {
  checkFailed,
  createEndedByTaskError,
  isSealed,
  createConnectionLostError,
  createNotCommittedError,
  sealTouched,
  createSentTooLateError,
  createSwallowedError,
} from '../postgres/task-connection-errors.js';
import { type AttemptRequest, TaskBegin } from './begin.js';
import { type AttemptOutcome, type Ending, SkipTask } from './outcome.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import type { Session } from '../session/session.js';
import { ReadSessions } from '../session/read-session.js';
import { findDatabaseError, isConnectionEnd, isAborted, isConnectionLoss } from '../postgres/sqlstate.js';
import { AttemptStop } from './stop.js';
import { isIdle } from '../postgres/transaction.js';
import type { FoundHighWatermark } from '../watermark/incremental.js';
import { CLEAN_UP_MS, within } from '../waiting.js';
import { Watermarks } from '../watermark/watermark.js';
import { TaskConnection } from '../postgres/task-connection.js';
import { acquire } from '../database/run-database.js';
import type { Check } from '../tasks/task.js';

/**
 * One attempt, in the order that makes the task and its ledger row one COMMIT. Never throws: whatever happens is an
 * outcome, and the connection is released or cut off in every case.
 */
export async function attemptTask(request: AttemptRequest): Promise<AttemptOutcome> {
  const outcome = await attemptOnce(request);
  return outcome ?? (await attemptTask({ ...request, isFirst: false }));
}

/** Undefined when a first attempt could not claim its task as one may that has the server to itself: nothing of it counts. */
async function attemptOnce(request: AttemptRequest): Promise<AttemptOutcome | undefined> {
  let client: ProtocolClient;
  try {
    client = await acquire(request.database, request.signal);
  } catch (error) {
    return createFailedOutcome(error, {
      ...describeTask(request),
      ending: 'rolled back',
      isClaimed: false,
      statementOf: () => undefined,
    });
  }
  const attempt = new Attempt(request, client);
  try {
    return await attempt.run();
  } catch (error) {
    if (request.isFirst && (await attempt.isVoid())) return undefined;
    return await attempt.describeFailure(error);
  } finally {
    await attempt.release();
  }
}

class Attempt {
  readonly #request: AttemptRequest;
  readonly #client: ProtocolClient;
  readonly #taskConnection: TaskConnection;
  readonly #stop: AttemptStop;
  readonly #readSessions: ReadSessions;
  readonly #begin: TaskBegin;
  #isCommitting = false;
  #cleaned: Promise<boolean> | undefined;

  constructor(request: AttemptRequest, client: ProtocolClient) {
    this.#request = request;
    this.#client = client;
    this.#taskConnection = new TaskConnection(client);
    this.#begin = new TaskBegin(request);
    this.#readSessions = new ReadSessions(request.openReadSession);
    this.#stop = new AttemptStop({
      signal: request.signal,
      client,
      ask: (question) => request.database.ask(question),
      transaction: () => this.#begin.transaction,
      isCommitting: () => this.#isCommitting,
    });
  }

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
    return this.#commit(result);
  }

  async #readDoneResult(): Promise<AttemptOutcome> {
    this.#taskConnection.endByRunner();
    const done = await readClaimed(this.#client, this.#request.key);
    await send(this.#client, 'rollback');
    return { state: 'success', ...done, reused: true };
  }

  /** Runs the task's own code; then nothing of the task's reaches the connection any more. */
  async #runBody(highWatermark: FoundHighWatermark | undefined): Promise<string> {
    const { task, body, context, database, moved, signal } = this.#request;
    let session: Promise<Session> | undefined;
    const watermarks = new Watermarks(this.#taskConnection, context.run);
    try {
      const work = body.run({
        context,
        taskConnection: this.#taskConnection,
        watermarks,
        highWatermark,
        session: () => (session ??= database.takeUnboundSession().bind(this.#taskConnection, this.#client)),
        openReadSession: this.#readSessions.open,
        root: task.location.root.directory,
        moved,
      });
      void this.#taskConnection.beginSoon();
      const settled = work.then(async (result) => {
        await watermarks.save();
        this.#taskConnection.begin();
        await this.#taskConnection.awaitQueries();
        return result;
      });
      // The claim comes first: when it fails, nothing that the body gives counts.
      const [, result] = await Promise.race([
        Promise.all([this.#begin.claimed, settled]),
        this.#stop.stopped,
      ]);
      signal.throwIfAborted();
      return encodeResult(result);
    } finally {
      this.#taskConnection.close();
      await this.#readSessions.close();
    }
  }

  async #check(): Promise<void> {
    if (this.#taskConnection.failure !== undefined) throw createSwallowedError(this.#taskConnection.failure);
    await runChecks(this.#client, this.#request.task.checks);
  }

  /** The close and COMMIT, in one flight. */
  async #commit(result: string): Promise<AttemptOutcome> {
    if (this.#taskConnection.lost !== undefined) throw this.#taskConnection.lost;
    if (this.#taskConnection.late !== undefined) throw createSentTooLateError();
    this.#request.signal.throwIfAborted();
    const rows = this.#taskConnection.rows.written;
    this.#isCommitting = true;
    this.#taskConnection.endByRunner();
    const { committed, cleaned } = commitTask(this.#client, { key: this.#request.key, result, rows });
    this.#cleaned = cleaned;
    this.#request.database.prepareSession();
    await committed;
    this.#reportLate();
    return { state: 'success', result: JSON.parse(result) as unknown, rows, reused: false };
  }

  /** From here on a query of the task's is lost work of a task that is committed. */
  #reportLate(): void {
    const { onLateQuery } = this.#request;
    this.#taskConnection.onLate = onLateQuery;
    if (this.#taskConnection.late !== undefined) onLateQuery(this.#taskConnection.late);
  }

  /** The claim of a first attempt has met a row of its task; or a pooler has put it where its statement is not known. */
  async isVoid(): Promise<boolean> {
    await this.#taskConnection.drain();
    const code = findDatabaseError(this.#begin.failure)?.code;
    return code === '23505' || code === '26000';
  }

  async describeFailure(error: unknown): Promise<AttemptOutcome> {
    const thrown = toError(error);
    await this.#taskConnection.drain();
    const isWhole =
      !this.#request.signal.aborted && !this.#taskConnection.ended && this.#taskConnection.lost === undefined;
    if (thrown instanceof SkipTask && isWhole) return { state: 'skipped', reason: thrown.message };
    return createFailedOutcome(this.#findCause(thrown), {
      ...describeTask(this.#request),
      ending: this.#findEnding(thrown),
      isClaimed: this.#begin.isOver,
      statementOf: (failure) => this.#taskConnection.findStatement(failure),
    });
  }

  /** The first cause: a stop, an ended transaction, or the server's last word come before what followed from them. */
  #findCause(thrown: Error): unknown {
    const { signal } = this.#request;
    if (signal.aborted && !this.#isCommitting) return signal.reason;
    if (this.#taskConnection.ended) return createEndedByTaskError(thrown);
    if (isSealed(thrown)) return sealTouched(thrown);
    const { failure } = this.#taskConnection;
    if (failure !== undefined && failure !== findDatabaseError(thrown) && isAborted(thrown))
      return createSwallowedError(failure);
    if (this.#taskConnection.lost !== undefined && isConnectionLoss(thrown))
      return this.#taskConnection.fatal ?? createConnectionLostError(this.#taskConnection.lost);
    return thrown;
  }

  #findEnding(thrown: Error): Ending {
    if (this.#taskConnection.ended && !isSealed(thrown)) return 'check data';
    if (!this.#isCommitting) return 'rolled back';
    // Only a plain refusal of COMMIT says that it did not take place; a pooler's last word, for one, does not.
    const refusal = findDatabaseError(thrown);
    const isRefused = thrown instanceof EtlError || (refusal !== undefined && !isConnectionEnd(refusal));
    return isRefused && this.#taskConnection.lost === undefined ? 'rolled back' : 'unknown';
  }

  async release(): Promise<void> {
    this.#stop.dispose();
    await this.#readSessions.close();
    const clean = await this.#rollBack();
    this.#taskConnection.detach();
    // After its last word the server has nothing left to end.
    if (!clean && this.#taskConnection.fatal === undefined) await this.#stop.terminate();
    this.#request.database.release(this.#client, clean, this.#cleaned);
  }

  /** Says whether the connection is idle and whole. */
  async #rollBack(): Promise<boolean> {
    if (this.#taskConnection.lost !== undefined || this.#taskConnection.busy || this.#request.signal.aborted)
      return false;
    if (isIdle(this.#client)) return true;
    this.#taskConnection.endByRunner();
    try {
      const rolledBack = send(this.#client, 'rollback');
      if (!(await within(rolledBack, CLEAN_UP_MS))) return false;
      await rolledBack;
      return isIdle(this.#client);
    } catch {
      // The cause of the failure is known already; a connection that can't roll back is cut off.
      return false;
    }
  }
}

function describeTask({ task }: AttemptRequest) {
  return { taskId: task.id, location: task.location, retryOn: task.retryOn };
}

/** Runs the checks of a task in its transaction, in order. Throws for the first one that finds a row. */
export async function runChecks(client: ProtocolClient, checks: readonly Check[]): Promise<void> {
  for (const { name, sql, values = [] } of checks) {
    const { rows } = await send(client, selectOffendingRows(sql), values);
    if (rows.length > 0) throw checkFailed(name);
  }
}

/** The line break ends a comment at the end of the query. */
function selectOffendingRows(sql: string): string {
  return `select from (${sql.trim().replace(/;$/, '')}\n) as offending limit 1`;
}
