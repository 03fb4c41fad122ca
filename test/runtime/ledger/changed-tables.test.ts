import { expect } from 'chai';
import { dag } from '../../../src/runtime/dag/dag.js';
import { createDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

/** Changes to tables of the ledger after which the server drops rows and reports no error. */
const CHANGES: readonly { readonly title: string; readonly sql: string; readonly outcome: string }[] = [
  {
    title: 'a trigger that drops inserted rows of etl.task',
    sql: skip('insert', 'task'),
    outcome: 'ETL-4009',
  },
  { title: 'a trigger that drops the update of the close', sql: skip('update', 'task'), outcome: 'ETL-4009' },
  {
    title: 'a trigger that keeps the old row of etl.task',
    sql: `create function etl.old() returns trigger language plpgsql as $$ begin return old; end $$;
      create trigger old before update on etl.task for each row execute function etl.old()`,
    outcome: 'ETL-3202',
  },
  {
    title: 'a rule that drops inserted rows of etl.task',
    sql: 'create rule skip as on insert to etl.task do instead nothing',
    outcome: 'ETL-4009',
  },
  { title: 'a trigger that drops watermarks', sql: skip('insert', 'watermark'), outcome: 'ETL-4009' },
  {
    title: 'a trigger that drops the history of watermarks',
    sql: skip('insert', 'watermark_history'),
    outcome: 'ETL-4009',
  },
];

/** Builds a trigger that drops rows of a table of the ledger. */
function skip(event: string, table: string): string {
  return `create function etl.skip() returns trigger language plpgsql as $$ begin return null; end $$;
    create trigger skip before ${event} on etl.${table} for each row execute function etl.skip()`;
}

const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
  d.session('a', {}, async ({ session, watermark }) => {
    await session('t').insert({ v: 'x' });
    (await watermark('mark')).set('1');
  });
});

describe('a table of the ledger that somebody has changed', () => {
  for (const { title, sql, outcome } of CHANGES) {
    it(`with ${title}: the task fails and its rows are rolled back`, async () => {
      await using db = await createDatabase();
      await db.query('create table t (v text)');
      expect((await runOn({ db: db.url }, graph)).state).to.equal('success');
      await db.query(`truncate t; ${sql}`);
      const run = await runOn({ db: db.url }, graph);
      expect(run.outcome('a'), run.tasks[0]?.error?.message).to.equal(`failed ${outcome}`);
      expect(run.state).to.equal('failed');
      expect(await db.query('select v from t')).to.deep.equal([]);
    });
  }

  for (const [table, event] of [
    ['run', 'insert'],
    ['lock', 'update'],
  ] as const) {
    it(`with a trigger that drops rows of etl.${table}: no run starts`, async () => {
      await using db = await createDatabase();
      await db.query('create table t (v text)');
      expect((await runOn({ db: db.url }, graph)).state).to.equal('success');
      await db.query(`truncate t; ${skip(event, table)}`);
      const error = await runOn({ db: db.url }, graph).catch((reason: unknown) => reason);
      expect(error).to.include({ code: 'ETL-4009', data: 'nothing was started' });
      expect(await db.query('select v from t')).to.deep.equal([]);
    });
  }

  it('with a trigger that drops the end of a run: the run fails and says so', async () => {
    await using db = await createDatabase();
    await db.query('create table t (v text)');
    await runOn({ db: db.url }, graph);
    await db.query(skip('update', 'run'));
    const run = await runOn({ db: db.url }, graph);
    expect(run.state).to.equal('failed');
    expect(run.errors.map(({ code }) => code)).to.deep.equal(['ETL-4009']);
  });

  it('with a trigger that drops versions: the installation ends with an error', async () => {
    await using db = await createDatabase();
    await db.query(
      `create schema etl create table migration (version int primary key, applied_at timestamptz)`,
    );
    await db.query(skip('insert', 'migration'));
    const error = await runOn({ db: db.url }, graph).catch((reason: unknown) => reason);
    expect(error)
      .to.have.property('code')
      .that.matches(/^ETL-400[89]$/);
  });
});
