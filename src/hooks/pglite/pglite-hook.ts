import { EventEmitter } from 'node:events';
import { mkdir, realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Knex } from 'knex';
import { describeThrown, EtlError } from '../../errors.js';
import { type Connection, formatDsn } from '../connection.js';
import { type DirectoryLock, lockDirectory } from './directory-lock.js';
import type { Database, Hook, OpenSettings } from '../hook.js';
import { type PgliteInstance, type PglitePackage, findPglite } from './pglite-instance.js';
import { PgliteSession } from './pglite-session.js';
import { PgliteSocket } from './pglite-socket.js';
import { createKnexLog } from '../client.js';

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

async function openPglite(connection: Connection, settings: OpenSettings): Promise<Database> {
  const pglite = await findPglite(settings.root, connection.definedBy);
  const [{ default: knex }, started] = await Promise.all([
    import('knex'),
    startLocked(pglite, connection, settings),
  ]);
  const session = new PgliteSession(started.instance);
  const clients = new Set<SocketClient>();
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
    pool: { min: 0, max: 1, afterCreate: rememberIn(clients) },
    acquireConnectionTimeout: 10_000,
    log: createKnexLog(settings.notice),
  });
  return {
    knex: handle,
    notice: settings.notice,
    close: () => close({ handle, clients, session, started }),
  };
}

/** A running PGlite and the lock of its directory. */
interface StartedInstance {
  readonly instance: PgliteInstance;
  /** The lock of the data directory. Undefined for a database in memory. */
  readonly lock: DirectoryLock | undefined;
}

/**
 * Locks the data directory and starts PGlite in it. Rejects with ETL-7502 if another process has the lock, and with
 * ETL-1001 if PGlite can't start.
 */
async function startLocked(
  pglite: PglitePackage,
  connection: Connection,
  { root, pid, applicationName }: OpenSettings,
): Promise<StartedInstance> {
  let lock: DirectoryLock | undefined;
  try {
    const directory = await makeDirectory(connection, root);
    if (directory !== undefined) lock = await lockDirectory(directory, pid);
    return { instance: await pglite.start({ directory, applicationName }), lock };
  } catch (error) {
    await lock?.release();
    throw error instanceof EtlError ? error : createCannotStartError(error, connection);
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

/** The members of pg's client that are used here. Its types do not declare all of them. */
interface SocketClient {
  once(event: 'end', listener: () => void): unknown;
  readonly connection: { readonly stream: Duplex };
  readonly _getActiveQuery: () => unknown;
}

/** Returns a hook of knex's pool that keeps the open clients in a set. */
function rememberIn(clients: Set<SocketClient>) {
  return (client: SocketClient, done: (error: Error | undefined, client: SocketClient) => void): void => {
    clients.add(client);
    client.once('end', () => clients.delete(client));
    done(undefined, client);
  };
}

/** Everything that `close` has to close. */
interface OpenInstance {
  readonly handle: Knex;
  readonly clients: ReadonlySet<SocketClient>;
  readonly session: PgliteSession;
  readonly started: StartedInstance;
}

async function close({ handle, clients, session, started }: OpenInstance): Promise<void> {
  // `destroy` never resolves if a transaction is never ended (knex/knex#1752). Its errors do not matter here.
  await waitAtMost(GRACE.idle, handle.destroy());
  for (const client of clients) cutOff(client);
  await waitAtMost(GRACE.shutdown, shutDown(session, started));
}

/** Destroys the socket of a client. */
function cutOff(client: SocketClient): void {
  const active = client._getActiveQuery();
  // A COPY stream emits an error when its socket is lost. Without a listener, that error would end the process.
  if (active instanceof EventEmitter) active.on('error', () => {});
  client.connection.stream.destroy();
}

/** Closes PGlite and then releases the lock. A database that can't be closed keeps its lock until the process ends. */
async function shutDown(session: PgliteSession, { instance, lock }: StartedInstance): Promise<void> {
  await session.waitUntilIdle();
  await instance.close();
  await lock?.release();
}

/** Waits for a clean-up for at most `millis` milliseconds. Ignores a rejection. */
async function waitAtMost(millis: number, work: Promise<unknown>): Promise<void> {
  const timer = new AbortController();
  const late = delay(millis, undefined, { signal: timer.signal });
  await Promise.allSettled([Promise.race([work, late]).finally(() => timer.abort())]);
}

function createCannotStartError(cause: unknown, connection: Connection): EtlError {
  return new EtlError('ETL-1001', {
    what: `the embedded database ${formatDsn(connection)} could not be started`,
    where: connection.definedBy,
    why: describeThrown(cause),
    fix: 'check that this user can write to the directory; a directory of another version of @electric-sql/pglite needs that version',
    cause,
  });
}
