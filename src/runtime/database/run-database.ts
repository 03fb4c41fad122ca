import type { Client } from 'pg';
import { EtlError } from '../../errors.js';
import type { Database } from '../../hooks/hook.js';
import { Pipeline } from '../postgres/pipeline.js';
import { createCleanStatements, forgetPreparedStatements, isClean } from '../postgres/prepared-statements.js';
import {
  adoptEpoch,
  beginRun,
  type Epoch,
  isSame,
  type LockHolder,
  readEpoch,
  takeEpoch,
} from '../ledger/epoch.js';
import type { Ledger, LedgerSchema } from '../ledger/ledger.js';
import { type Overlap, describeHolder, endLeftovers, takeLock } from '../ledger/lock.js';
import type { RunHeader } from '../ledger/run-row.js';
import { isCurrent, migrate } from '../ledger/schema.js';
import { createTakenOverError } from '../ledger/taken-over.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { formatResumeCommand } from '../report/command-line.js';
import { taskScope } from '../tasks/task-scope.js';
import { UnboundSession } from '../session/session.js';
import { isIdle } from '../postgres/transaction.js';
import {
  ANSWER_MS,
  CLEAN_UP_MS,
  CLEAR_MS,
  MIGRATE_MS,
  SILENCE_MS,
  untilAborted,
  untilAnswered,
  within,
} from '../waiting.js';
import { LockWatch } from './lock-watch.js';
import { createSilentError, formatSilence } from './silent-database.js';

/** A database of a run with its ledger: its pool, its control connection, the lock and the epoch. */
export class RunDatabase {
  readonly database: Database;
  readonly schema: LedgerSchema;
  /** The ID of the connection, for messages. */
  readonly connectionId: string;
  #epoch: Epoch | undefined;
  /** The connection that holds the Dag's lock, and the process ID of its backend. Undefined if no lock was taken. */
  #lock: { readonly control: ProtocolClient; readonly pid: number } | undefined;
  #lockWatch: LockWatch | undefined;
  /** The control connection, or its opening. Undefined if no control connection is open. */
  #control: Promise<Client | undefined> | undefined;
  /** The connections that are on their way back to the pool. */
  readonly #releasing = new Set<Promise<void>>();
  /**
   * Clean connections that are ready for the next task. The pool treats them as in use, because handing a connection
   * out and taking it back costs the pool time.
   */
  readonly #idle: ProtocolClient[] = [];
  /** A session that was created in advance for the next task. */
  #unboundSession: UnboundSession | undefined;
  /** True if a task of the run has used a session. */
  #usesSessions = false;
  /** Resolves when the last question of `ask` is answered. Questions run one after another. */
  #lastAnswer: Promise<unknown> = Promise.resolve();
  #isClosing = false;

  constructor(database: Database, schema: LedgerSchema, connectionId: string) {
    this.database = database;
    this.schema = schema;
    this.connectionId = connectionId;
  }

  /**
   * Returns the epoch of this run. The tasks of the run commit only if the epoch is still the newest in this database.
   * Throws `Error` if no epoch was taken.
   */
  get epoch(): Epoch {
    if (this.#epoch === undefined) throw new Error('the epoch was read before it was taken');
    return this.#epoch;
  }

  /** Creates the ledger or brings it up to date. Errors name the connection. */
  async migrate(): Promise<void> {
    const name = `connection "${this.connectionId}"`;
    if (!(await this.with((ledger) => isCurrent(ledger, name))))
      await this.with((ledger) => migrate(ledger, name), MIGRATE_MS);
  }

  /**
   * Takes the lock of the Dag. The control connection holds the lock until it is closed. `onLost` is called if the
   * connection is lost before. Takes no lock in a database without a control connection. Throws `EtlError` if another
   * run has the lock, and ETL-1004 if the server does not answer.
   */
  async lock(dagId: string, overlap: Overlap, onLost: (reason: EtlError) => void): Promise<void> {
    const control = await this.#connectControl();
    if (control === undefined) return;
    const limitMs = ANSWER_MS + (overlap.mode === 'wait' ? overlap.waitMs : 0);
    const taken = takeLock({ client: control, schema: this.schema }, dagId, overlap);
    const pid = await this.#untilAnswered(taken, limitMs, control);
    this.#lock = { control, pid };
    this.#lockWatch = new LockWatch({
      // An empty query takes no snapshot.
      ask: () => this.#enqueue(() => send(control, '')),
      isOpen: () => control.getTransactionStatus() === 'T',
      onLost: () => control.connection.stream.destroy(), // The client then emits `end`.
    });
    control.on('end', () => {
      this.#lockWatch?.stop();
      if (this.#isClosing) return;
      const reason = new EtlError('ETL-1003', {
        what: `the connection that holds the lock of "${dagId}" was lost`,
        why: 'without the lock, another run of the Dag can start',
        fix: `resume the run: ${formatResumeCommand(dagId)}`,
        data: 'tasks that had succeeded are committed; the others wrote nothing',
      });
      onLost(reason);
    });
  }

  /**
   * Ends the transactions that an earlier process of the Dag left open. The caller must hold the Dag's lock alone. In a
   * database that is not the home database, the caller must have adopted the epoch as `holder`.
   */
  async endLeftovers(dagId: string, holder?: string): Promise<void> {
    await this.ask((client) => endLeftovers({ client, schema: this.schema }, dagId, holder));
  }

  /** Takes the next epoch of the Dag, whose home is this database: this process becomes the newest of its Dag. */
  async takeEpoch(holder: LockHolder): Promise<void> {
    this.#epoch = await this.with((ledger) => takeEpoch(ledger, holder, this.#lock?.pid));
  }

  /** Makes this process the newest of its Dag in this database, with the epoch of the home database. */
  async adoptEpoch(holder: LockHolder, home: RunDatabase): Promise<void> {
    const { epoch } = home;
    await this.with((ledger) => adoptEpoch(ledger, { epoch, holder }, () => home.assertHoldsLock(holder)));
    this.#epoch = epoch;
  }

  /**
   * Throws ETL-7503 unless this process still holds the lock of the Dag and is its newest process. Asks on the connection
   * that holds the lock, so an answer proves that the lock is still held. Waits until the loss of the connection is noticed
   * if the server does not answer.
   */
  async assertHoldsLock({ dagId }: LockHolder): Promise<void> {
    const { schema } = this;
    const check = async (client: ProtocolClient): Promise<void> => {
      const ledger = { client, schema };
      if (isSame(await readEpoch(ledger, dagId), this.#epoch)) return;
      throw createTakenOverError(dagId, { why: await describeHolder(ledger, dagId) });
    };
    if (this.#lock === undefined) return this.with(({ client }) => check(client));
    const { control } = this.#lock;
    await this.#askOn(async () => control, check);
  }

  /**
   * Records a new run and takes the next epoch. Returns undefined if there is a run with the same ID.
   * `hasOpenPredecessor` is true if the run that had the previous epoch has not ended.
   */
  async beginRun(
    header: RunHeader,
    holder: LockHolder,
  ): Promise<{ hasOpenPredecessor: boolean } | undefined> {
    const begun = await this.with((ledger) => beginRun(ledger, header, { holder, lockPid: this.#lock?.pid }));
    this.#epoch = begun?.epoch;
    return begun;
  }

  /**
   * Takes a clean connection that is ready, without waiting. Undefined if no such connection is there. A connection
   * that was lost while it was ready goes back to the pool, which removes it.
   */
  takeIdle(): ProtocolClient | undefined {
    for (let client = this.#idle.pop(); client !== undefined; client = this.#idle.pop()) {
      if (client.__knex__disposed === undefined) return client;
      void this.database.knex.client.releaseConnection(client);
    }
    return undefined;
  }

  /** Returns a new session for one task. The session is not bound to a connection yet. */
  takeUnboundSession(): UnboundSession {
    const unboundSession = this.#unboundSession ?? new UnboundSession(this.database.knex);
    this.#unboundSession = undefined;
    this.#usesSessions = true;
    return unboundSession;
  }

  /**
   * Creates the session of the next task in advance, while a COMMIT waits for its answer. Does nothing until a task
   * of the run has used a session.
   */
  prepareSession(): void {
    // Runs outside the scope of the task that is being committed: the session belongs to the next task.
    if (this.#usesSessions)
      this.#unboundSession ??= taskScope.run(undefined, () => new UnboundSession(this.database.knex));
  }

  /** Takes a connection from the pool, or opens a new connection. */
  async acquire(): Promise<ProtocolClient> {
    // Runs outside the scope of the task: the connection outlives the task, and later errors of the connection do not
    // belong to the task.
    return taskScope.run(
      undefined,
      () => this.database.knex.client.acquireConnection() as Promise<ProtocolClient>,
    );
  }

  /**
   * Gives a connection back. Never throws.
   *
   * The connection is used again only if its attempt left it idle and undamaged (`isIntact`), and if its session is
   * clean. The session is clean if `cleaned` resolves to true, or after a DISCARD ALL that this method sends. Any other
   * connection is destroyed. The clean-up runs in the background; meanwhile the next task uses another connection.
   */
  release(client: ProtocolClient, isIntact: boolean, cleaned?: Promise<boolean>): void {
    const released = this.#giveBack(client, isIntact, cleaned).finally(() =>
      this.#releasing.delete(released),
    );
    this.#releasing.add(released);
  }

  /**
   * Makes the session of a connection clean, if it is not clean yet. Then puts the connection into `#idle`, returns it
   * to the pool, or destroys it if it can't be used again. A destroyed connection also goes back to the pool, which
   * removes it.
   */
  async #giveBack(client: ProtocolClient, isIntact: boolean, cleaned?: Promise<boolean>): Promise<void> {
    const isUsable = isIntact && ((await isCleanInTime(cleaned)) || (await cleanSession(client)));
    if (isUsable && this.#mayKeep) {
      this.#idle.push(client);
      return;
    }
    if (!isUsable) destroyConnection(client);
    await this.database.knex.client.releaseConnection(client);
  }

  /**
   * True if a clean connection may stay in `#idle`: nobody waits for the pool, and the database has a control
   * connection, so its pool has more than one connection.
   */
  get #mayKeep(): boolean {
    const { pool } = this.database.knex.client as { readonly pool: { numPendingAcquires(): number } };
    const { openControl } = this.database;
    return !this.#isClosing && openControl !== undefined && pool.numPendingAcquires() === 0;
  }

  /**
   * Runs `work` of the runner itself on a connection of the pool, and returns its result. `work` must leave nothing
   * behind in the session. The connection is destroyed if `work` leaves a transaction open. Throws ETL-1004 if `work` has not
   * ended after `limitMs` milliseconds.
   */
  async with<T>(work: (ledger: Ledger) => Promise<T>, limitMs = ANSWER_MS): Promise<T> {
    // Waits for a connection that is on its way back: this takes less time than opening a new one.
    if (this.#releasing.size > 0) await within(Promise.race(this.#releasing), CLEAN_UP_MS);
    const client = this.takeIdle() ?? (await this.acquire());
    try {
      return await this.#untilAnswered(work({ client, schema: this.schema }), limitMs, client);
    } finally {
      if (!isIdle(client)) destroyConnection(client);
      await this.database.knex.client.releaseConnection(client);
    }
  }

  /**
   * Waits for work on a connection. Writes a notice after `SILENCE_MS`. After `limitMs` milliseconds, destroys the
   * connection and throws ETL-1004.
   */
  async #untilAnswered<T>(work: Promise<T>, limitMs: number, client: ProtocolClient): Promise<T> {
    const { notice, poolSize } = this.database;
    const what = `connection "${this.connectionId}"`;
    const timer = setTimeout(() => notice(formatSilence(what, SILENCE_MS, poolSize)), SILENCE_MS);
    const stop = (): void => clearTimeout(timer);
    work.then(stop, stop);
    return untilAnswered(work, limitMs, () => {
      stop();
      destroyConnection(client);
      return createSilentError(this.connectionId, limitMs, this.database.poolSize);
    });
  }

  /**
   * Runs a question, which is one or more queries about the server's sessions, on the control connection. Questions run
   * one after another. Returns undefined if the database has no control connection, because it allows one session only.
   *
   * The question must not fail on the server: an error would end the transaction of the lock.
   */
  ask<T>(question: (control: ProtocolClient) => Promise<T>): Promise<T | undefined> {
    return this.#askOn(() => this.#connectControl(), question);
  }

  /** The `ask` of the connection that holds the Dag's lock. Undefined if this database has no lock. */
  get askOnLock(): RunDatabase['ask'] | undefined {
    return this.#lock && ((question) => this.ask(question));
  }

  /**
   * Runs a question on the connection that `connect` returns. The question waits for the questions before it. Returns
   * undefined if there is no connection.
   *
   * After the question, a statement without values ends the portal of the question, and with it the snapshot that the
   * transaction of the lock would otherwise keep as long as the run: a snapshot holds back VACUUM. The statement also ends
   * the snapshot of the server's sessions, which the next question would see again.
   */
  #askOn<T>(
    connect: () => Promise<ProtocolClient | undefined>,
    question: (control: ProtocolClient) => Promise<T>,
  ): Promise<T | undefined> {
    let control: ProtocolClient | undefined;
    const answer = this.#enqueue(async () => {
      control = await connect();
      return control && this.#untilAnswered(question(control), ANSWER_MS, control);
    });
    const clear = this.#enqueue(
      async () =>
        control &&
        this.#untilAnswered(send(control, 'select pg_catalog.pg_stat_clear_snapshot()'), CLEAR_MS, control),
    );
    // The statement fails if the question has ended the transaction of the lock.
    clear.catch(() => control?.connection.stream.destroy());
    return answer;
  }

  /** Runs `work` on the control connection after the work before it. The caller gets the error of `work`. */
  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#lastAnswer.then(work);
    this.#lastAnswer = result.catch(() => undefined);
    return result;
  }

  /**
   * Returns the control connection, and opens it if necessary. Undefined if the database has no control connection.
   */
  async #connectControl(): Promise<ProtocolClient | undefined> {
    this.#control ??= taskScope.run(undefined, () => this.#openControl());
    return (await this.#control) as unknown as ProtocolClient | undefined;
  }

  /** Closes all connections in any state. Each wait has a limit. Never throws. */
  async close(): Promise<void> {
    // From now on, the end of the control connection is no loss of the lock.
    this.#isClosing = true;
    this.#lockWatch?.stop();
    const control = await this.#control?.catch(() => undefined);
    // A client that is ended during a query closes only its socket, see below.
    await within(Promise.all([...this.#releasing, this.#lastAnswer]), CLEAN_UP_MS);
    await Promise.all(
      this.#idle.splice(0).map((client) => this.database.knex.client.releaseConnection(client)),
    );
    // Ends the session of the control connection properly, because the server then releases the lock at once. If only
    // the socket is destroyed, the server releases the lock later.
    if (control !== undefined) await within(control.end(), CLEAN_UP_MS);
    await this.database.close();
  }

  /**
   * Opens the control connection. If opening fails, or if the connection is lost later, the next call opens a new
   * connection.
   */
  async #openControl(): Promise<Client | undefined> {
    try {
      const control = await this.database.openControl?.();
      control?.on('end', () => (this.#control = undefined));
      return control;
    } catch (error) {
      this.#control = undefined;
      throw error;
    }
  }
}

/** Destroys a connection, and marks it so that the pool removes it when it is released. */
function destroyConnection(client: ProtocolClient): void {
  client.__knex__disposed ??= 'not clean';
  client.connection.stream.destroy();
}

/** Returns true if `cleaned` resolves to true within `CLEAN_UP_MS`. Returns false if there is no `cleaned`. */
async function isCleanInTime(cleaned: Promise<boolean> = Promise.resolve(false)): Promise<boolean> {
  return (await within(cleaned, CLEAN_UP_MS)) && cleaned;
}

/**
 * Cleans the session of an idle connection with DISCARD ALL. Returns true if the connection can be used again. Returns
 * false if the connection is not idle, is broken, or does not answer within `CLEAN_UP_MS`.
 */
async function cleanSession(client: ProtocolClient): Promise<boolean> {
  if (!isIdle(client)) return false;
  try {
    // After the driver has forgotten the runner's prepared statements, `createCleanStatements` returns DISCARD ALL.
    forgetPreparedStatements(client.connection);
    const discarded = new Pipeline(createCleanStatements(client.connection)).send(client);
    return (await within(discarded, CLEAN_UP_MS)) && isClean(await discarded);
  } catch {
    // The connection broke while no task was using it, so no task fails. The caller destroys the connection.
    return false;
  }
}

/**
 * Takes a connection for one attempt: a connection that is ready or, if there is none, a connection of the pool. Waits
 * without a limit while other tasks use all connections. Throws the reason of `signal` if the signal aborts; a
 * connection that arrives later is released.
 */
export async function acquire(database: RunDatabase, signal: AbortSignal): Promise<ProtocolClient> {
  signal.throwIfAborted();
  return (
    database.takeIdle() ??
    untilAborted(acquireFromPool(database, signal), signal, (late) => database.release(late, true))
  );
}

/** Takes a connection from the pool. Waits again if Knex gives up on a full pool, until the signal aborts. */
async function acquireFromPool(database: RunDatabase, signal: AbortSignal): Promise<ProtocolClient> {
  for (;;) {
    try {
      return await database.acquire();
    } catch (error) {
      // Knex stops waiting for a full pool after its acquire timeout. The tasks that use the connections have their
      // own timeouts, so the wait goes on.
      if (signal.aborted || (error as Error).name !== 'KnexTimeoutError') throw error;
    }
  }
}
