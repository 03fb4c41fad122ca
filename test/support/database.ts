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

/** A database of one test file, or of one test. */
export interface TestDatabase extends AsyncDisposable {
  readonly name: string;
  /** `postgres://user:password@127.0.0.1:port/name` */
  readonly url: string;
  /** The same over the Unix socket; absent when the server is that of ETL_TEST_DATABASE_URL. */
  readonly socketUrl?: string;
  /** The rows of a query in a session of the tests' own, opened at the first call; not counted by `sessions`. */
  query<Row = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  /** The sessions that others hold in this database now. */
  sessions(): Promise<ServerSession[]>;
  /** As `sessions`, when it is empty or after a second: a backend ends some milliseconds after its client. */
  leftSessions(): Promise<ServerSession[]>;
  /** Ends what is left and drops the database; rejects when sessions were left, unless `mayLeak`. */
  drop(): Promise<void>;
}

export interface DatabaseOptions {
  /** For tests that abandon sessions on purpose. */
  readonly mayLeak?: boolean;
  /** Default: the server that all tests share. */
  readonly server?: Cluster;
}

/** Creates an empty database with a unique name. */
export async function createDatabase(options: DatabaseOptions = {}): Promise<TestDatabase> {
  const server = options.server ?? (await cluster());
  const name = `etl_test_${process.pid}_${randomBytes(4).toString('hex')}`;
  // Nobody can be connected to template0, so that any number of test runs can copy it at once.
  await once(server.url('postgres'), `create database ${name} template template0`);
  const url = server.url(name);
  let admin: Promise<Client> | undefined;
  const query = async <Row>(text: string, values: readonly unknown[] = []): Promise<Row[]> => {
    admin ??= open(url, () => (admin = undefined));
    const result = await (await admin).query(text, [...values]);
    return result.rows as Row[];
  };
  const sessions = (): Promise<ServerSession[]> => query<ServerSession>(SESSIONS, [name]);
  const drop = async (): Promise<void> => {
    const left = await leftSessions(sessions);
    await (await admin)?.end();
    await once(server.url('postgres'), `drop database ${name} with (force)`);
    if (left.length > 0 && !options.mayLeak) throw new Error(describe(left));
  };
  const socket = server.socketDirectory && socketUrl(url, server.socketDirectory);
  return {
    name,
    url,
    query,
    sessions,
    drop,
    ...(socket ? { socketUrl: socket } : {}),
    leftSessions: () => leftSessions(sessions),
    [Symbol.asyncDispose]: drop,
  };
}

const SESSIONS = `select pid, state, application_name, query from pg_stat_activity
  where datname = $1 and pid <> pg_backend_pid() and backend_type = 'client backend' order by pid`;

async function open(url: string, onEnd = (): void => {}): Promise<Client> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on('error', () => {}); // A restarted server ends it; the next query opens another.
  client.once('end', onEnd);
  await client.connect();
  return client;
}

async function once(url: string, sql: string): Promise<void> {
  const client = await open(url);
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

async function leftSessions(sessions: () => Promise<ServerSession[]>): Promise<ServerSession[]> {
  for (const end = Date.now() + 1_000; ; await delay(10)) {
    const left = await sessions();
    if (left.length === 0 || Date.now() > end) return left;
  }
}

function describe(left: readonly ServerSession[]): string {
  const lines = left.map((one) => `  ${one.pid} ${one.application_name} (${one.state ?? '?'}): ${one.query}`);
  return `The tests left ${left.length} session(s) in their database:\n${lines.join('\n')}`;
}

function socketUrl(url: string, directory: string): string {
  return url.replace('127.0.0.1', encodeURIComponent(directory));
}
