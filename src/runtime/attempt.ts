import { EtlError } from '../errors.js';
import { acquire } from './acquire.js';
import type { AttemptOrder } from './attempt-order.js';
import { awaitClaim } from './claim-wait.js';
import { failed } from './failure.js';
import { encodeResult } from './json.js';
import { claimTask, closeTask, type TransactionId } from './ledger/task-row.js';
import {
  checkFailed,
  endedByTask,
  lostConnection,
  notCommitted,
  sealTouched,
  sentTooLate,
  swallowed,
} from './misuse.js';
import { asError, SkipTask, type AttemptOutcome, type Ending } from './outcome.js';
import { send, type ProtocolClient } from './protocol.js';
import { openSession, type Session } from './session.js';
import type { Source } from './source.js';
import { databaseErrorOf, endsConnection, isConnectionLoss } from './sqlstate.js';
import { Stopping } from './stopping.js';
import type { Bound } from './watermark/incremental.js';
import { applicationName, begin, commit, isIdle } from './transaction.js';
import { within } from './waiting.js';
import { Watermarks } from './watermark/watermark.js';
import { Wire } from './wire.js';

/** For a rollback: a connection that does not answer is cut off. */
const CLEAN_UP_MS = 2000;

/**
 * One attempt, in the order that makes the task and its ledger row one COMMIT. Never throws: whatever happens is an
 * outcome, and the connection is released or cut off in every case.
 */
export async function attemptTask(order: AttemptOrder): Promise<AttemptOutcome> {
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
  readonly #sources: Source[] = [];
  #transaction: TransactionId | undefined;
  #isCommitting = false;

  constructor(order: AttemptOrder, client: ProtocolClient) {
    this.#order = order;
    this.#client = client;
    this.#wire = new Wire(client);
    this.#stopping = new Stopping({
      signal: order.signal,
      client,
      ask: (question) => order.database.ask(question),
      transaction: () => this.#transaction,
      isCommitting: () => this.#isCommitting,
    });
  }

  async run(): Promise<AttemptOutcome> {
    const { task, key, fingerprint, attempt, claimOnly } = this.#order;
    const name = applicationName(key.dagId, key.taskId);
    const bound = await this.#order.body.settle?.(this.#client, this.#order.signal);
    const pid = await begin(this.#client, {
      isolation: task.isolation,
      budgetMs: this.#order.budgetMs(),
      name,
      watchClient: this.#order.database.database.openControl !== undefined,
    });
    const claim = await awaitClaim(claimTask(this.#client, key, fingerprint, attempt), {
      taskId: task.id,
      pid,
      name,
      ask: (question) => this.#order.database.ask(question),
      notice: this.#order.notice,
    });
    if (claim.state === 'done') {
      await send(this.#client, 'rollback');
      return { state: 'success', ...claim.done, reused: true };
    }
    this.#transaction = claim.transaction;
    if (claimOnly) throw notCommitted();
    const result = await this.#body(bound);
    await this.#check();
    const rows = this.#wire.rowsWritten;
    await closeTask(this.#client, key, claim.transaction, { result, rows });
    this.#refuseLate();
    this.#order.signal.throwIfAborted();
    this.#isCommitting = true;
    this.#wire.handOver();
    await commit(this.#client);
    this.#reportLate();
    return { state: 'success', result: JSON.parse(result) as unknown, rows, reused: false };
  }

  /** Runs the task's own code; then nothing of the task's reaches the connection any more. */
  async #body(bound: Bound | undefined): Promise<string> {
    const { body, context, root, moved, signal } = this.#order;
    let session: Promise<Session> | undefined;
    const { knex } = this.#order.database.database;
    const watermarks = new Watermarks(this.#wire, context.run);
    this.#wire.open();
    try {
      const work = body.run({
        context,
        wire: this.#wire,
        watermarks,
        bound,
        session: () => (session ??= openSession(knex, this.#wire, this.#client)),
        source: async (id) => {
          const source = await this.#order.openSource(id);
          this.#sources.push(source);
          return source;
        },
        root,
        moved,
      });
      const result = await Promise.race([work, this.#stopping.stopped]);
      await Promise.race([watermarks.save(), this.#stopping.stopped]);
      await Promise.race([this.#wire.settle(), this.#stopping.stopped]);
      signal.throwIfAborted();
      return encodeResult(result);
    } finally {
      this.#wire.shut();
      await Promise.all(this.#sources.map((source) => source.close()));
    }
  }

  async #check(): Promise<void> {
    if (this.#wire.failure !== undefined) throw swallowed(this.#wire.failure);
    for (const check of this.#order.task.checks) {
      const { rows } = await send(this.#client, offending(check.sql), check.values ?? []);
      if (rows.length > 0) throw checkFailed(check.name);
    }
  }

  #refuseLate(): void {
    if (this.#wire.late !== undefined) throw sentTooLate();
  }

  /** From here on a query of the task's is lost work of a task that is committed. */
  #reportLate(): void {
    const { onLateQuery } = this.#order;
    this.#wire.onLate = onLateQuery;
    if (this.#wire.late !== undefined) onLateQuery(this.#wire.late);
  }

  async failed(error: unknown): Promise<AttemptOutcome> {
    const thrown = asError(error);
    await this.#wire.calm();
    const isWhole = !this.#order.signal.aborted && !this.#wire.ended && this.#wire.lost === undefined;
    if (thrown instanceof SkipTask && isWhole) return { state: 'skipped', reason: thrown.message };
    return failed(this.#causeOf(thrown), {
      ...factsOf(this.#order),
      ending: this.#endingOf(thrown),
      isClaimed: this.#transaction !== undefined,
      statementOf: (failure) => this.#wire.statementOf(failure),
    });
  }

  /** The first cause: a stop, an ended transaction, or the server's last word come before what followed from them. */
  #causeOf(thrown: Error): unknown {
    const { signal } = this.#order;
    if (signal.aborted && !this.#isCommitting) return signal.reason;
    if (this.#wire.ended) return endedByTask(thrown);
    if (isSealed(thrown)) return sealTouched(thrown);
    if (this.#wire.lost !== undefined && isConnectionLoss(thrown))
      return this.#wire.fatal ?? lostConnection(this.#wire.lost);
    return thrown;
  }

  #endingOf(thrown: Error): Ending {
    if (this.#wire.ended && !isSealed(thrown)) return 'check data';
    if (!this.#isCommitting) return 'rolled back';
    // Only a plain refusal of COMMIT says that it did not take place; a pooler's last word, for one, does not.
    const state = databaseErrorOf(thrown)?.code;
    const isRefused = thrown instanceof EtlError || (state !== undefined && !endsConnection(state));
    return isRefused && this.#wire.lost === undefined ? 'rolled back' : 'unknown';
  }

  async release(): Promise<void> {
    this.#stopping.dispose();
    const clean = await this.#rollBack();
    this.#wire.detach();
    // After its last word the server has nothing left to end.
    if (!clean && this.#wire.fatal === undefined) await this.#stopping.terminate();
    this.#order.database.release(this.#client, clean);
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

/** The line break ends a comment at the end of the query. */
function offending(sql: string): string {
  return `select from (${sql.trim().replace(/;$/, '')}\n) as offending limit 1`;
}

function factsOf({ task, root }: AttemptOrder) {
  return { taskId: task.id, place: task.place, root, retryOn: task.retryOn };
}

/** The server refused a COMMIT of the task's own: nothing was kept. */
function isSealed(thrown: Error): boolean {
  const error = databaseErrorOf(thrown);
  return error?.code === '23503' && error.constraint === 'task_seal_fkey';
}
