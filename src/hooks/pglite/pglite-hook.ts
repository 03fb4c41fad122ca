import { mkdir, realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Knex } from 'knex';
import type { Client } from 'pg';
import { describeThrown, EtlError } from '../../errors.js';
import { type Connection, formatDsn } from '../connection.js';
import { type DirectoryLock, lockDirectory } from './directory-lock.js';
import type { Database, Hook, OpenSettings } from '../hook.js';
import { within } from '../../runtime/waiting.js';
import { findPglite, startPglite } from './pglite-instance.js';
import { PgliteSession } from './pglite-session.js';
import { PgliteSocket } from './pglite-socket.js';
import { createKnexLog, loadTrace, terminate } from '../client.js';

/**
 * The hook for the embedded database: knex and the pg driver on a PGlite in this process, in a directory or in memory.
 */
export const pgliteHook: Hook = {
  schemes: ['pglite'],
  maxPoolSize: 1,
  open: openPglite,
};

/** The time limits of `close`, in milliseconds: first for queries to end, then for the database to close. */
const GRACE = { idle: 300, shutdown: 600 };

/**
 * Starts the embedded database, and creates a knex that reaches it through streams in this process. There is only one
 * session, so the pool has one connection. Throws ETL-2211 if the package is missing, ETL-7502 if another process uses
 * the directory, ETL-2212 if the directory has other files, and ETL-1001 if the database can't start.
 */
async function openPglite(connection: Connection, settings: OpenSettings): Promise<Database> {
  const entry = await findPglite(settings.root, connection.definedBy);
  const [{ default: knex }, { session, lock }] = await Promise.all([
    import('knex'),
    startLocked(entry, connection, settings),
  ]);
  const startTrace = settings.trace && (await loadTrace(settings.trace));
  const clients = new Set<Client>();
  const handle = knex({
    client: 'pg',
    asyncStackTraces: false,
    compileSqlOnError: false,
    connection: {
      stream: () => new PgliteSocket(session),
      user: 'postgres',
      database: 'postgres',
      ssl: false,
    } satisfies Knex.PgConnectionConfig,
    pool: { min: 0, max: 1, afterCreate: rememberIn(clients, startTrace) },
    acquireConnectionTimeout: 10_000,
    log: createKnexLog(settings.notice),
  });
  return {
    knex: handle,
    notice: settings.notice,
    poolSize: 1,
    close: async () => {
      // `destroy` never resolves if a transaction is never ended (knex/knex#1752).
      await within(handle.destroy(), GRACE.idle);
      await Promise.all([...clients].map((client) => terminate(client, 0)));
      // A database that can't be closed keeps its lock until the process ends.
      await within(
        session.close().then(() => lock?.release()),
        GRACE.shutdown,
      );
    },
  };
}

/**
 * Creates and locks the data directory and starts PGlite in it, or starts PGlite in memory without a lock. Releases the
 * lock if PGlite can't start. Rejects with ETL-7502 if another process has the lock, with ETL-2212 if the directory has
 * other files, and with ETL-1001 if PGlite can't start.
 */
async function startLocked(
  entry: string,
  connection: Connection,
  { root, pid, applicationName }: OpenSettings,
): Promise<{ readonly session: PgliteSession; readonly lock: DirectoryLock | undefined }> {
  let lock: DirectoryLock | undefined;
  try {
    const directory = await makeDirectory(connection, root);
    if (directory !== undefined) lock = await lockDirectory(directory, pid);
    return { session: new PgliteSession(await startPglite(entry, directory, applicationName)), lock };
  } catch (error) {
    await lock?.release();
    if (error instanceof EtlError) throw error;
    throw new EtlError('ETL-1001', {
      what: `the embedded database ${formatDsn(connection)} could not be started`,
      where: connection.definedBy,
      why: describeThrown(error),
      fix: !('WebAssembly' in globalThis)
        ? 'the embedded database needs WebAssembly, which --jitless of Node.js turns off: start etl without this option'
        : 'check that this user can write to the directory; a directory of another version of @electric-sql/pglite needs that version',
      cause: error,
    });
  }
}

/**
 * Creates the data directory if it does not exist, and returns its real path. Returns undefined for a database in
 * memory.
 */
async function makeDirectory({ database }: Connection, root: string): Promise<string | undefined> {
  if (database === undefined || database === ':memory:') return undefined;
  const directory = resolve(root, database);
  await mkdir(directory, { recursive: true });
  return realpath(directory);
}

/**
 * Returns a function for the option `afterCreate` of knex's pool. The function adds each new client to `clients`, and
 * removes the client when its connection ends. Calls `startTrace` with each new client.
 */
function rememberIn(clients: Set<Client>, startTrace: ((client: Client) => void) | undefined) {
  return (client: Client, done: (error: Error | undefined, client: Client) => void): void => {
    clients.add(client);
    client.once('end', () => clients.delete(client));
    startTrace?.(client);
    done(undefined, client);
  };
}
