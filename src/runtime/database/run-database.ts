import type { Client } from 'pg';
import { EtlError } from '../../errors.js';
import type { Database } from '../../hooks/hook.js';
import { Pipeline } from '../postgres/pipeline.js';
import { createCleanStatements, forgetPreparedStatements, isClean } from '../postgres/prepared-statements.js';
import { type LockHolder, beginRun, takeEpoch } from '../ledger/epoch.js';
import { type Overlap, endLeftovers, takeLock } from '../ledger/lock.js';
import type { RunHeader } from '../ledger/run-row.js';
import { migrate } from '../ledger/schema.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { formatResumeCommand } from '../report/command-line.js';
import { taskScope } from '../tasks/task-scope.js';
import { UnboundSession } from '../session/session.js';
import { isIdle } from '../postgres/transaction.js';
import { CLEAN_UP_MS, untilAborted, within } from '../waiting.js';

/** A database of a run, with its ledger. */
export class RunDatabase {
  readonly database: Database;
  #epoch: string | undefined;
  #control: Promise<Client | undefined> | undefined;
  readonly #releasing = new Set<Promise<void>>();
  /** Clean ones that the pool believes to be in use: it takes a while over each that it gives and takes back. */
  readonly #idle: ProtocolClient[] = [];
  #unboundSession: UnboundSession | undefined;
  #usesSessions = false;
  #asked: Promise<unknown> = Promise.resolve();
  #isClosing = false;
  /** The control connection's transaction has seen the server's sessions, and would see them so again. */
  #hasLooked = false;

  constructor(database: Database) {
    this.database = database;
  }

  /** The epoch of the Dag's lock that tasks in this database commit under. */
  get epoch(): string {
    if (this.#epoch === undefined) throw new Error('the epoch was read before it was taken');
    return this.#epoch;
  }

  /** Brings the ledger up to date. `place` names the database in an error. */
  async migrate(databaseName: string): Promise<void> {
    await this.with((client) => migrate(client, databaseName));
  }

  /** Takes the lock of the Dag, for as long as the control connection lives. */
  async lock(dagId: string, overlap: Overlap, onLost: (reason: EtlError) => void): Promise<void> {
    const control = await this.#connectControl();
    if (control === undefined) return;
    await takeLock(control, dagId, overlap);
    control.on('end', () => {
      if (!this.#isClosing) onLost(lockLost(dagId));
    });
  }

  /** Ends what an earlier process has left open. Only for who has the Dag's lock for itself. */
  async endLeftovers(dagId: string): Promise<void> {
    await this.ask((control) => endLeftovers(control, dagId));
  }

  /** Makes this process the newest of its Dag here. */
  async takeEpoch(holder: LockHolder): Promise<void> {
    this.#epoch = await this.with((client) => takeEpoch(client, holder));
  }

  /** Records a new run, and makes this process the newest of its Dag here; undefined where there is a run with its ID. */
  async beginRun(
    header: RunHeader,
    holder: LockHolder,
  ): Promise<{ hasOpenPredecessor: boolean } | undefined> {
    const begun = await this.with((client) => beginRun(client, header, holder));
    this.#epoch = begun?.epoch;
    return begun;
  }

  /** A clean connection that is open and free, at once. */
  takeIdle(): ProtocolClient | undefined {
    for (let client = this.#idle.pop(); client !== undefined; client = this.#idle.pop()) {
      if (client.__knex__disposed === undefined) return client;
      void this.database.knex.client.releaseConnection(client);
    }
    return undefined;
  }

  /** For the session of one task. */
  takeUnboundSession(): UnboundSession {
    const unboundSession = this.#unboundSession ?? new UnboundSession(this.database.knex);
    this.#unboundSession = undefined;
    this.#usesSessions = true;
    return unboundSession;
  }

  /** For a moment in which nothing else can be done: makes what the next task will need, where tasks use sessions. */
  prepareSession(): void {
    // It is no part of the task whose end it is made in.
    if (this.#usesSessions)
      this.#unboundSession ??= taskScope.run(undefined, () => new UnboundSession(this.database.knex));
  }

  /** Takes a connection from the pool, or opens one. */
  async acquire(): Promise<ProtocolClient> {
    // A connection outlives the task that it was opened for: what happens on it later is not that task's.
    return taskScope.run(
      undefined,
      () => this.database.knex.client.acquireConnection() as Promise<ProtocolClient>,
    );
  }

  /**
   * Gives a connection back. Only an idle one is used again, and only when its session is clean: by what is under way
   * (`cleaned`), or by DISCARD ALL. Any other is cut off. That goes on beside the next task, which takes another
   * connection meanwhile. Never throws.
   */
  release(client: ProtocolClient, isWhole: boolean, cleaned?: Promise<boolean>): void {
    const released = this.#giveBack(client, isWhole, cleaned).finally(() => this.#releasing.delete(released));
    this.#releasing.add(released);
  }

  async #giveBack(client: ProtocolClient, isWhole: boolean, cleaned?: Promise<boolean>): Promise<void> {
    const isUsable = isWhole && ((await isCleanInTime(cleaned)) || (await discard(client)));
    if (isUsable && this.#canKeep) {
      this.#idle.push(client);
      return;
    }
    if (!isUsable) cutOff(client);
    await this.database.knex.client.releaseConnection(client);
  }

  /** Where nobody waits for one, and those that wait elsewhere have the pool's own. */
  get #canKeep(): boolean {
    const { pool } = this.database.knex.client as { readonly pool: { numPendingAcquires(): number } };
    const { openControl } = this.database;
    return !this.#isClosing && openControl !== undefined && pool.numPendingAcquires() === 0;
  }

  /** Lends a connection of the pool to `work` of the runner's own, which leaves nothing behind in a session. */
  async with<T>(work: (client: ProtocolClient) => Promise<T>): Promise<T> {
    // One that is on its way back is there sooner than a new one.
    if (this.#releasing.size > 0) await within(Promise.race(this.#releasing), CLEAN_UP_MS);
    const client = this.takeIdle() ?? (await this.acquire());
    try {
      return await work(client);
    } finally {
      if (!isIdle(client)) cutOff(client);
      await this.database.knex.client.releaseConnection(client);
    }
  }

  /**
   * Asks the server about its sessions over the control connection, one question at a time, and with a fresh look: the
   * lock's transaction would show them as they were at the first. Undefined where the database has one session only.
   */
  ask<T>(question: (control: ProtocolClient) => Promise<T>): Promise<T | undefined> {
    const answer = this.#asked.then(async () => {
      const control = await this.#connectControl();
      if (control === undefined) return undefined;
      if (this.#hasLooked) await send(control, 'select pg_stat_clear_snapshot()');
      this.#hasLooked = true;
      return question(control);
    });
    this.#asked = answer.catch(() => undefined); // Whoever asked gets the error.
    return answer;
  }

  async #connectControl(): Promise<ProtocolClient | undefined> {
    this.#control ??= taskScope.run(undefined, () => this.#openControl());
    return (await this.#control) as unknown as ProtocolClient | undefined;
  }

  /** Ends every connection, whatever its state, within a bound. Never throws. */
  async close(): Promise<void> {
    this.#isClosing = true;
    const control = await this.#control?.catch(() => undefined);
    await within(Promise.all(this.#releasing), CLEAN_UP_MS);
    await Promise.all(
      this.#idle.splice(0).map((client) => this.database.knex.client.releaseConnection(client)),
    );
    // The lock is free once the server has ended this session, and not when its socket is cut with the others'.
    if (control !== undefined) await within(control.end(), CLEAN_UP_MS);
    await this.database.close();
  }

  /** The next call opens another when this one can't be opened, or when it is lost. */
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

/** The pool throws it away. */
function cutOff(client: ProtocolClient): void {
  client.__knex__disposed ??= 'not clean';
  client.connection.stream.destroy();
}

function lockLost(dagId: string): EtlError {
  return new EtlError('ETL-1003', {
    what: `the connection that holds the lock of "${dagId}" was lost`,
    why: 'another run could have started',
    fix: `go on with it: ${formatResumeCommand(dagId)}`,
    data: 'tasks that had ended are committed; the others wrote nothing',
  });
}

/** Says whether it was clean, and soon. */
async function isCleanInTime(cleaned: Promise<boolean> = Promise.resolve(false)): Promise<boolean> {
  return (await within(cleaned, CLEAN_UP_MS)) && cleaned;
}

/** Says whether the connection can be used again. */
async function discard(client: ProtocolClient): Promise<boolean> {
  if (!isIdle(client)) return false;
  try {
    forgetPreparedStatements(client.connection);
    const discarded = new Pipeline(createCleanStatements(client.connection)).send(client);
    return (await within(discarded, CLEAN_UP_MS)) && isClean(await discarded);
  } catch {
    // The connection broke while it was idle: it is thrown away, and no task was on it.
    return false;
  }
}

/**
 * Takes a connection from the pool and waits for it as long as the tasks that have them need, but no longer than
 * `signal` lets it: then it throws the reason.
 */
export async function acquire(database: RunDatabase, signal: AbortSignal): Promise<ProtocolClient> {
  signal.throwIfAborted();
  return (
    database.takeIdle() ??
    untilAborted(acquireFree(database, signal), signal, (late) => database.release(late, true))
  );
}

async function acquireFree(database: RunDatabase, signal: AbortSignal): Promise<ProtocolClient> {
  for (;;) {
    try {
      return await database.acquire();
    } catch (error) {
      // Knex gives up on a full pool after a while; the tasks that fill it have limits of their own.
      if (signal.aborted || (error as Error).name !== 'KnexTimeoutError') throw error;
    }
  }
}
