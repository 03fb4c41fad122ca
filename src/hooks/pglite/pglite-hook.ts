import { EventEmitter } from 'node:events';
import { mkdir, realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Knex } from 'knex';
import { describeThrown, EtlError } from '../../errors.js';
import { type Connection, formatPgliteDsn } from '../connection.js';
import { type DirectoryLock, lockDirectory } from './directory-lock.js';
import type { Database, Hook, OpenSettings } from '../hook.js';
import { type PgliteInstance, type PglitePackage, findPglite } from './pglite-instance.js';
import { PgliteSession } from './pglite-session.js';
import { PgliteSocket } from './pglite-socket.js';
import { createKnexLog } from '../client.js';

/** PostgreSQL in this process, in a directory or in memory: PGlite behind knex on the stock pg driver. */
export const pgliteHook: Hook = {
  schemes: ['pglite'],
  maxPoolSize: 1,
  open: openPglite,
};

/** How long `close` waits for queries to end, and then for the database: a second in all, in milliseconds. */
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

interface StartedInstance {
  readonly instance: PgliteInstance;
  /** Of its directory; in memory there is none. */
  readonly lock: DirectoryLock | undefined;
}

/** Starts PGlite in its directory, which this process locks first. Throws ETL-7502 when another has it. */
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

/** The real path of the data directory, which exists afterwards; undefined for a database in memory. */
async function makeDirectory({ database }: Connection, root: string): Promise<string | undefined> {
  if (database === undefined || database === ':memory:') return undefined;
  const directory = resolve(root, database);
  await mkdir(directory, { recursive: true });
  return realpath(directory);
}

/** What is used of pg's client, some of which it does not declare. */
interface SocketClient {
  once(event: 'end', listener: () => void): unknown;
  readonly connection: { readonly stream: Duplex };
  readonly _getActiveQuery: () => unknown;
}

function rememberIn(clients: Set<SocketClient>) {
  return (client: SocketClient, done: (error: Error | undefined, client: SocketClient) => void): void => {
    clients.add(client);
    client.once('end', () => clients.delete(client));
    done(undefined, client);
  };
}

interface OpenInstance {
  readonly handle: Knex;
  readonly clients: ReadonlySet<SocketClient>;
  readonly session: PgliteSession;
  readonly started: StartedInstance;
}

async function close({ handle, clients, session, started }: OpenInstance): Promise<void> {
  // It waits for ever for a transaction that nobody ends (knex/knex#1752), and its result tells nothing else.
  await waitAtMost(GRACE.idle, handle.destroy());
  for (const client of clients) cutOff(client);
  await waitAtMost(GRACE.shutdown, shutDown(session, started));
}

function cutOff(client: SocketClient): void {
  const active = client._getActiveQuery();
  // A COPY stream without a listener would end the process with the error of its lost socket.
  if (active instanceof EventEmitter) active.on('error', () => {});
  client.connection.stream.destroy();
}

/** A database that could not be closed keeps its lock as long as the process lives. */
async function shutDown(session: PgliteSession, { instance, lock }: StartedInstance): Promise<void> {
  await session.waitUntilIdle();
  await instance.close();
  await lock?.release();
}

/** Waits for a clean-up whose failure changes nothing any more, and no longer than `millis`. */
async function waitAtMost(millis: number, work: Promise<unknown>): Promise<void> {
  const timer = new AbortController();
  const late = delay(millis, undefined, { signal: timer.signal });
  await Promise.allSettled([Promise.race([work, late]).finally(() => timer.abort())]);
}

function createCannotStartError(cause: unknown, connection: Connection): EtlError {
  return new EtlError('ETL-1001', {
    what: `The embedded database ${formatPgliteDsn(connection)} could not be started.`,
    where: connection.definedBy,
    why: describeThrown(cause),
    fix: 'Can its directory be written? One that another version of @electric-sql/pglite made needs that version.',
    cause,
  });
}
