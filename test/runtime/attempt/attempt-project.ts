import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { EtlError } from '../../../src/errors.js';
import { parseConnection } from '../../../src/hooks/parse-connection.js';
import type { Database } from '../../../src/hooks/hook.js';
import { postgresHook } from '../../../src/hooks/postgres/postgres-hook.js';
import type { Dag } from '../../../src/runtime/dag/dag.js';
import { planDag } from '../../../src/runtime/dag/plan.js';
import { executeRun, type RunResult } from '../../../src/runtime/run/run.js';
import type { RunRequest } from '../../../src/runtime/run/start.js';
import type { TestDatabase } from '../../support/database.js';

/** The error that the guard of a process aborts a run with. */
export const STOPPED = new EtlError('ETL-3302', { what: 'the run was stopped by SIGTERM' });

/** A promise that one side of a test awaits and the other side resolves. */
export interface Latch {
  readonly opened: Promise<void>;
  open(): void;
}

export function latch(): Latch {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open: () => open() };
}

/** A session of the test that holds a lock until it is disposed. */
export interface Holder extends AsyncDisposable {
  query(sql: string): Promise<unknown>;
}

export async function hold(db: TestDatabase, sql: string): Promise<Holder> {
  const client = new pg.Client({ connectionString: db.url });
  await client.connect();
  await client.query(sql);
  return { query: (text) => client.query(text), [Symbol.asyncDispose]: () => client.end() };
}

/** More than a loaded machine needs for anything that is waited for here. */
const LIMIT_MS = 100_000;

/**
 * Resolves when the query finds a row. Asks the server again and again, because only the server knows which session
 * waits for a lock.
 */
export async function until(db: TestDatabase, sql: string): Promise<void> {
  for (const end = performance.now() + LIMIT_MS; performance.now() < end;) {
    if ((await db.query(sql)).length > 0) return;
  }
  throw new Error(`In ${LIMIT_MS / 1000} s there was no row of: ${sql}`);
}

/** Finds a session that waits for a lock. */
export const BLOCKED = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;

/** The session that holds the lock of the Dag "d". https://www.postgresql.org/docs/current/view-pg-locks.html */
export const LOCK_HOLDER = `select pid from pg_locks
  where locktype = 'advisory' and granted and (classid::bigint << 32 | objid::bigint) = hashtextextended('etl:d', 0)`;

export interface StartOptions {
  readonly start?: RunRequest['start'];
  readonly overlap?: RunRequest['overlap'];
  readonly signal?: AbortSignal;
  readonly poolSize?: number;
  /** Called with each database after it was opened. */
  readonly onOpen?: (database: Database) => void;
}

/** Runs a Dag like `runOn`, with settings of the start and of the databases that few tests need. */
export function startOn(
  connections: Readonly<Record<string, string>>,
  dag: Dag,
  { start, overlap = { mode: 'fail' }, signal, poolSize = 4, onOpen }: StartOptions,
): Promise<RunResult> {
  const settings = { poolSize, applicationName: 'etl', variables: {}, root: process.cwd(), pid: process.pid };
  const fresh = { kind: 'new', runId: `run-${randomUUID()}`, interval: undefined, params: {} } as const;
  return executeRun(
    { ...planDag(dag, {}), start: start ?? fresh, overlap },
    {
      signal: signal ?? new AbortController().signal,
      process: { pid: process.pid, host: 'test', version: '0.0.0', holder: randomUUID() },
      random: Math.random,
      redact: (text) => text,
      unhandledErrors: () => [],
      onReportFailed: (error) => {
        throw error;
      },
      limits: { concurrency: 4, failFast: false, timeoutMs: undefined },
      reporter: { report: () => undefined },
      connections: {
        list: () => Object.keys(connections),
        describe: (id) => id,
        getPoolSize: () => poolSize,
        open: async (id, notice) => {
          const connection = parseConnection(id, connections[id] ?? '', 'test');
          const database = await postgresHook.open(connection, { ...settings, notice });
          onOpen?.(database);
          return database;
        },
      },
    },
  );
}
