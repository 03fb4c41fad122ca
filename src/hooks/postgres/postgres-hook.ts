import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import type { Knex } from 'knex';
import type { Client, ClientConfig } from 'pg';
import { within } from '../../runtime/waiting.js';
import { type Clients, createClientClass, createKnexLog, terminate } from '../client.js';
import type { Connection } from '../connection.js';
import {
  getCode,
  describeConnectError,
  createPasswordMissingError,
  describeNeed,
  createTlsNotOfferedError,
} from '../connect-error.js';
import type { Database, Hook, OpenSettings } from '../hook.js';
import { createSocket } from '../socket.js';
import { type ResolvedServer, resolveServer } from './libpq.js';
import { readPassword } from './passfile.js';
import { askForTls, readTlsOptions, describeWeakness } from './tls.js';

/** The hook for PostgreSQL servers: knex on the pg driver. Every option means the same as in libpq. */
export const postgresHook: Hook = {
  schemes: ['postgres'],
  open: openPostgres,
};

/**
 * The time limits of `close`, in milliseconds: first for connections in use, then for cancelling the running
 * statements. The statements are cancelled at the same time, so `close` takes less than a second.
 */
const GRACE = { idle: 600, cancel: 300 };

/**
 * Opens a PostgreSQL server. Reads the password file and the TLS files at once, so their errors come from here. The TLS
 * request and the import of the drivers run side by side. The sessions come later: knex and `openControl` call
 * `configure`, which waits for the result of the TLS request and chooses the settings, once for all sessions.
 */
async function openPostgres(connection: Connection, settings: OpenSettings): Promise<Database> {
  const server = resolveServer(connection, settings);
  const base = await createBaseConfig(connection, server, settings);
  const tls = mayUseTls(server) && (await readTlsOptions(server, settings));
  const closing = new AbortController();
  // The TLS options to use, or false for sessions without TLS.
  const negotiated = runOnce(async () => tls && negotiate(server, tls, closing.signal));
  // The server answers while the drivers are imported. A failure is ignored here, because `configure` calls the
  // function again and reports a failure.
  negotiated().catch(() => {});
  const [{ default: knex }, { default: driver }] = await Promise.all([import('knex'), import('pg')]);

  const clients: Clients = {
    connection: server.connection,
    need: settings.isForRun ? describeNeed(settings.poolSize) : undefined,
    trace: settings.trace,
    open: new Set(),
    closing: closing.signal,
  };
  const DatabaseClient = createClientClass(driver, clients);
  const configure = runOnce(async (): Promise<Config> => {
    const offered = await negotiated();
    // sslmode `allow` uses TLS only if the server refuses a session without TLS.
    const trial = offered && server.tls.mode === 'allow' && new DatabaseClient({ ...base, ssl: false });
    const used = trial && (await tryConnect(trial)) ? false : offered;
    const weak = describeWeakness(server, used);
    if (weak !== undefined) settings.notice(weak);
    return { ...base, ssl: used, ...(used === false && { stream: createSocket }) };
  });
  const handle = knex({
    ...KNEX,
    connection: configure,
    pool: { min: 0, max: settings.poolSize, createTimeoutMillis: 2 * server.connectTimeoutMillis },
    acquireConnectionTimeout: Math.max(10_000, server.connectTimeoutMillis + 1_000),
    log: createKnexLog(settings.notice),
  });
  handle.client.driver = { Client: DatabaseClient };

  return {
    knex: handle,
    notice: settings.notice,
    poolSize: settings.poolSize,
    openControl: async () => {
      const client = new DatabaseClient(await configure());
      // Without a listener, a lost connection would end the process. The caller gets `end`.
      client.on('error', () => {});
      return client.connect();
    },
    close: () => close(handle, clients, closing),
  };
}

/** The settings of a connection, which both knex and the driver accept. */
type Config = ClientConfig & Knex.PgConnectionConfig;

/**
 * The settings of every knex instance. Without a version, knex would first ask every server for its version. 14 is the
 * oldest supported version.
 */
const KNEX = {
  client: 'pg',
  version: '14',
  asyncStackTraces: false,
  compileSqlOnError: false,
} satisfies Knex.Config;

/**
 * Creates the settings of every session, without the TLS options. The password comes from the connection, else from
 * PGPASSWORD, else from the password file. No password is no error until the server asks for one.
 */
async function createBaseConfig(
  connection: Connection,
  server: ResolvedServer,
  { variables, root, notice }: OpenSettings,
): Promise<Config> {
  const { host, port, login, database } = server.connection;
  const file = resolve(root, variables['PGPASSFILE'] || join(variables['HOME'] || homedir(), '.pgpass'));
  const password =
    connection.password ||
    variables['PGPASSWORD'] ||
    (await readPassword(file, { host, port, database, user: login }, notice));
  return {
    host: server.address,
    port,
    user: login,
    database,
    // The driver calls this function when the server asks for a password. A dump of the settings shows no password.
    password: () => {
      if (password === undefined) throw createPasswordMissingError(server.connection);
      return password;
    },
    application_name: server.applicationName,
    ...(server.options !== undefined && { options: server.options }),
    connectionTimeoutMillis: server.connectTimeoutMillis,
    keepAlive: server.keepAliveMillis !== undefined,
    keepAliveInitialDelayMillis: server.keepAliveMillis ?? 0,
    sslnegotiation: 'postgres',
    enableChannelBinding: true,
  };
}

/** Returns whether the connection may use TLS. A Unix socket never uses TLS, whatever sslmode says. */
function mayUseTls({ address, tls }: ResolvedServer): boolean {
  return !address.startsWith('/') && tls.mode !== 'disable';
}

/**
 * Asks the server for TLS and returns the TLS options to use, or false for a connection without TLS. The driver can't
 * fall back by itself. Rejects with ETL-1001 if sslmode requires TLS and the server has none.
 */
async function negotiate(
  server: ResolvedServer,
  options: ConnectionOptions,
  signal: AbortSignal,
): Promise<ConnectionOptions | false> {
  const { connection, tls } = server;
  const offered = await askForTls(server, signal).catch((error: unknown) => {
    throw describeConnectError(error, connection);
  });
  if (offered) return options;
  if (tls.mode === 'prefer' || tls.mode === 'allow') return false;
  throw createTlsNotOfferedError(connection, tls.mode);
}

/**
 * Opens and ends a session without TLS, to find out whether the server accepts such a session. Returns false if the
 * server refuses the session with SQLSTATE 28000 (pg_hba.conf). Returns true after any other error, because the first
 * real session reports that error.
 */
async function tryConnect(trial: Client): Promise<boolean> {
  try {
    await trial.connect();
    await trial.end();
    return true;
  } catch (error) {
    // The cause of an ETL-1001 is the error of the server.
    return getCode(error instanceof Error ? error.cause : error) !== '28000';
  }
}

/**
 * Returns a function that calls `make` at its first call and returns the same promise to every caller. After a
 * rejection, the next call calls `make` again.
 */
function runOnce<Result>(make: () => Promise<Result>): () => Promise<Result> {
  let made: Promise<Result> | undefined;
  return () => {
    made ??= make().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return made;
  };
}

/**
 * Closes the database: lets no client connect any more, waits a short time for the sessions in use, and then ends every
 * session that is still open. Never rejects.
 */
async function close(handle: Knex, { open }: Clients, closing: AbortController): Promise<void> {
  closing.abort(new Error('the database was closed'));
  // `destroy` never resolves if a transaction is never ended (knex/knex#1752). Its errors do not matter here.
  await within(handle.destroy(), GRACE.idle);
  await Promise.all([...open].map((client) => terminate(client, GRACE.cancel)));
}
