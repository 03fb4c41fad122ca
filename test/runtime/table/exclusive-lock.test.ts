import { expect } from 'chai';
import pg from 'pg';
import type { EtlError } from '../../../src/errors.js';
import { lockExclusively } from '../../../src/runtime/table/exclusive-lock.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { inTransaction, sendText, writeTable } from './on-wire.js';

describe('a replace that waits behind a reader', () => {
  let db: TestDatabase;
  let holder: pg.Client;
  let reader: pg.Client;
  before(async () => {
    db = await createDatabase();
    const open = async (name: string): Promise<pg.Client> => {
      const client = new pg.Client({ connectionString: db.url, application_name: name });
      await client.connect();
      return client;
    };
    [holder, reader] = [await open('nightly report'), await open('dashboard')];
    await db.query(`create table t (id int); create table p (id int) partition by range (id);
      create table p1 partition of p for values from (0) to (99)`);
  });
  after(async () => {
    await holder.end();
    await reader.end();
    await db.drop();
  });
  beforeEach(async () => {
    await db.query(`truncate t, p; insert into t values (1); insert into p values (1)`);
    await holder.query('begin');
  });
  afterEach(() => holder.query('rollback'));

  const replace = (into: string) =>
    inTransaction(db, (taskConnection) =>
      writeTable(taskConnection, { into, mode: 'replace' }, ['id'], sendText(taskConnection, '9\n')),
    );
  /** The number of sessions that wait for a lock. */
  const waiting = async (): Promise<number> => {
    const [row] = await db.query<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    return row?.n ?? 0;
  };

  for (const [title, table, read] of [
    ['a table', 't', 'select * from t'],
    ['a partitioned table whose partition is read', 'p', 'select * from p1'],
  ] as const) {
    it(`lets other readers through meanwhile: ${title}`, async () => {
      await holder.query(read);
      const replaced = replace(table);
      while ((await waiting()) === 0);
      // Each read would wait for the end of the holder if the replace stayed in the queue.
      for (let i = 0; i < 3; i++) expect((await reader.query(read)).rows).to.deep.equal([{ id: 1 }]);
      await holder.query('commit');
      expect(await replaced).to.include({ rows: 1 });
      expect(await db.query(`select * from ${table}`)).to.deep.equal([{ id: 9 }]);
    });
  }

  it('names the session that it waits for, and for how long, without its query', async () => {
    await holder.query(`select * from t where id <> 12345`);
    const { rows } = await holder.query('select pg_backend_pid() as pid');
    const error = await inTransaction(db, (taskConnection) =>
      lockExclusively(taskConnection, { target: 'only "t"', sql: 'select' }, { totalMs: 0 }),
    ).then(
      () => undefined,
      (thrown: unknown) => thrown as EtlError,
    );
    expect(error).to.include({ code: 'ETL-3574', message: 'table "t" can\'t be locked' });
    expect(error?.why).to.match(
      /^this session uses it: pid \d+ "nightly report" \(its transaction began \d+ s ago\)$/,
    );
    expect(error?.why).to.include(`pid ${rows[0].pid} `);
    expect(`${error?.stack}`).not.to.include('12345');
  });

  it('leaves the timeout for other locks of the transaction as it was', async () => {
    await holder.query('commit');
    const timeout = await inTransaction(db, async (taskConnection) => {
      await taskConnection.query({ text: `set local lock_timeout = '17s'` });
      await lockExclusively(taskConnection, { target: 'only "t"', sql: 'truncate only "t"' });
      return taskConnection.query({ text: 'show lock_timeout' });
    });
    expect(timeout).to.have.nested.property('rows[0].lock_timeout', '17s');
  });
});
