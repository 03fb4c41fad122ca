import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { cluster, type Cluster } from './cluster.js';

export { cluster };

/** One session of `pg_stat_activity`. */
export interface ServerSession {
  readonly pid: number;
  readonly state: string | null;
  readonly application_name: string;
  readonly query: string;
}

/** A database for one test file or one test. */
export interface TestDatabase extends AsyncDisposable {
  readonly name: string;
  /** `postgres://user:password@127.0.0.1:port/name` */
  readonly url: string;
  /** The same database over the Unix socket. Absent if ETL_TEST_DATABASE_URL names the server. */
  readonly buildSocketUrl?: string;
  /** Runs a query in the test's own session, which the first call opens. `sessions` does not count this session. */
  query<Row = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  /** Reads the sessions that are open in this database, without the test's own session. */
  sessions(): Promise<ServerSession[]>;
  /**
   * Waits at most a second until no session is open, and returns the open sessions. A backend ends some milliseconds
   * after its client.
   */
  leftSessions(): Promise<ServerSession[]>;
  /** Ends all sessions and drops the database. Rejects if sessions were open, unless `mayLeak` is true. */
  drop(): Promise<void>;
}

/** Options of `createDatabase`. */
export interface DatabaseOptions {
  /** True for tests that leave sessions open on purpose. */
  readonly mayLeak?: boolean;
  /** The server of the database. Default: the server that all tests share. */
  readonly server?: Cluster;
}

/** Creates an empty database with a unique name. */
export async function createDatabase(options: DatabaseOptions = {}): Promise<TestDatabase> {
  const server = options.server ?? (await cluster());
  const name = `etl_test_${process.pid}_${randomBytes(4).toString('hex')}`;
  // No session can be connected to template0, so several test runs can copy template0 at once.
  await runOnce(server.url('postgres'), `create database ${name} template template0`);
  const url = server.url(name);
  let admin: Promise<Client> | undefined;
  const query = async <Row>(text: string, values: readonly unknown[] = []): Promise<Row[]> => {
    admin ??= open(url, () => (admin = undefined));
    const result = await (await admin).query(text, [...values]);
    return result.rows as Row[];
  };
  const sessions = (): Promise<ServerSession[]> => query<ServerSession>(SESSIONS, [name]);
  const drop = async (): Promise<void> => {
    const left = await waitForEndOfSessions(sessions);
    await (await admin)?.end();
    await runOnce(server.url('postgres'), `drop database ${name} with (force)`);
    if (left.length > 0 && !options.mayLeak) throw new Error(describe(left));
  };
  const socket = server.socketDirectory && buildSocketUrl(url, server.socketDirectory);
  return {
    name,
    url,
    query,
    sessions,
    drop,
    ...(socket ? { buildSocketUrl: socket } : {}),
    leftSessions: () => waitForEndOfSessions(sessions),
    [Symbol.asyncDispose]: drop,
  };
}

const SESSIONS = `select pid, state, application_name, query from pg_stat_activity
  where datname = $1 and pid <> pg_backend_pid() and backend_type = 'client backend' order by pid`;

async function open(url: string, onEnd = (): void => {}): Promise<Client> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on('error', () => {}); // A restart of the server ends the session. The next query opens a new one.
  client.once('end', onEnd);
  await client.connect();
  return client;
}

async function runOnce(url: string, sql: string): Promise<void> {
  const client = await open(url);
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

async function waitForEndOfSessions(sessions: () => Promise<ServerSession[]>): Promise<ServerSession[]> {
  for (const end = Date.now() + 1_000; ; await delay(10)) {
    const left = await sessions();
    if (left.length === 0 || Date.now() > end) return left;
  }
}

function describe(left: readonly ServerSession[]): string {
  const lines = left.map((one) => `  ${one.pid} ${one.application_name} (${one.state ?? '?'}): ${one.query}`);
  return `The tests left ${left.length} session(s) in their database:\n${lines.join('\n')}`;
}

function buildSocketUrl(url: string, directory: string): string {
  return url.replace('127.0.0.1', encodeURIComponent(directory));
}
