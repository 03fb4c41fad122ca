import { expect } from 'chai';
import { dag } from '../../../src/runtime/dag/dag.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

/** Settings of a role or a database that could end or change the runner's transactions. */
const SETTINGS: readonly (readonly [name: string, value: string])[] = [
  ['transaction_timeout', '150ms'],
  ['statement_timeout', '150ms'],
  ['idle_in_transaction_session_timeout', '150ms'],
  ['idle_session_timeout', '10s'],
  ['lock_timeout', '1ms'],
  ['default_transaction_isolation', 'serializable'],
  ['default_transaction_isolation', 'repeatable read'],
  ['default_transaction_deferrable', 'on'],
  ['row_security', 'off'],
  ['session_replication_role', 'replica'],
  ['synchronous_commit', 'off'],
  ['log_statement', 'all'],
  ['log_lock_waits', 'on'],
  ['client_encoding', 'latin1'],
  ['client_min_messages', 'debug5'],
  ['standard_conforming_strings', 'off'],
  ['backslash_quote', 'on'],
  ['escape_string_warning', 'on'],
  ['quote_all_identifiers', 'on'],
  ['array_nulls', 'off'],
  ['transform_null_equals', 'on'],
  ['extra_float_digits', '-15'],
  ['datestyle', 'German'],
  ['intervalstyle', 'sql_standard'],
  ['timezone', 'Asia/Kathmandu'],
  ['bytea_output', 'escape'],
  ['xmloption', 'document'],
  ['lc_messages', 'C'],
  ['search_path', 'pg_temp'],
  ['temp_tablespaces', 'pg_default'],
  ['default_tablespace', 'pg_default'],
  ['plan_cache_mode', 'force_generic_plan'],
  ['enable_seqscan', 'off'],
  ['track_activities', 'off'],
  ['exit_on_error', 'on'],
];

/** Has tasks that take longer than the short timeouts of `SETTINGS`, in a statement and between two statements. */
const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
  const wait = d.sql('wait', { sql: 'select pg_catalog.pg_sleep(0.4)' });
  const first = d.session('first', { needs: [wait] }, async ({ session, watermark }) => {
    await session.raw('select pg_catalog.pg_sleep(0.2)');
    await session.raw('insert into public.t (id, v) values (1, ?)', ['ä']);
    (await watermark('mark')).set('1');
  });
  d.task('http', { needs: [first] }, async () => 200);
  d.load('rows', {
    needs: [first],
    from: [
      { id: 1, v: 'ö' },
      { id: 2, v: 'x' },
    ],
    into: 'public.t',
    mode: 'merge',
    key: ['id'],
  });
});

describe('a setting of the role or the database', () => {
  let known: ReadonlySet<string>;
  before(async () => {
    await using db = await createDatabase();
    const rows = await db.query<{ name: string }>('select lower(name) as name from pg_settings');
    known = new Set(rows.map(({ name }) => name));
  });

  async function runAndResume(db: TestDatabase) {
    const run = await runOn({ db: db.url }, graph);
    const resumed = await runOn({ db: db.url }, graph, {
      resume: { kind: 'resume', runId: run.runId, interval: undefined, strict: false },
    });
    return [run, resumed];
  }

  for (const [name, value] of SETTINGS) {
    it(`${name} = ${value} neither ends nor changes a run`, async function () {
      if (!known.has(name)) this.skip(); // Older servers do not have every setting. `skip` throws.
      await using db = await createDatabase();
      await db.query('create table t (id int primary key, v text)');
      await db.query(`alter database ${db.name} set ${name} = '${value}'`);
      for (const run of await runAndResume(db)) {
        const errors = [...run.errors, ...run.tasks.flatMap(({ error }) => error ?? [])];
        expect(errors.map(({ message }) => message)).to.deep.equal([]);
        expect(run.state).to.equal('success');
      }
      await db.query(`alter database ${db.name} reset all`);
      expect(await db.query('select id, v from public.t order by id')).to.deep.equal([
        { id: 1, v: 'ö' },
        { id: 2, v: 'x' },
      ]);
    });
  }

  it('exit_on_error = on ends no session at an error that a savepoint takes back, or that the runner expects', async () => {
    await using db = await createDatabase();
    await db.query('create table t (id int primary key)');
    await db.query(`alter database ${db.name} set exit_on_error = on`);
    const failing = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('w', { reads: ['other'] }, async ({ session, sources: { other } }) => {
        await session.transaction((trx) => trx.raw('select 1 / 0')).catch(String);
        await other.transaction((trx) => trx.raw('select 1 / 0')).catch(String);
        await session.raw('insert into t values (1)');
      });
    });
    const run = await runOn({ db: db.url, other: db.url }, failing);
    expect(run.tasks[0]?.error?.message).to.equal(undefined);
    expect(await db.query('select id from t')).to.deep.equal([{ id: 1 }]);
  });
});
