import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { EtlError } from '../../errors.js';
import { formatDsn, type Connection } from '../../hooks/connection.js';
import type { Program } from './program.js';
import { readDatabaseIdentity } from '../../runtime/ledger/run-history.js';
import { SCHEMA_VERSION, readVersion } from '../../runtime/ledger/schema.js';
import { formatCommand } from '../../runtime/report/command-line.js';
import { send, type ProtocolClient } from '../../runtime/postgres/protocol.js';
import { RunDatabase } from '../../runtime/database/run-database.js';
import { findDatabaseError, describeState } from '../../runtime/postgres/sqlstate.js';

/** What one database has said. */
export interface LedgerAnswer<T> {
  readonly connectionId: string;
  readonly value: T;
}

interface OpenLedger {
  readonly database: RunDatabase;
  readonly identity: string;
  /** 0 where there is no ledger. */
  readonly version: number;
}

/** The ledgers behind connections, to be read: each is opened on first use, once, and nothing is made in it. */
export class Ledgers implements AsyncDisposable {
  readonly #program: Program;
  readonly #opened = new Map<string, Promise<OpenLedger | undefined>>();

  constructor(program: Program) {
    this.#program = program;
  }

  /**
   * Reads from the ledgers of these connections, from each database once. One without a ledger gives no answer. Throws
   * `EtlError` when one can't be reached or read, or has a version of another release.
   */
  async readEach<T>(
    connectionIds: Iterable<string>,
    read: (client: ProtocolClient) => Promise<T>,
  ): Promise<readonly LedgerAnswer<T>[]> {
    const seen = new Set<string>();
    const answers: LedgerAnswer<T>[] = [];
    for (const connectionId of connectionIds) {
      const opened = await this.#get(connectionId);
      if (opened === undefined || opened.version === 0 || seen.has(opened.identity)) continue;
      seen.add(opened.identity);
      assertReadable(opened.version, connectionId);
      answers.push({ connectionId, value: await readSafely(opened.database, connectionId, read) });
    }
    return answers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = await Promise.allSettled(this.#opened.values());
    await Promise.all(
      opened.map(async (each) => (each.status === 'fulfilled' ? each.value?.database.close() : undefined)),
    );
  }

  /** Two IDs of one place share a database: an embedded one can't be opened twice. */
  #get(connectionId: string): Promise<OpenLedger | undefined> {
    const connection = this.#program.lookup.find(connectionId);
    const place = formatDsn(connection);
    let opened = this.#opened.get(place);
    if (opened === undefined) {
      opened = this.#open(connection);
      this.#opened.set(place, opened);
    }
    return opened;
  }

  async #open(connection: Connection): Promise<OpenLedger | undefined> {
    if (isUnborn(connection, this.#program)) return undefined;
    const database = await openDatabase(this.#program, connection);
    try {
      return await readSafely(database, connection.id, async (client) => ({
        database,
        identity: await readDatabaseIdentity(client),
        version: await readVersion(client),
      }));
    } catch (error) {
      await database.close();
      throw error;
    }
  }
}

/** Opens one database with a single connection. The caller closes it. */
export async function openDatabase(program: Program, connection: Connection): Promise<RunDatabase> {
  return new RunDatabase(await program.open(connection, { concurrency: 1 }));
}

/** An embedded database that no run has made yet: to open it would make it. */
export function isUnborn({ scheme, database }: Connection, { loaded }: Program): boolean {
  if (scheme !== 'pglite' || database === undefined) return false;
  return database === ':memory:' || !existsSync(resolve(loaded.directory, database));
}

/**
 * A reader waits no longer for a table that somebody has locked, or for a query; and times come as text that does not
 * depend on the settings of the role.
 */
const SETTINGS = [
  `set local lock_timeout = '10s'`,
  `set local statement_timeout = '60s'`,
  `set local datestyle = 'ISO, YMD'`,
  `set local timezone = 'UTC'`,
];

async function readSafely<T>(
  database: RunDatabase,
  connectionId: string,
  read: (client: ProtocolClient) => Promise<T>,
): Promise<T> {
  try {
    return await database.with(async (client) => {
      await send(client, ['begin isolation level read committed read only', ...SETTINGS].join('; '));
      const value = await read(client);
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

function assertReadable(version: number, connectionId: string): void {
  if (version === SCHEMA_VERSION) return;
  const isOld = version < SCHEMA_VERSION;
  throw new EtlError('ETL-4001', {
    what: `the schema "etl" in connection "${connectionId}" has version ${version}; this program needs version ${SCHEMA_VERSION}`,
    why: `${isOld ? 'an older' : 'a newer'} release of etl has worked on this database`,
    fix: isOld ? formatCommand('ledger', 'migrate', connectionId) : 'update @oneshot/etl here as well',
  });
}

function createUnreadableError(connectionId: string, cause: { code: string; message: string }): EtlError {
  return new EtlError('ETL-4004', {
    what: `the ledger in connection "${connectionId}" can't be read: ${cause.message}`,
    why: describeState(cause.code),
    fix:
      cause.code === '42501'
        ? 'grant its role what the end of `etl ledger sql` lists'
        : 'look at the server, and try again',
    cause,
  });
}
