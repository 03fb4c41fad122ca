import { setTimeout as delay } from 'node:timers/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import type { Knex } from 'knex';
import type { Client, ClientConfig } from 'pg';
import { type Clients, createClientClass, createKnexLog, terminate } from '../client.js';
import type { Connection } from '../connection.js';
import {
  getCode,
  describeConnectError,
  createPasswordMissingError,
  createTlsNotOfferedError,
} from '../connect-error.js';
import type { Database, Hook, OpenSettings } from '../hook.js';
import { createSocket } from '../socket.js';
import { type ResolvedServer, resolveTarget } from './libpq.js';
import { readPassword } from './passfile.js';
import { askForTls, readTlsOptions, describeWeakness } from './tls.js';

/** PostgreSQL servers, by knex on pg, with libpq's meaning of every option. */
export const postgresHook: Hook = {
  schemes: ['postgres'],
  open: openPostgres,
};

/** How long `close` waits for what is in use, and then for each statement that it cancels: a second in all. */
const GRACE = { idle: 600, cancel: 300 };

async function openPostgres(connection: Connection, settings: OpenSettings): Promise<Database> {
  const target = resolveTarget(connection, settings);
  const base = await createBaseConfig(connection, target, settings);
  const tls = isTlsUsed(target) && (await readTlsOptions(target, settings));
  const closing = new AbortController();
  const negotiated = runOnce(async () => tls && negotiate(target, tls, closing.signal));
  // The server answers while the drivers are loaded. Whoever needs the answer hears of a failure.
  negotiated().catch(() => {});
  const [{ default: knex }, { Client }] = await Promise.all([import('knex'), import('pg')]);

  const clients: Clients = { connection: target.connection, open: new Set(), closing: closing.signal };
  const DatabaseClient = createClientClass(Client, clients);
  const configure = runOnce(async (): Promise<Config> => {
    const offered = await negotiated();
    const trial = offered && target.tls.mode === 'allow' && new DatabaseClient({ ...base, ssl: false });
    const used = trial && (await isLetIn(trial)) ? false : offered;
    const weak = describeWeakness(target, used);
    if (weak !== undefined) settings.notice(weak);
    return { ...base, ssl: used, ...(used === false && { stream: createSocket }) };
  });
  const handle = knex({
    ...KNEX,
    connection: configure,
    pool: { min: 0, max: settings.poolSize, createTimeoutMillis: 2 * target.connectTimeoutMillis },
    acquireConnectionTimeout: Math.max(10_000, target.connectTimeoutMillis + 1_000),
    log: createKnexLog(settings.notice),
  });
  handle.client.driver = { Client: DatabaseClient };

  return {
    knex: handle,
    notice: settings.notice,
    openControl: async () => {
      const client = new DatabaseClient(await configure());
      client.on('error', () => {}); // Its holder sees the loss in `end`; unheard, the event would end the process.
      return client.connect();
    },
    close: () => close(handle, clients, closing),
  };
}

/** What both knex and the driver take. */
type Config = ClientConfig & Knex.PgConnectionConfig;

/** With the oldest version that is supported, Knex does not ask each server for its own before anything else. */
const KNEX = {
  client: 'pg',
  version: '14',
  asyncStackTraces: false,
  compileSqlOnError: false,
} satisfies Knex.Config;

async function createBaseConfig(
  connection: Connection,
  target: ResolvedServer,
  { variables, root, notice }: OpenSettings,
): Promise<Config> {
  const { host, port, login, database } = target.connection;
  const file = resolve(root, variables['PGPASSFILE'] || join(variables['HOME'] || homedir(), '.pgpass'));
  const password =
    connection.password ||
    variables['PGPASSWORD'] ||
    (await readPassword(file, { host, port, database, user: login }, notice));
  return {
    host: target.address,
    port,
    user: login,
    database,
    // A function, which the driver calls when the server asks: no dump of the settings shows it.
    password: () => {
      if (password === undefined) throw createPasswordMissingError(target.connection);
      return password;
    },
    application_name: target.applicationName,
    ...(target.options !== undefined && { options: target.options }),
    connectionTimeoutMillis: target.connectTimeoutMillis,
    keepAlive: target.keepAliveMillis !== undefined,
    keepAliveInitialDelayMillis: target.keepAliveMillis ?? 0,
    sslnegotiation: 'postgres',
    enableChannelBinding: true,
  };
}

/** A Unix socket never does, whatever sslmode says. */
function isTlsUsed({ address, tls }: ResolvedServer): boolean {
  return !address.startsWith('/') && tls.mode !== 'disable';
}

/** What the server and sslmode agree on: the driver can't fall back by itself. */
async function negotiate(
  target: ResolvedServer,
  options: ConnectionOptions,
  signal: AbortSignal,
): Promise<ConnectionOptions | false> {
  const { connection, tls } = target;
  const offered = await askForTls(target, signal).catch((error: unknown) => {
    throw describeConnectError(error, connection);
  });
  if (offered) return options;
  if (tls.mode === 'prefer' || tls.mode === 'allow') return false;
  throw createTlsNotOfferedError(connection, tls.mode);
}

/** Whether `allow` can do without TLS. Any error but the server's refusal is left to the connection itself. */
async function isLetIn(trial: Client): Promise<boolean> {
  try {
    await trial.connect();
    await trial.end();
    return true;
  } catch (error) {
    return getCode(error instanceof Error ? error.cause : error) !== '28000';
  }
}

/** Runs `make` at the first call and gives everybody its result; a failure is tried again by the next call. */
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

async function close(handle: Knex, { open }: Clients, closing: AbortController): Promise<void> {
  closing.abort(new Error('the database was closed'));
  // It waits for ever for a transaction that nobody ends (knex/knex#1752), and its result tells nothing else.
  const ended = handle.destroy().catch(() => {});
  const waiting = new AbortController();
  await Promise.race([ended, delay(GRACE.idle, undefined, waiting).catch(() => {})]);
  waiting.abort();
  await Promise.all([...open].map((client) => terminate(client, GRACE.cancel)));
}
