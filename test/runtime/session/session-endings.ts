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

/** A way to use or to break a session, and the expected result of the task. */
export interface SessionEnding {
  readonly title: string;
  readonly body: Body;
  /** The expected error code. Undefined if the task succeeds. */
  readonly code?: string;
  readonly sqlstate?: string;
  readonly what?: RegExp;
  readonly options?: TaskDefaults;
  /** The expected number of rows of table `t` after the task. Default 0. */
  readonly rows?: number;
  /** True if another library can't do this: the task calls a method of the session itself, or a model. */
  readonly isOnlySession?: boolean;
}

export const insert = (session: SessionContext['session'], v: string) => session('t').insert({ v });
/** Runs a raw query. */
export const raw = (session: SessionContext['session'], sql: string) =>
  session.raw<{ rows: { n: number }[] }>(sql);
const pidOf = async (session: SessionContext['session']): Promise<number> =>
  (await raw(session, 'select pg_backend_pid() as n')).rows[0]?.n ?? 0;
const connectionOf = async (session: SessionContext['session']) =>
  (await session.client.acquireConnection()) as {
    query(stream: object): NodeJS.ReadWriteStream & Writable & Readable;
  };
/** Sends a query, and does not wait for its result. */
export const sendWithoutAwait = (query: PromiseLike<unknown>): void =>
  void query.then(
    () => undefined,
    () => undefined,
  );

function throwAnything(value: unknown): never {
  // oxlint-disable-next-line typescript/only-throw-error -- the test throws what careless code throws
  throw value;
}

/** The endings, which use the tables of `ENDING_TABLES`. */
export const ENDINGS: readonly SessionEnding[] = [
  {
    title: 'commits the rows that a task inserted',
    rows: 1,
    body: async ({ session }) => void (await insert(session, 'x')),
  },
  {
    title: 'commits a row that a model inserted',
    isOnlySession: true,
    rows: 1,
    body: async ({ session }) => void (await Row.query(session).insert({ v: 'x' } as object)),
  },
  {
    title: 'commits a row that a bound model inserted',
    isOnlySession: true,
    rows: 1,
    body: async ({ session }) =>
      void (await session
        .bind(Row)
        .query()
        .insert({ v: 'x' } as object)),
  },
  {
    title: 'commits a task in which a savepoint failed',
    rows: 1,
    body: async ({ session }) => {
      await insert(session, 'x');
      await session.transaction(async (part) => part.raw('select 1/0')).catch(() => undefined);
    },
  },
  {
    title: 'fails a task that returns before its savepoint has ended',
    code: 'ETL-3211',
    body: async ({ session }) => {
      await insert(session, 'x');
      await new Promise<void>((resolve) => {
        const left = session.transaction(async (part) => {
          await part('t').insert({ v: 'y' });
          resolve();
          await new Promise(() => undefined);
        });
        left.catch(() => undefined);
      });
    },
  },
  {
    title: 'commits a task that changed settings, took a lock and created a temporary table',
    rows: 1,
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'set search_path to pg_catalog');
      await raw(session, 'select pg_advisory_lock(7)::text');
      await raw(session, 'create temp table left_over (i int)');
    },
  },
  {
    title: 'rolls back a task that throws an Error',
    code: 'ETL-3001',
    what: /^boom$/,
    body: async ({ session }) => {
      await insert(session, 'x');
      throw new Error('boom');
    },
  },
  {
    title: 'rolls back a task that throws a string',
    code: 'ETL-3004',
    body: async ({ session }) => {
      await insert(session, 'x');
      throwAnything('boom');
    },
  },
  {
    title: 'rolls back a task that throws undefined',
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
    title: 'fails a task that swallows a duplicate key error',
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
    title: 'waits for a query that a task did not await',
    rows: 1,
    body: async ({ session }) => {
      sendWithoutAwait(raw(session, `insert into t select 'x' from (select pg_sleep(0.05)) s`));
    },
  },
  {
    title: 'waits for a query that a task sent one turn of the event loop before its end',
    rows: 1,
    body: async ({ session }) => {
      sendWithoutAwait(raw(session, `insert into t select 'x' from (select pg_sleep(0.05)) s`));
      await turn();
    },
  },
  {
    title: 'fails a task if a query fails that the task did not await',
    code: 'ETL-3203',
    sqlstate: '22012',
    body: async ({ session }) => {
      await insert(session, 'x');
      sendWithoutAwait(raw(session, 'select 1/0'));
    },
  },
  {
    title: 'refuses session.commit()',
    isOnlySession: true,
    code: 'ETL-3201',
    body: async ({ session }) => {
      await insert(session, 'x');
      await (session.commit as unknown as () => Promise<void>)();
    },
  },
  {
    title: 'refuses session.rollback()',
    isOnlySession: true,
    code: 'ETL-3201',
    body: async ({ session }) => {
      await insert(session, 'x');
      await (session.rollback as unknown as () => Promise<void>)();
    },
  },
  {
    title: 'refuses session.destroy()',
    isOnlySession: true,
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
    title: 'refuses a raw COMMIT; with the text that Knex sends',
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
    title: 'refuses a raw COMMIT, also if the task catches the error',
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
    title: 'fails a task that violates a deferred constraint, at COMMIT',
    code: 'ETL-3001',
    sqlstate: '23503',
    body: async ({ session }) => {
      await insert(session, 'x');
      await session('child').insert({ pid: 99 });
    },
  },
  {
    title: 'ends a task that never resolves, at its timeout',
    code: 'ETL-3301',
    options: { timeout: '300ms' },
    body: async ({ session }) => {
      await insert(session, 'x');
      await new Promise(() => undefined);
    },
  },
  {
    title: 'ends a task during a slow query, at its timeout',
    code: 'ETL-3301',
    options: { timeout: '300ms' },
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'select pg_sleep(30)');
    },
  },
  {
    title: 'ends a task that swallows the error of its cancelled query, at its timeout',
    code: 'ETL-3301',
    options: { timeout: '300ms' },
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'select pg_sleep(30)').catch(() => undefined);
    },
  },
  {
    title: 'ends a task whose statement ignores the cancellation, at its timeout',
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
    title: 'fails a task whose backend is terminated, with the error of the server',
    code: 'ETL-1002',
    sqlstate: '57P01',
    body: async ({ session }, admin) => {
      await insert(session, 'x');
      await admin.query('select pg_terminate_backend($1)', [await pidOf(session)]);
      await raw(session, 'select pg_sleep(30)');
    },
  },
  {
    title: 'fails a task that swallows the termination of its backend, with the error of the server',
    code: 'ETL-1002',
    sqlstate: '57P01',
    body: async ({ session }, admin) => {
      await insert(session, 'x');
      await admin.query('select pg_terminate_backend($1)', [await pidOf(session)]);
      await raw(session, 'select pg_sleep(30)').catch(() => undefined);
    },
  },
  {
    title: 'fails a task that throws after the termination of its backend, with the error of the task',
    code: 'ETL-3001',
    what: /bad row 17/,
    body: async ({ session }, admin) => {
      await insert(session, 'x');
      await admin.query('select pg_terminate_backend($1)', [await pidOf(session)]);
      throw new Error('bad row 17');
    },
  },
  {
    title: 'fails a task that throws during a COPY TO, with the error of the task',
    isOnlySession: true,
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
    isOnlySession: true,
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
    title: 'fails a task whose COPY is refused by the server',
    isOnlySession: true,
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
    title: 'commits the rows of a COPY',
    isOnlySession: true,
    rows: 2,
    body: async ({ session }) => {
      await pipeline(
        Readable.from(['a\n', 'b\n']),
        (await connectionOf(session)).query(copyFrom('copy t (v) from stdin')),
      );
    },
  },
  {
    title: 'fails a task that sends NUL in a value',
    code: 'ETL-3001',
    sqlstate: '22021',
    body: async ({ session }) => void (await insert(session, 'a\u0000b')),
  },
  {
    title: 'fails a task that returns NUL in its result',
    code: 'ETL-3401',
    body: async ({ session }) => {
      await insert(session, 'x');
      return { s: 'a\u0000b' };
    },
  },
  {
    title: 'fails a task whose result contains itself',
    code: 'ETL-3401',
    body: async ({ session }) => {
      await insert(session, 'x');
      const o: Record<string, unknown> = {};
      o['o'] = o;
      return o;
    },
  },
  {
    title: 'fails a task that makes deferred constraints immediate',
    code: 'ETL-3208',
    sqlstate: '23503',
    body: async ({ session }) => {
      await insert(session, 'x');
      await raw(session, 'set constraints all immediate');
    },
  },
  {
    title: 'fails a task whose idle transaction is ended by the server',
    code: 'ETL-1002',
    sqlstate: '25P03',
    body: async ({ session }, admin) => {
      await insert(session, 'x');
      const { rows } = await raw(session, 'select pg_backend_pid() as n');
      await raw(session, `set local idle_in_transaction_session_timeout = 50`);
      await admin.query(`do $$ begin
        while exists (select from pg_stat_activity where pid = ${Number(rows[0]?.n)}) loop
          perform pg_sleep(0.01); perform pg_stat_clear_snapshot(); end loop; end $$`);
    },
  },
];

/** The tables of the endings. */
export const ENDING_TABLES = `
  create table t (v text, id serial primary key); create table u (id int primary key);
  create table parent (id int primary key);
  create table child (pid int references parent deferrable initially deferred, id serial primary key)`;
