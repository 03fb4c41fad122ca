import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { cluster, type Cluster, ownCluster } from './cluster.js';

export { cluster, ownCluster };

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
  /** Runs a query in the test's own session, which the first call opens. `sessions` does not count this session. */
  query<Row = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  /** Reads the sessions that are open in this database, without the test's own session. */
  sessions(): Promise<ServerSession[]>;
  /**
   * Waits at most `patienceMs` until no session is open, and returns the open sessions. A backend ends some milliseconds
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
  /** The time limit for the end of sessions, in milliseconds. Default: 20,000. */
  readonly patienceMs?: number;
  /** The server of the database. Default: the server that all tests share. */
  readonly server?: Cluster;
}

/** Creates an empty database with a unique name. */
export async function createDatabase(options: DatabaseOptions = {}): Promise<TestDatabase> {
  const server = options.server ?? (await cluster());
  const name = `etl_test_${process.pid}_${randomBytes(4).toString('hex')}`;
  // No session can be connected to template0, so several test runs can copy template0 at once.
  await runOnce(server.url(server.adminDatabase), server.buildCreateStatements(name));
  const url = server.url(name);
  let admin: Promise<Client> | undefined;
  const query = async <Row>(text: string, values: readonly unknown[] = []): Promise<Row[]> => {
    admin ??= open(url, () => (admin = undefined));
    const result = await (await admin).query(text, [...values]);
    return result.rows as Row[];
  };
  const sessions = (): Promise<ServerSession[]> => query<ServerSession>(SESSIONS, [name]);
  const leftSessions = () => waitForEndOfSessions(sessions, options.patienceMs ?? 20_000);
  const drop = async (): Promise<void> => {
    const left = options.mayLeak ? [] : await leftSessions();
    await (await admin)?.end();
    await runOnce(server.url(server.adminDatabase), [`drop database ${name} with (force)`]);
    if (left.length > 0) throw new Error(describe(left));
  };
  return {
    name,
    url,
    query,
    sessions,
    drop,
    leftSessions,
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

async function runOnce(url: string, statements: readonly string[]): Promise<void> {
  const client = await open(url);
  try {
    for (const sql of statements) await client.query(sql);
  } finally {
    await client.end();
  }
}

async function waitForEndOfSessions(
  sessions: () => Promise<ServerSession[]>,
  patienceMs: number,
): Promise<ServerSession[]> {
  for (const end = Date.now() + patienceMs; ; await delay(10)) {
    const left = await sessions();
    if (left.length === 0 || Date.now() > end) return left;
  }
}

function describe(left: readonly ServerSession[]): string {
  const lines = left.map((one) => `  ${one.pid} ${one.application_name} (${one.state ?? '?'}): ${one.query}`);
  return `The tests left ${left.length} session(s) in their database:\n${lines.join('\n')}`;
}
