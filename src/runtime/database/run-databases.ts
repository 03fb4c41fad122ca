import type { EtlError } from '../../errors.js';
import type { Database } from '../../hooks/hook.js';
import { hasOpenPredecessor, type LockHolder } from '../ledger/epoch.js';
import type { Ledger, LedgerSchema } from '../ledger/ledger.js';
import type { Overlap } from '../ledger/lock.js';
import type { RunHeader } from '../ledger/run-row.js';
import { rememberCall, rememberConnection } from '../postgres/failed-statement.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import { explainReadOnly } from '../postgres/read-only.js';
import { RunDatabase } from './run-database.js';
import { CLOSE_ALL_MS, within } from '../waiting.js';

/** Opens a database by its connection ID. Throws `EtlError` if the database can't be reached. */
export type OpenDatabase = (connectionId: string) => Promise<Database>;

/** The databases of one run. Each database is opened once, on first use, and closed at the end of the run. */
export class RunDatabases {
  readonly #open: OpenDatabase;
  readonly #schema: LedgerSchema;
  readonly #holder: Omit<LockHolder, 'runId'>;
  readonly #onLockLost: (reason: EtlError) => void;
  /** All open databases by connection ID, as their hooks opened them. */
  readonly #databases = new Map<string, Promise<Database>>();
  /** The databases that the run writes to. Their ledger is up to date. */
  readonly #prepared = new Map<string, Promise<RunDatabase>>();
  #home: RunDatabase | undefined;
  /** True if transactions of an earlier run may still be open, and this process may end them. */
  #hasLeftovers = false;
  /** True if this process holds the Dag's lock alone. False if processes that each run one task share the lock. */
  #isAlone = true;
  #runId = '';

  /** `schema` has the ledger in each database. */
  constructor(
    { open, schema }: { readonly open: OpenDatabase; readonly schema: LedgerSchema },
    holder: Omit<LockHolder, 'runId'>,
    onLockLost: (reason: EtlError) => void,
  ) {
    this.#open = open;
    this.#schema = schema;
    this.#holder = holder;
    this.#onLockLost = onLockLost;
  }

  /**
   * Opens the home connection, takes the Dag's lock on it, and brings its ledger up to date. Throws `EtlError` if
   * another run has the lock.
   */
  async openHome(connectionId: string, overlap: Overlap): Promise<void> {
    this.#isAlone = overlap.mode !== 'share';
    const opened = this.#openAndPrepare(connectionId, async (home) => {
      await Promise.all([home.lock(this.#holder.dagId, overlap, this.#onLockLost), home.migrate()]);
    });
    this.#prepared.set(connectionId, opened);
    this.#home = await opened;
  }

  /**
   * Makes this process the newest of its Dag, for a run that exists already: takes the epoch of the home database.
   * After that, no task of an older process can commit there. The databases in `connectionIds` get the epoch at one of two
   * times:
   *
   * - at once, if the run that had the previous epoch has not ended, because its tasks may still be running there
   * - otherwise when `get` opens the database
   */
  async takeEpochs(runId: string, connectionIds: readonly string[]): Promise<void> {
    const { dagId } = this.#holder;
    const [isOpen] = await Promise.all([
      this.withHome((ledger) => hasOpenPredecessor(ledger, dagId)),
      this.#endLeftovers(),
    ]);
    await this.#home?.takeEpoch({ ...this.#holder, runId });
    await this.#prepareConnections(runId, isOpen, connectionIds);
  }

  /**
   * Records a new run, and takes the epochs in the same way as `takeEpochs`. Returns false if there is a run with the
   * same ID.
   */
  async beginRun(header: RunHeader, connectionIds: readonly string[]): Promise<boolean> {
    const { runId } = header;
    const [begun] = await Promise.all([
      this.#home?.beginRun(header, { ...this.#holder, runId }),
      this.#endLeftovers(),
    ]);
    if (begun === undefined) return false;
    await this.#prepareConnections(runId, begun.hasOpenPredecessor, connectionIds);
    return true;
  }

  /**
   * Ends the transactions that an earlier process left open in the home database, if this process holds the lock
   * alone.
   */
  async #endLeftovers(): Promise<void> {
    if (this.#isAlone) await this.#home?.endLeftovers(this.#holder.dagId);
  }

  /**
   * Remembers the run, for the databases that are opened later. Opens the databases in `connectionIds` at once if the
   * run that had the previous epoch has not ended (`hasPredecessor`).
   */
  async #prepareConnections(
    runId: string,
    hasPredecessor: boolean,
    connectionIds: readonly string[],
  ): Promise<void> {
    this.#runId = runId;
    this.#hasLeftovers = hasPredecessor && this.#isAlone;
    if (hasPredecessor) await Promise.all(connectionIds.map((id) => this.get(id)));
  }

  /**
   * Returns a database that the run can write to. On first use, opens the database, brings its ledger up to date,
   * writes the epoch of the home database there, and ends the open transactions of an earlier run. If this fails, the next
   * call tries again. Throws ETL-7503 if this process has lost the Dag's lock.
   */
  get(connectionId: string): Promise<RunDatabase> {
    let opened = this.#prepared.get(connectionId);
    if (opened === undefined) {
      const holder = { ...this.#holder, runId: this.#runId };
      const home = this.#home;
      if (home === undefined) throw new Error('the home connection is not open');
      opened = this.#openAndPrepare(connectionId, async (database) => {
        await database.migrate();
        await database.adoptEpoch(holder, home);
        if (this.#hasLeftovers) await database.endLeftovers(holder.dagId, holder.holder);
      });
      this.#prepared.set(connectionId, opened);
      // Forgets a failure, so that the next call tries again.
      opened.catch(() => this.#prepared.delete(connectionId));
    }
    return opened;
  }

  /** Returns a database to read from, and opens it on first use. No ledger is created in the database. */
  getWithoutLedger(connectionId: string): Promise<Database> {
    let opened = this.#databases.get(connectionId);
    if (opened === undefined) {
      opened = this.#open(connectionId).then((database) => {
        // Knex emits the event in a reaction of the query's promise. Runs on one test database share a Knex.
        database.knex.removeListener('query-error', rememberCall);
        database.knex.on('query-error', rememberCall);
        return database;
      });
      this.#databases.set(connectionId, opened);
      opened.catch(() => this.#databases.delete(connectionId));
    }
    return opened;
  }

  /** Runs `work` on a connection to the home database. Throws `Error` if the home connection is not open. */
  withHome<T>(work: (ledger: Ledger) => Promise<T>): Promise<T> {
    if (this.#home === undefined) throw new Error('the home connection is not open');
    return this.#home.with(work);
  }

  /** Runs `read` in each of these databases, one after the other. Returns the results by connection ID. */
  async readEach<T>(
    connectionIds: readonly string[],
    read: (ledger: Ledger) => Promise<T>,
  ): Promise<ReadonlyMap<string, T>> {
    const each = new Map<string, T>();
    for (const id of connectionIds) each.set(id, await (await this.get(id)).with(read));
    return each;
  }

  /** The IDs of the connections that were opened for writing. */
  get opened(): ReadonlySet<string> {
    return new Set(this.#prepared.keys());
  }

  /** The ID of the holder of the epochs of this run. */
  get holder(): string {
    return this.#holder.holder;
  }

  /** Closes all connections in any state. Each wait has a limit. Never throws. */
  async close(): Promise<void> {
    // A database that is still being opened, and does not answer, closes itself when its opening fails.
    const closed = [...this.#prepared.values()].map(async (each) => (await each).close());
    await within(Promise.allSettled(closed), CLOSE_ALL_MS);
    const read = [...this.#databases.values()].map(async (each) => (await each).close());
    await within(Promise.allSettled(read), CLOSE_ALL_MS);
    this.#prepared.clear();
    this.#databases.clear();
  }

  /** Opens a database and prepares it. If `prepare` throws, closes the database and throws the error. */
  async #openAndPrepare(
    connectionId: string,
    prepare: (database: RunDatabase) => Promise<void>,
  ): Promise<RunDatabase> {
    const opened = new RunDatabase(await this.getWithoutLedger(connectionId), this.#schema, connectionId);
    try {
      await prepare(opened);
      return opened;
    } catch (error) {
      const isReadOnly = findDatabaseError(error)?.code === '25006';
      const readOnly = isReadOnly
        ? await opened.with(({ client }) => explainReadOnly(client)).catch(() => undefined)
        : undefined;
      rememberConnection(error, { connectionId, readOnly });
      this.#databases.delete(connectionId);
      await opened.close();
      throw error;
    }
  }
}
