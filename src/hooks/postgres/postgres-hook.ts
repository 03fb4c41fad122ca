import type { ConnectionOptions } from 'node:tls';
import type { Knex } from 'knex';
import type { Client } from 'pg';
import { within } from '../../runtime/waiting.js';
import { type Clients, createClientClass, createKnexLog, type SessionConfig, terminate } from '../client.js';
import type { Connection } from '../connection.js';
import { describeNeed, getCode } from '../connect-error.js';
import type { Database, Hook, OpenSettings } from '../hook.js';
import { createSocket } from '../socket.js';
import { chooseServer, countTrials, listCandidates } from './choose-server.js';
import { type ResolvedServer, resolveServers, type ServerList, type SessionAttributes } from './libpq.js';
import type { SettingSources } from './libpq-setting.js';
import { findSocketPath, prepareServer, type PreparedServer, runOnce } from './prepared-server.js';
import { readService } from './pgservice.js';
import { describeWeakness } from './tls.js';

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
 * Opens a PostgreSQL server. Reads the service file, the password file and the TLS files at once, so their errors come from
 * here. The TLS request and the import of the drivers run side by side. The sessions come later: knex and `openControl` call
 * `configure`, which waits for the result of the TLS request and chooses the settings, once for all sessions. So all
 * sessions of the database have the same server, also if the connection names several hosts.
 */
async function openPostgres(connection: Connection, settings: OpenSettings): Promise<Database> {
  const service = await readService(connection, settings);
  const list = resolveServers(connection, settings, service);
  const sources: SettingSources = { connection, service, variables: settings.variables };
  const closing = new AbortController();
  const candidates = await listCandidates(list);
  const prepared = await Promise.all(
    candidates.map((server) => prepareServer(server, sources, settings, closing.signal)),
  );
  // The server answers while the drivers are imported. A failure is ignored here, because `configure` calls the
  // function again and reports a failure.
  prepared[0]?.negotiated().catch(() => {});
  const [{ default: knex }, { default: driver }] = await Promise.all([import('knex'), import('pg')]);

  const clients: Clients = {
    need: settings.isForRun === true ? describeNeed(settings.poolSize) : undefined,
    trace: settings.trace,
    open: new Set(),
    closing: closing.signal,
  };
  const DatabaseClient = createClientClass(driver, clients);
  const configure = runOnce(() => chooseConfig(list, prepared, { DatabaseClient, notice: settings.notice }));
  // Each host can take the time limit twice: for the TLS request, and for a session.
  const limit = 2 * countTrials(list, prepared.length) * list.servers[0].connectTimeoutMillis;
  const handle = knex({
    ...KNEX,
    // The type of knex does not know `rules`, which only our client reads.
    connection: configure as () => Promise<Knex.PgConnectionConfig>,
    pool: { min: 0, max: settings.poolSize, createTimeoutMillis: limit },
    acquireConnectionTimeout: Math.max(10_000, limit / 2 + 1_000),
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

/** Our client class, and where lines for the user go. */
interface SessionTools {
  readonly DatabaseClient: new (config: SessionConfig) => Client;
  readonly notice: OpenSettings['notice'];
}

/**
 * Returns the settings of all sessions: those of the first server that accepts a session, if there are several. Sends a
 * notice if the traffic is not safe, and if the server may be one that accepts no writes.
 */
async function chooseConfig(
  list: ServerList,
  prepared: readonly PreparedServer[],
  { DatabaseClient, notice }: SessionTools,
): Promise<SessionConfig> {
  const { chosen, config } = await chooseServer(list, prepared, async (each, attributes) => {
    const tried = await createConfig(each, attributes, DatabaseClient);
    if (prepared.length > 1) await connectOnce(new DatabaseClient(tried));
    return tried;
  });
  const weak = describeWeakness(chosen.server, config.ssl);
  if (weak !== undefined) notice(weak);
  if (list.servers.length > 1 && list.attributes === 'any') notice(describeAnyServer(chosen.server));
  return config;
}

/** Creates the settings of the sessions on one server. Rejects with ETL-1001 if the server can't be asked for TLS. */
async function createConfig(
  { server, base, negotiated }: PreparedServer,
  attributes: SessionAttributes,
  DatabaseClient: SessionTools['DatabaseClient'],
): Promise<SessionConfig & { readonly ssl: ConnectionOptions | false }> {
  const { connection, authentication, sessionSettings } = server;
  const config = { ...base, rules: { connection, attributes, authentication, settings: sessionSettings } };
  const offered = await negotiated();
  // sslmode `allow` uses TLS only if the server refuses a session without TLS.
  const trial = offered && server.tls.mode === 'allow' && new DatabaseClient({ ...config, ssl: false });
  const used = trial && (await tryConnect(trial)) ? false : offered;
  const stream = { stream: () => createSocket(findSocketPath(server)) };
  return { ...config, ssl: used, ...(used === false && stream) };
}

/** Returns a line for the user of a connection with several hosts and without `target_session_attrs`. */
function describeAnyServer({ connection: { id, host, port } }: ResolvedServer): string {
  return `connection "${id}": ${host}:${port} is the first of several hosts that accepts sessions, perhaps a standby; set target_session_attrs=read-write to write`;
}

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
 * Opens and ends a session without TLS, to find out whether the server accepts such a session. Returns false if the
 * server refuses the session with SQLSTATE 28000 (pg_hba.conf). Returns true after any other error, because the first
 * real session reports that error.
 */
async function tryConnect(trial: Client): Promise<boolean> {
  try {
    await connectOnce(trial);
    return true;
  } catch (error) {
    // The cause of an ETL-1001 is the error of the server.
    return getCode(error instanceof Error ? error.cause : error) !== '28000';
  }
}

/** Opens a session and ends it. */
async function connectOnce(trial: Client): Promise<void> {
  await trial.connect();
  await trial.end();
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
