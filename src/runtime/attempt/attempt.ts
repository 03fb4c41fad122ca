import { EtlError, asError } from '../../errors.js';
import { commitTask } from './commit.js';
import { failed } from './failure.js';
import { encodeResult } from '../json.js';
import { readClaimed } from '../ledger/task-row.js';
import {
  checkFailed,
  endedByTask,
  isSealed,
  lostConnection,
  notCommitted,
  sealTouched,
  sentTooLate,
  swallowed,
} from '../postgres/task-connection-errors.js';
import { type AttemptOrder, Opening } from './begin.js';
import { type AttemptOutcome, type Ending, SkipTask } from './outcome.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import type { Session } from '../session/session.js';
import { Sources } from '../session/read-session.js';
import { databaseErrorOf, endsConnection, isAborted, isConnectionLoss } from '../postgres/sqlstate.js';
import { Stopping } from './stop.js';
import { isIdle } from '../postgres/transaction.js';
import type { Bound } from '../watermark/incremental.js';
import { CLEAN_UP_MS, within } from '../waiting.js';
import { Watermarks } from '../watermark/watermark.js';
import { Wire } from '../postgres/task-connection.js';
import { acquire } from '../database/run-database.js';
import type { Check } from '../tasks/task.js';

/**
 * One attempt, in the order that makes the task and its ledger row one COMMIT. Never throws: whatever happens is an
 * outcome, and the connection is released or cut off in every case.
 */
export async function attemptTask(order: AttemptOrder): Promise<AttemptOutcome> {
  const outcome = await attemptOnce(order);
  return outcome ?? (await attemptTask({ ...order, isFirst: false }));
}

/** Undefined when a first attempt could not claim its task as one may that has the server to itself: nothing of it counts. */
async function attemptOnce(order: AttemptOrder): Promise<AttemptOutcome | undefined> {
  let client: ProtocolClient;
  try {
    client = await acquire(order.database, order.signal);
  } catch (error) {
    return failed(error, {
      ...factsOf(order),
      ending: 'rolled back',
      isClaimed: false,
      statementOf: () => undefined,
    });
  }
  const attempt = new Attempt(order, client);
  try {
    return await attempt.run();
  } catch (error) {
    if (order.isFirst && (await attempt.isVoid())) return undefined;
    return await attempt.failed(error);
  } finally {
    await attempt.release();
  }
}

class Attempt {
  readonly #order: AttemptOrder;
  readonly #client: ProtocolClient;
  readonly #wire: Wire;
  readonly #stopping: Stopping;
  readonly #sources: Sources;
  readonly #opening: Opening;
  #isCommitting = false;
  #cleaned: Promise<boolean> | undefined;

  constructor(order: AttemptOrder, client: ProtocolClient) {
    this.#order = order;
    this.#client = client;
    this.#wire = new Wire(client);
    this.#opening = new Opening(order);
    this.#sources = new Sources(order.openSource);
    this.#stopping = new Stopping({
      signal: order.signal,
      client,
      ask: (question) => order.database.ask(question),
      transaction: () => this.#opening.transaction,
      isCommitting: () => this.#isCommitting,
    });
  }

  async run(): Promise<AttemptOutcome> {
    const { body, context, signal } = this.#order;
    const bound = await body.settle?.({ client: this.#client, source: this.#sources.open, context, signal });
    signal.throwIfAborted();
    this.#wire.openWith(this.#opening);
    if (!this.#order.isFirst) {
      this.#wire.begin();
      if (!(await this.#opening.claimed)) return this.#reuse();
      if (this.#order.claimOnly) throw notCommitted();
    }
    const result = await this.#body(bound);
    await this.#check();
    return this.#commit(result);
  }

  async #reuse(): Promise<AttemptOutcome> {
    this.#wire.handOver();
    const done = await readClaimed(this.#client, this.#order.key);
    await send(this.#client, 'rollback');
    return { state: 'success', ...done, reused: true };
  }

  /** Runs the task's own code; then nothing of the task's reaches the connection any more. */
  async #body(bound: Bound | undefined): Promise<string> {
    const { task, body, context, database, moved, signal } = this.#order;
    let session: Promise<Session> | undefined;
    const watermarks = new Watermarks(this.#wire, context.run);
    try {
      const work = body.run({
        context,
        wire: this.#wire,
        watermarks,
        bound,
        session: () => (session ??= database.takeBlankSession().on(this.#wire, this.#client)),
        source: this.#sources.open,
        root: task.place.root.directory,
        moved,
      });
      void this.#wire.beginSoon();
      const settled = work.then(async (result) => {
        await watermarks.save();
        this.#wire.begin();
        await this.#wire.settle();
        return result;
      });
      // The claim comes first: when it fails, nothing that the body gives counts.
      const [, result] = await Promise.race([
        Promise.all([this.#opening.claimed, settled]),
        this.#stopping.stopped,
      ]);
      signal.throwIfAborted();
      return encodeResult(result);
    } finally {
      this.#wire.shut();
      await this.#sources.close();
    }
  }

  async #check(): Promise<void> {
    if (this.#wire.failure !== undefined) throw swallowed(this.#wire.failure);
    await runChecks(this.#client, this.#order.task.checks);
  }

  /** The close and COMMIT, in one flight. */
  async #commit(result: string): Promise<AttemptOutcome> {
    if (this.#wire.lost !== undefined) throw this.#wire.lost;
    if (this.#wire.late !== undefined) throw sentTooLate();
    this.#order.signal.throwIfAborted();
    const rows = this.#wire.rows.written;
    this.#isCommitting = true;
    this.#wire.handOver();
    const { committed, cleaned } = commitTask(this.#client, { key: this.#order.key, result, rows });
    this.#cleaned = cleaned;
    this.#order.database.prepareSession();
    await committed;
    this.#reportLate();
    return { state: 'success', result: JSON.parse(result) as unknown, rows, reused: false };
  }

  /** From here on a query of the task's is lost work of a task that is committed. */
  #reportLate(): void {
    const { onLateQuery } = this.#order;
    this.#wire.onLate = onLateQuery;
    if (this.#wire.late !== undefined) onLateQuery(this.#wire.late);
  }

  /** The claim of a first attempt has met a row of its task; or a pooler has put it where its statement is not known. */
  async isVoid(): Promise<boolean> {
    await this.#wire.calm();
    const code = databaseErrorOf(this.#opening.failure)?.code;
    return code === '23505' || code === '26000';
  }

  async failed(error: unknown): Promise<AttemptOutcome> {
    const thrown = asError(error);
    await this.#wire.calm();
    const isWhole = !this.#order.signal.aborted && !this.#wire.ended && this.#wire.lost === undefined;
    if (thrown instanceof SkipTask && isWhole) return { state: 'skipped', reason: thrown.message };
    return failed(this.#causeOf(thrown), {
      ...factsOf(this.#order),
      ending: this.#endingOf(thrown),
      isClaimed: this.#opening.isOver,
      statementOf: (failure) => this.#wire.statementOf(failure),
    });
  }

  /** The first cause: a stop, an ended transaction, or the server's last word come before what followed from them. */
  #causeOf(thrown: Error): unknown {
    const { signal } = this.#order;
    if (signal.aborted && !this.#isCommitting) return signal.reason;
    if (this.#wire.ended) return endedByTask(thrown);
    if (isSealed(thrown)) return sealTouched(thrown);
    const { failure } = this.#wire;
    if (failure !== undefined && failure !== databaseErrorOf(thrown) && isAborted(thrown))
      return swallowed(failure);
    if (this.#wire.lost !== undefined && isConnectionLoss(thrown))
      return this.#wire.fatal ?? lostConnection(this.#wire.lost);
    return thrown;
  }

  #endingOf(thrown: Error): Ending {
    if (this.#wire.ended && !isSealed(thrown)) return 'check data';
    if (!this.#isCommitting) return 'rolled back';
    // Only a plain refusal of COMMIT says that it did not take place; a pooler's last word, for one, does not.
    const refusal = databaseErrorOf(thrown);
    const isRefused = thrown instanceof EtlError || (refusal !== undefined && !endsConnection(refusal));
    return isRefused && this.#wire.lost === undefined ? 'rolled back' : 'unknown';
  }

  async release(): Promise<void> {
    this.#stopping.dispose();
    await this.#sources.close();
    const clean = await this.#rollBack();
    this.#wire.detach();
    // After its last word the server has nothing left to end.
    if (!clean && this.#wire.fatal === undefined) await this.#stopping.terminate();
    this.#order.database.release(this.#client, clean, this.#cleaned);
  }

  /** Says whether the connection is idle and whole. */
  async #rollBack(): Promise<boolean> {
    if (this.#wire.lost !== undefined || this.#wire.busy || this.#order.signal.aborted) return false;
    if (isIdle(this.#client)) return true;
    this.#wire.handOver();
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

function factsOf({ task }: AttemptOrder) {
  return { taskId: task.id, place: task.place, retryOn: task.retryOn };
}

/** Runs the checks of a task in its transaction, in order. Throws for the first one that finds a row. */
export async function runChecks(client: ProtocolClient, checks: readonly Check[]): Promise<void> {
  for (const { name, sql, values = [] } of checks) {
    const { rows } = await send(client, offending(sql), values);
    if (rows.length > 0) throw checkFailed(name);
  }
}

/** The line break ends a comment at the end of the query. */
function offending(sql: string): string {
  return `select from (${sql.trim().replace(/;$/, '')}\n) as offending limit 1`;
}
