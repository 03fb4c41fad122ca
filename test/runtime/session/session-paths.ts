import { Model } from 'objection';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { Readable, type Writable } from 'node:stream';
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import { setImmediate as turn } from 'node:timers/promises';
import type { TaskDefaults } from '../../../src/runtime/tasks/task.js';
import type { TestDatabase } from '../../support/database.js';
import type { SessionContext } from '../../../src/runtime/tasks/task-context.js';

class Row extends Model {
  static override tableName = 't';
  static override idColumn = 'v';
}

type Body = (context: SessionContext, admin: TestDatabase) => Promise<unknown>;

/** A way to use, or to break, a session, and what must come of it. */
export interface SessionPath {
  readonly title: string;
  readonly body: Body;
  /** Undefined: success. */
  readonly code?: string;
  readonly sqlstate?: string;
  readonly what?: RegExp;
  readonly options?: TaskDefaults;
  /** Rows that are there afterwards. */
  readonly rows?: number;
}

export const insert = (session: SessionContext['session'], v: string) => session('t').insert({ v });
/** A raw query whose result type does not matter. */
export const raw = (session: SessionContext['session'], sql: string) =>
  session.raw<{ rows: { n: number }[] }>(sql);
const pidOf = async (session: SessionContext['session']): Promise<number> =>
  (await raw(session, 'select pg_backend_pid() as n')).rows[0]?.n ?? 0;
const connectionOf = async (session: SessionContext['session']) =>
  (await session.client.acquireConnection()) as {
    query(stream: object): NodeJS.ReadWriteStream & Writable & Readable;
  };
/** Sent, but not awaited. */
export const float = (query: PromiseLike<unknown>): void =>
  void query.then(
    () => undefined,
    () => undefined,
  );

function throwAnything(value: unknown): never {
  // oxlint-disable-next-line typescript/only-throw-error -- what careless code throws is what is tested
  throw value;
}

/** Each works on the tables of `PATH_TABLES`. */
export const PATHS: readonly SessionPath[] = [
  {
    title: 'commits what a task wrote',
    rows: 1,
    body: async ({ session }) => void (await insert(session, 'x')),
  },
  {
    title: 'commits a model',
    rows: 1,
    body: async ({ session }) => void (await Row.query(session).insert({ v: 'x' } as object)),
  },
  {
    title: 'commits a bound model',
    rows: 1,
    body: async ({ session }) =>
      void (await session
        .bind(Row)
        .query()
        .insert({ v: 'x' } as object)),
  },
  {
    title: 'commits after a savepoint that failed',
    rows: 1,
    body: async ({ session }) => {
      await insert(session, 'x');
      await session.transaction(async (part) => part.raw('select 1/0')).catch(() => undefined);
    },
  },
  {
    title: 'keeps settings, locks and temporary tables of a task from the next',
    rows: 1,
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'set search_path to pg_catalog');
      await raw(session, 'select pg_advisory_lock(7)');
      await raw(session, 'create temp table left_over (i int)');
    },
  },
  {
    title: 'rolls back what throws',
    code: 'ETL-3001',
    what: /^boom$/,
    body: async ({ session }) => {
      await insert(session, 'x');
      throw new Error('boom');
    },
  },
  {
    title: 'rolls back a thrown string',
    code: 'ETL-3004',
    body: async ({ session }) => {
      await insert(session, 'x');
      throwAnything('boom');
    },
  },
  {
    title: 'rolls back a thrown undefined',
    code: 'ETL-3004',
    body: async ({ session }) => {
      await insert(session, 'x');
      throwAnything(undefined);
    },
  },
  {
    title: 'fails a task that swallows an SQL error',
    code: 'ETL-3203',
    sqlstate: '22012',
    what: /division by zero/,
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'select 1/0').catch(() => undefined);
    },
  },
  {
    title: 'fails a task that swallows a duplicate key',
    code: 'ETL-3203',
    sqlstate: '23505',
    body: async ({ session }) => {
      await session('u').insert({ id: 1 });
      await session('u')
        .insert({ id: 1 })
        .then(
          () => undefined,
          () => undefined,
        );
    },
  },
  {
    title: 'waits for a query that was not awaited',
    rows: 1,
    body: async ({ session }) => {
      float(raw(session, `insert into t select 'x' from (select pg_sleep(0.05)) s`));
    },
  },
  {
    title: 'waits for a query that was sent a turn before the end',
    rows: 1,
    body: async ({ session }) => {
      float(raw(session, `insert into t select 'x' from (select pg_sleep(0.05)) s`));
      await turn();
    },
  },
  {
    title: 'fails a task whose query that was not awaited fails',
    code: 'ETL-3203',
    sqlstate: '22012',
    body: async ({ session }) => {
      await insert(session, 'x');
      float(raw(session, 'select 1/0'));
    },
  },
  {
    title: 'refuses session.commit()',
    code: 'ETL-3201',
    body: async ({ session }) => {
      await insert(session, 'x');
      await (session.commit as unknown as () => Promise<void>)();
    },
  },
  {
    title: 'refuses session.rollback()',
    code: 'ETL-3201',
    body: async ({ session }) => {
      await insert(session, 'x');
      await (session.rollback as unknown as () => Promise<void>)();
    },
  },
  {
    title: 'refuses session.destroy()',
    code: 'ETL-3201',
    body: async ({ session }) => {
      await insert(session, 'x');
      await (session.destroy as unknown as () => Promise<void>)();
    },
  },
  {
    title: 'refuses a raw COMMIT',
    code: 'ETL-3202',
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'COMMIT');
      await insert(session, 'y');
    },
  },
  {
    title: 'refuses a raw COMMIT; in the words of Knex',
    code: 'ETL-3202',
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'COMMIT;');
      await insert(session, 'y');
    },
  },
  {
    title: 'refuses a COMMIT between statements',
    code: 'ETL-3202',
    body: async ({ session }) => {
      await raw(session, `insert into t values ('x'); commit; insert into t values ('y')`);
    },
  },
  {
    title: 'refuses a raw COMMIT whose error is swallowed',
    code: 'ETL-3202',
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'COMMIT').catch(() => undefined);
      await insert(session, 'y');
    },
  },
  {
    title: 'refuses a raw ROLLBACK',
    code: 'ETL-3202',
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'ROLLBACK');
      await insert(session, 'y');
    },
  },
  {
    title: 'refuses ROLLBACK; BEGIN',
    code: 'ETL-3202',
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'ROLLBACK; BEGIN');
      await insert(session, 'y');
    },
  },
  {
    title: 'refuses ROLLBACK; BEGIN with triggers switched off',
    code: 'ETL-3202',
    body: async ({ session }) => {
      await raw(session, 'ROLLBACK; BEGIN; set local session_replication_role = replica');
      await insert(session, 'y');
    },
  },
  {
    title: 'refuses ROLLBACK AND CHAIN',
    code: 'ETL-3202',
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'ROLLBACK AND CHAIN');
      await insert(session, 'y');
    },
  },
  {
    title: 'refuses COMMIT AND CHAIN',
    code: 'ETL-3202',
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'COMMIT AND CHAIN');
      await insert(session, 'y');
    },
  },
  {
    title: 'refuses a COMMIT with triggers switched off',
    code: 'ETL-3202',
    body: async ({ session }) => {
      await raw(session, 'set local session_replication_role = replica');
      await insert(session, 'x');
      await raw(session, 'COMMIT');
    },
  },
  {
    title: 'commits with triggers switched off',
    rows: 1,
    body: async ({ session }) => {
      await raw(session, 'set local session_replication_role = replica');
      await insert(session, 'x');
    },
  },
  {
    title: 'fails at COMMIT for a deferred constraint',
    code: 'ETL-3001',
    sqlstate: '23503',
    body: async ({ session }) => {
      await insert(session, 'x');
      await session('child').insert({ pid: 99 });
    },
  },
  {
    title: 'ends a task that never resolves',
    code: 'ETL-3301',
    options: { timeout: '300ms' },
    body: async ({ session }) => {
      await insert(session, 'x');
      await new Promise(() => undefined);
    },
  },
  {
    title: 'ends a task in a slow query',
    code: 'ETL-3301',
    options: { timeout: '300ms' },
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'select pg_sleep(30)');
    },
  },
  {
    title: 'ends a task that swallows its cancellation',
    code: 'ETL-3301',
    options: { timeout: '300ms' },
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'select pg_sleep(30)').catch(() => undefined);
    },
  },
  {
    title: 'ends a statement that can not be cancelled',
    code: 'ETL-3301',
    options: { timeout: '300ms' },
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(
        session,
        `do $$ begin loop begin perform pg_sleep(30); exception when query_canceled then null; end; end loop; end $$`,
      );
    },
  },
  {
    title: 'keeps the cause when the backend is terminated',
    code: 'ETL-1002',
    sqlstate: '57P01',
    body: async ({ session }, admin) => {
      await insert(session, 'x');
      await admin.query('select pg_terminate_backend($1)', [await pidOf(session)]);
      await raw(session, 'select pg_sleep(30)');
    },
  },
  {
    title: 'keeps the cause when the termination is swallowed',
    code: 'ETL-1002',
    sqlstate: '57P01',
    body: async ({ session }, admin) => {
      await insert(session, 'x');
      await admin.query('select pg_terminate_backend($1)', [await pidOf(session)]);
      await raw(session, 'select pg_sleep(30)').catch(() => undefined);
    },
  },
  {
    title: "keeps the task's own error when the backend is terminated",
    code: 'ETL-3001',
    what: /bad row 17/,
    body: async ({ session }, admin) => {
      await insert(session, 'x');
      await admin.query('select pg_terminate_backend($1)', [await pidOf(session)]);
      throw new Error('bad row 17');
    },
  },
  {
    title: 'cuts a COPY TO that nobody reads to its end',
    code: 'ETL-3001',
    what: /gave up/,
    body: async ({ session }) => {
      await insert(session, 'x');
      const stream = (await connectionOf(session)).query(
        copyTo('copy (select generate_series(1, 3000000)) to stdout'),
      );
      await once(stream, 'data');
      stream.destroy();
      throw new Error('gave up');
    },
  },
  {
    title: 'fails a task that never ends its COPY FROM',
    code: 'ETL-3205',
    body: async ({ session }) => {
      await insert(session, 'x');
      const stream = (await connectionOf(session)).query(copyFrom('copy t (v) from stdin'));
      stream.on('error', () => undefined);
      stream.write('y\n');
      await turn();
    },
  },
  {
    title: 'fails a task whose COPY is refused',
    code: 'ETL-3001',
    sqlstate: '22P04',
    body: async ({ session }) => {
      await pipeline(
        Readable.from(['a\n', 'a\tb\n']),
        (await connectionOf(session)).query(copyFrom('copy t (v) from stdin')),
      );
    },
  },
  {
    title: 'commits a COPY',
    rows: 2,
    body: async ({ session }) => {
      await pipeline(
        Readable.from(['a\n', 'b\n']),
        (await connectionOf(session)).query(copyFrom('copy t (v) from stdin')),
      );
    },
  },
  {
    title: 'fails for a NUL in a value',
    code: 'ETL-3001',
    sqlstate: '22021',
    body: async ({ session }) => void (await insert(session, 'a\u0000b')),
  },
  {
    title: 'fails for a NUL in the result',
    code: 'ETL-3401',
    body: async ({ session }) => {
      await insert(session, 'x');
      return { s: 'a\u0000b' };
    },
  },
  {
    title: 'fails for a result that contains itself',
    code: 'ETL-3401',
    body: async ({ session }) => {
      await insert(session, 'x');
      const o: Record<string, unknown> = {};
      o['o'] = o;
      return o;
    },
  },
  {
    title: 'fails when the task makes deferred constraints immediate',
    code: 'ETL-3208',
    sqlstate: '23503',
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'set constraints all immediate');
    },
  },
  {
    title: 'fails a transaction that the server ended for being idle',
    code: 'ETL-1002',
    sqlstate: '25P03',
    body: async ({ session }, admin) => {
      await insert(session, 'x');
      await raw(session, `set local idle_in_transaction_session_timeout = 50`);
      await admin.query('select pg_sleep(0.2)');
    },
  },
];

/** What the paths work on. */
export const PATH_TABLES = `
  create table t (v text); create table u (id int primary key);
  create table parent (id int primary key);
  create table child (pid int references parent deferrable initially deferred)`;
