import type { EtlError } from '../../errors.js';
import type { Database } from '../../hooks/hook.js';
import { hasOpenPredecessor, type LockHolder } from '../ledger/epoch.js';
import type { Overlap } from '../ledger/lock.js';
import type { RunHeader } from '../ledger/run-row.js';
import type { ProtocolClient } from '../postgres/protocol.js';
import { RunDatabase } from './run-database.js';
import { CLOSE_ALL_MS, within } from '../waiting.js';

/** Opens a database by its connection ID. Throws `EtlError` when it can't be reached. */
export type OpenDatabase = (connectionId: string) => Promise<Database>;

/** The databases of one run: each is opened on first use, once, and closed with the run. */
export class RunDatabases {
  readonly #open: OpenDatabase;
  readonly #holder: Omit<LockHolder, 'runId'>;
  readonly #onLockLost: (reason: EtlError) => void;
  /** As the hook opened them: those that are written to, and those that are only read. */
  readonly #plain = new Map<string, Promise<Database>>();
  readonly #opened = new Map<string, Promise<RunDatabase>>();
  #home: RunDatabase | undefined;
  /** Some of an earlier process's tasks may still be under way. */
  #hasLeftovers = false;
  #isAlone = true;
  #runId = '';

  constructor(open: OpenDatabase, holder: Omit<LockHolder, 'runId'>, onLockLost: (reason: EtlError) => void) {
    this.#open = open;
    this.#holder = holder;
    this.#onLockLost = onLockLost;
  }

  /** Opens the home connection and takes the Dag's lock on it. Throws `EtlError` when another run has it. */
  async openHome(connectionId: string, overlap: Overlap): Promise<void> {
    this.#isAlone = overlap.mode !== 'share';
    const opened = this.#prepare(connectionId, async (home) => {
      await Promise.all([
        home.lock(this.#holder.dagId, overlap, this.#onLockLost),
        home.migrate(nameDatabase(connectionId)),
      ]);
    });
    this.#opened.set(connectionId, opened);
    this.#home = await opened;
  }

  /**
   * Makes this process the newest of its Dag: at home, and in all databases that it will write to when the process
   * before it did not come to its end, because some of that one's tasks may still be under way. Otherwise a database is
   * taken when it is opened.
   */
  async takeEpochs(runId: string, connectionIds: readonly string[]): Promise<void> {
    const { dagId } = this.#holder;
    const [isOpen] = await Promise.all([
      this.withHome((client) => hasOpenPredecessor(client, dagId)),
      this.#endLeftovers(),
    ]);
    await this.#home?.takeEpoch({ ...this.#holder, runId });
    await this.#prepareConnections(runId, isOpen, connectionIds);
  }

  /** Does the same for a run that is new, and records it; says false where there is a run with its ID already. */
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

  async #endLeftovers(): Promise<void> {
    if (this.#isAlone) await this.#home?.endLeftovers(this.#holder.dagId);
  }

  async #prepareConnections(
    runId: string,
    hasPredecessor: boolean,
    connectionIds: readonly string[],
  ): Promise<void> {
    this.#runId = runId;
    this.#hasLeftovers = hasPredecessor && this.#isAlone;
    if (hasPredecessor) await Promise.all(connectionIds.map((id) => this.get(id)));
  }

  /** A database whose ledger is up to date, with this process as the newest of its Dag. */
  get(connectionId: string): Promise<RunDatabase> {
    let opened = this.#opened.get(connectionId);
    if (opened === undefined) {
      const runId = this.#runId;
      opened = this.#prepare(connectionId, async (database) => {
        await database.migrate(nameDatabase(connectionId));
        if (this.#hasLeftovers) await database.endLeftovers(this.#holder.dagId);
        await database.takeEpoch({ ...this.#holder, runId });
      });
      this.#opened.set(connectionId, opened);
      // The next attempt tries again.
      opened.catch(() => this.#opened.delete(connectionId));
    }
    return opened;
  }

  /** A database to read from: it needs no ledger, and none is made there. */
  getPlain(connectionId: string): Promise<Database> {
    let opened = this.#plain.get(connectionId);
    if (opened === undefined) {
      opened = this.#open(connectionId);
      this.#plain.set(connectionId, opened);
      opened.catch(() => this.#plain.delete(connectionId));
    }
    return opened;
  }

  /** Lends a connection to the home database. */
  withHome<T>(work: (client: ProtocolClient) => Promise<T>): Promise<T> {
    if (this.#home === undefined) throw new Error('the home connection is not open');
    return this.#home.with(work);
  }

  /** Reads from each of these databases: what each says, by connection ID. */
  async readEach<T>(
    connectionIds: readonly string[],
    read: (client: ProtocolClient) => Promise<T>,
  ): Promise<ReadonlyMap<string, T>> {
    const each = new Map<string, T>();
    for (const id of connectionIds) each.set(id, await (await this.get(id)).with(read));
    return each;
  }

  /** The IDs of the connections that were opened. */
  get opened(): ReadonlySet<string> {
    return new Set(this.#opened.keys());
  }

  /** Who has the epochs of this run. */
  get holder(): string {
    return this.#holder.holder;
  }

  /** Ends every connection, whatever its state, within a bound. Never throws. */
  async close(): Promise<void> {
    // One that is just being opened, and does not answer, closes itself when it gives up.
    const closed = [...this.#opened.values()].map(async (each) => (await each).close());
    await within(Promise.allSettled(closed), CLOSE_ALL_MS);
    const read = [...this.#plain.values()].map(async (each) => (await each).close());
    await within(Promise.allSettled(read), CLOSE_ALL_MS);
    this.#opened.clear();
    this.#plain.clear();
  }

  async #prepare(
    connectionId: string,
    prepare: (database: RunDatabase) => Promise<void>,
  ): Promise<RunDatabase> {
    const opened = new RunDatabase(await this.getPlain(connectionId));
    try {
      await prepare(opened);
      return opened;
    } catch (error) {
      this.#plain.delete(connectionId);
      await opened.close();
      throw error;
    }
  }
}

/** The database of a connection, in an error. */
function nameDatabase(connectionId: string): string {
  return `connection "${connectionId}"`;
}
