import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { EtlError } from '../../errors.js';
import { formatDsn, type Connection } from '../../hooks/connection.js';
import type { Program } from './program.js';
import { readDatabaseIdentity } from '../../runtime/ledger/run-history.js';
import { SCHEMA_VERSION, readVersion } from '../../runtime/ledger/schema.js';
import { formatCommand } from '../../runtime/report/command-line.js';
import type { Ledger } from '../../runtime/ledger/ledger.js';
import { send } from '../../runtime/postgres/protocol.js';
import { RunDatabase } from '../../runtime/database/run-database.js';
import { findDatabaseError, describeState } from '../../runtime/postgres/sqlstate.js';

/** A row of a ledger, with the connection of the ledger. */
export type InLedger<T> = T & { readonly connectionId: string };

/** An open database, with the version of its ledger. */
interface OpenLedger {
  readonly database: RunDatabase;
  readonly identity: string;
  /** 0 if the database has no ledger. */
  readonly version: number;
}

/**
 * Reads the ledgers of connections. Each database is opened once, at its first use, and closed when this object is
 * disposed. Creates neither a ledger nor an embedded database.
 */
export class Ledgers implements AsyncDisposable {
  readonly #program: Program;
  readonly #opened = new Map<string, Promise<OpenLedger | undefined>>();

  constructor(program: Program) {
    this.#program = program;
  }

  /**
   * Calls `read` for the ledger of each connection, one after the other. Returns the rows of all ledgers in this order.
   * Skips a database that has no ledger. Reads a database only once if several connections lead to it, and returns its
   * rows with the first of them.
   *
   * Throws an `EtlError` if a database can't be reached, ETL-4004 if a ledger can't be read, ETL-4001 if a ledger has
   * the version of another release, and ETL-4008 if another program has tables of the same names.
   */
  async readEach<T extends object>(
    connectionIds: Iterable<string>,
    read: (ledger: Ledger) => Promise<readonly T[]>,
  ): Promise<readonly InLedger<T>[]> {
    const seen = new Set<string>();
    const found: InLedger<T>[] = [];
    for (const connectionId of connectionIds) {
      const opened = await this.#get(connectionId);
      if (opened === undefined || opened.version === 0 || seen.has(opened.identity)) continue;
      seen.add(opened.identity);
      assertReadable(opened, connectionId);
      const rows = await readSafely(opened.database, connectionId, read);
      found.push(...rows.map((row) => Object.assign(row, { connectionId })));
    }
    return found;
  }

  /** Closes all databases that were opened. A database that could not be opened is closed already. */
  async [Symbol.asyncDispose](): Promise<void> {
    const opened = await Promise.allSettled(this.#opened.values());
    await Promise.all(
      opened.map(async (each) => (each.status === 'fulfilled' ? each.value?.database.close() : undefined)),
    );
  }

  /**
   * Returns the open ledger of a connection, and opens it at its first use. Two connections with the same DSN share one
   * opened database, because an embedded database can't be opened twice. Undefined if the database does not exist yet.
   */
  async #get(connectionId: string): Promise<OpenLedger | undefined> {
    const connection = await this.#program.lookup.load(connectionId);
    const dsn = formatDsn(connection);
    let opened = this.#opened.get(dsn);
    if (opened === undefined) {
      opened = this.#open(connection);
      this.#opened.set(dsn, opened);
    }
    return opened;
  }

  /**
   * Opens a database, and reads its identity and the version of its ledger. Returns undefined for an embedded database
   * that does not exist yet, because opening it would create it.
   */
  async #open(connection: Connection): Promise<OpenLedger | undefined> {
    if (isUncreated(connection, this.#program)) return undefined;
    const database = await openDatabase(this.#program, connection);
    try {
      return await readSafely(database, connection.id, async (ledger) => ({
        database,
        identity: await readDatabaseIdentity(ledger.client),
        version: await readVersion(ledger, `connection "${connection.id}"`),
      }));
    } catch (error) {
      await database.close();
      throw error;
    }
  }
}

/** Opens a database for one transaction at a time. The caller closes the database. */
export async function openDatabase(program: Program, connection: Connection): Promise<RunDatabase> {
  const database = await program.open(connection, { concurrency: 1 });
  return new RunDatabase(database, program.ledgerSchema, connection.id);
}

/**
 * Returns true if opening the connection would create a database: an embedded database that does not exist yet, or one
 * in memory.
 */
export function isUncreated({ scheme, database }: Connection, { loaded }: Program): boolean {
  if (scheme !== 'pglite' || database === undefined) return false;
  return database === ':memory:' || !existsSync(resolve(loaded.directory, database));
}

/**
 * Limits how long a read waits for a lock and for a query. Sets how the server writes times, so that the text does not
 * depend on the settings of the role.
 */
const SETTINGS = [
  `set local lock_timeout = '10s'`,
  `set local statement_timeout = '60s'`,
  `set local datestyle = 'ISO, YMD'`,
  `set local timezone = 'UTC'`,
];

/**
 * Calls `read` in a read-only transaction, and returns its result. Throws ETL-4004 if the server reports an error.
 * Rethrows any other error.
 */
async function readSafely<T>(
  database: RunDatabase,
  connectionId: string,
  read: (ledger: Ledger) => Promise<T>,
): Promise<T> {
  try {
    return await database.with(async (ledger) => {
      const { client } = ledger;
      await send(client, ['begin isolation level read committed read only', ...SETTINGS].join('; '));
      const value = await read(ledger);
      await send(client, 'commit');
      return value;
    });
  } catch (error) {
    const cause = findDatabaseError(error);
    throw cause === undefined || error instanceof EtlError
      ? error
      : createUnreadableError(connectionId, cause);
  }
}

/** Throws ETL-4001 if the ledger of a connection does not have the version of this program. */
function assertReadable({ version, database }: OpenLedger, connectionId: string): void {
  if (version === SCHEMA_VERSION) return;
  const isOld = version < SCHEMA_VERSION;
  throw new EtlError('ETL-4001', {
    what: `the schema "${database.schema.name}" in connection "${connectionId}" has version ${version}${isOld ? ' and must be migrated to' : '; this program knows versions up to'} ${SCHEMA_VERSION}`,
    why: `${isOld ? 'an older' : 'a newer'} release of etl has worked on this database`,
    fix: isOld
      ? `run \`${formatCommand('ledger', 'migrate', connectionId)}\``
      : 'update @oneshot/etl here as well',
  });
}

/** Creates the error of a ledger that can't be read. For SQLSTATE 42501 (insufficient privilege), names the grants. */
function createUnreadableError(connectionId: string, cause: { code: string; message: string }): EtlError {
  return new EtlError('ETL-4004', {
    what: `the ledger in connection "${connectionId}" can't be read: ${cause.message}`,
    why: describeState(cause.code),
    fix:
      cause.code === '42501'
        ? 'grant the role of the connection what the end of `etl ledger sql` lists'
        : 'check the server, and try again',
    cause,
  });
}
