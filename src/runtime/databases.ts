import type { Client } from 'pg';
import { EtlError } from '../errors.js';
import type { Database } from '../hooks/hook.js';
import { takeEpoch, takeLock, type LockHolder } from './ledger/lock.js';
import { migrate } from './ledger/schema.js';
import type { ProtocolClient } from './protocol.js';

/** A wait for something that only cleans up. */
const CLEAN_UP_MS = 2000;

/** A database of a run: its ledger is there, and this run is the newest of its Dag in it. */
export interface RunDatabase {
  readonly database: Database;
  /** The epoch of the Dag's lock that tasks in this database commit under. */
  readonly epoch: string;
  /** Takes a connection from the pool, or opens one. */
  acquire(): Promise<ProtocolClient>;
  /**
   * Gives a connection back. Only an idle one is used again, and only after DISCARD ALL, so that no setting, lock or
   * temporary table of a task reaches the next; any other is cut off. Never throws.
   */
  release(client: ProtocolClient, clean: boolean): Promise<void>;
  /** The connection that cancels and terminates; undefined where the database has one session only. */
  control(): Promise<ProtocolClient | undefined>;
}

/** Opens a database by its connection ID. Throws `EtlError` when it can't be reached. */
export type OpenDatabase = (connectionId: string) => Promise<Database>;

/** The databases of one run: each is opened on first use, once, and closed with the run. */
export class RunDatabases {
  readonly #open: OpenDatabase;
  readonly #holder: LockHolder;
  readonly #onLockLost: (reason: EtlError) => void;
  readonly #opened = new Map<string, Promise<OpenedDatabase>>();

  constructor(open: OpenDatabase, holder: LockHolder, onLockLost: (reason: EtlError) => void) {
    this.#open = open;
    this.#holder = holder;
    this.#onLockLost = onLockLost;
  }

  /** Opens a database, brings its ledger up to date and takes the Dag's epoch in it. */
  get(connectionId: string): Promise<RunDatabase> {
    let opened = this.#opened.get(connectionId);
    if (opened === undefined) {
      opened = this.#prepare(connectionId);
      this.#opened.set(connectionId, opened);
    }
    return opened;
  }

  /** Opens the home connection and takes the Dag's lock on it first. Throws `EtlError` when another run has it. */
  openHome(connectionId: string): Promise<RunDatabase> {
    const opened = this.#prepare(connectionId, this.#onLockLost);
    this.#opened.set(connectionId, opened);
    return opened;
  }

  /** The databases that were opened, by connection ID. */
  get opened(): ReadonlyMap<string, Promise<RunDatabase>> {
    return this.#opened;
  }

  /** Ends every connection, whatever its state, within a bound. Never throws. */
  async close(): Promise<void> {
    const settled = await Promise.allSettled(this.#opened.values());
    await Promise.all(
      settled.map(async (each) => (each.status === 'fulfilled' ? each.value.close() : undefined)),
    );
    this.#opened.clear();
  }

  async #prepare(connectionId: string, onLockLost?: (reason: EtlError) => void): Promise<OpenedDatabase> {
    const database = await this.#open(connectionId);
    const opened = new OpenedDatabase(database);
    try {
      await opened.migrate(`connection "${connectionId}"`);
      if (onLockLost) await opened.lock(this.#holder, onLockLost);
      await opened.takeEpoch(this.#holder);
      return opened;
    } catch (error) {
      await opened.close();
      throw error;
    }
  }
}

class OpenedDatabase implements RunDatabase {
  readonly database: Database;
  epoch = '';
  #control: Promise<Client> | undefined;
  #isClosing = false;

  constructor(database: Database) {
    this.database = database;
  }

  /** Brings the ledger up to date. */
  async migrate(place: string): Promise<void> {
    await this.#with((client) => migrate(client, place));
  }

  /** Takes the lock of the Dag, for as long as the control connection lives. */
  async lock({ dagId }: LockHolder, onLost: (reason: EtlError) => void): Promise<void> {
    const control = await this.control();
    if (control === undefined) return;
    await takeLock(control, dagId);
    control.on('end', () => {
      if (!this.#isClosing) onLost(lockLost(dagId));
    });
  }

  async takeEpoch(holder: LockHolder): Promise<void> {
    this.epoch = await this.#with((client) => takeEpoch(client, holder));
  }

  async acquire(): Promise<ProtocolClient> {
    return (await this.database.knex.client.acquireConnection()) as ProtocolClient;
  }

  async release(client: ProtocolClient, clean: boolean): Promise<void> {
    if (!clean || !(await discard(client))) {
      client.__knex__disposed ??= 'not clean';
      client.connection.stream.destroy();
    }
    await this.database.knex.client.releaseConnection(client);
  }

  async control(): Promise<ProtocolClient | undefined> {
    this.#control ??= this.database.openControl?.();
    return (await this.#control) as unknown as ProtocolClient | undefined;
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    const control = await this.#control?.catch(() => undefined);
    if (control !== undefined) await bounded(control.end());
    await this.database.close();
  }

  async #with<T>(work: (client: ProtocolClient) => Promise<T>): Promise<T> {
    const client = await this.acquire();
    try {
      return await work(client);
    } finally {
      await this.release(client, true);
    }
  }
}

function lockLost(dagId: string): EtlError {
  return new EtlError('ETL-7504', {
    what: `the connection that holds the lock of "${dagId}" was lost`,
    why: 'another run could have started',
    fix: 'run it again',
    data: 'tasks that had ended are committed; the others wrote nothing',
  });
}

/** Says whether the connection can be used again. */
async function discard(client: ProtocolClient): Promise<boolean> {
  if (client.getTransactionStatus() !== 'I') return false;
  try {
    await new Promise<void>((resolve, reject) => {
      client.query('discard all', undefined, (error) => (error ? reject(error) : resolve()));
    });
    return true;
  } catch {
    // The connection broke while it was idle: it is thrown away, and no task was on it.
    return false;
  }
}

/** Waits for a clean-up, but not for ever: a server that does not answer must not keep the program alive. */
async function bounded(work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, CLEAN_UP_MS)));
  await Promise.race([work.catch(() => undefined), limit]);
  clearTimeout(timer);
}
