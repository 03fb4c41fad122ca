import { expect } from 'chai';
import { createProject, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

/** Failures whose reason is the value SECRET-900 of a row. */
const CONFIG = (extra: string) => `
  import { dag, defineConfig } from '@oneshot/etl';
  export default defineConfig({ ${extra} dags: [dag('d', { defaults: { conn: 'db' } }, (d) => {
    const value = ['SECRET', 900].join('-');
    d.session('unique', {}, async ({ session }) => {
      await session('t').insert({ id: 1, v: value });
      await session('t').insert({ id: 2, v: value });
    });
    d.session('cast', {}, async ({ session }) => void (await session.raw('select ?::text::int', [value])));
    d.session('inline', {}, async ({ session }) => void (await session.raw("select '" + value + "'::int")));
    d.session('wrapped', {}, async ({ session }) => {
      try { await session.raw('select ?::text::date', [value]); } catch (cause) { throw new Error('bad: ' + cause.message, { cause }); }
    });
    d.session('swallowed', {}, async ({ session }) => {
      await session.raw('select ?::text::date', [value]).catch(() => null);
    });
    d.load('csv', { from: 'a.csv', into: 't', mode: 'append' });
    d.load('json', { from: 'a.ndjson', into: 'j', mode: 'append' });
    d.load('rejected', { from: 'a.csv', into: 't', mode: 'append', rejects: { to: 'r', max: 0 } });
    d.sql('checked', { sql: 'create table c (k text primary key, v int)', checks: [
      { name: 'none', sql: 'select k, v from (select $1::text as k, 1 as v) as t', values: [value] }] });
    d.task('thrown', {}, async () => { throw { v: value }; });
  })] });`;

describe('values of rows', () => {
  let db: TestDatabase;
  let project: Project;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (id int, v text unique); create table j (id int check (id > 0), v int)');
    project = await createProject({
      'a.csv': 'id,v\nSECRET-900,x\n',
      'a.ndjson': '{"id":1,"v":1}\n{"id":-900,"v":2}\n',
      'etl.config.ts': CONFIG(''),
    });
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await db.drop();
  });

  const run = (...args: string[]) => project.cli(['run', 'd', ...args], { ETL_CONN_DB: db.url });
  const stored = async () => JSON.stringify(await db.query('select * from etl.attempt'));
  const tasks = [
    'unique',
    'cast',
    'inline',
    'wrapped',
    'swallowed',
    'csv',
    'json',
    'rejected',
    'checked',
    'thrown',
  ];

  it('are in no output and not in the ledger, unless somebody allows them', async () => {
    await db.query('drop schema if exists etl cascade');
    for (const args of [[], ['--json'], ['--reporter', 'ndjson'], ['--no-show-data']]) {
      const { code, stdout, stderr } = await run(...args);
      expect(code).to.equal(1);
      expect(stdout + stderr)
        .to.match(/ETL-3001/)
        .and.not.match(/SECRET-900|-900/);
    }
    expect(await stored()).to.not.match(/SECRET-900|-900/);
    const [last] = await db.query<{ run_id: string }>(
      'select run_id from etl.run order by started_at desc limit 1',
    );
    const shown = await project.cli(['show', last?.run_id ?? ''], { ETL_CONN_DB: db.url });
    expect(shown.stdout)
      .to.include('ETL-3001')
      .and.not.match(/SECRET-900|-900/);
  });

  for (const [way, extra, args] of [
    ['--show-data', '', ['--show-data']],
    ['showData in the config', 'showData: true,', []],
  ] as const) {
    it(`are in the report, in JSON, in the ledger and in etl show with ${way}`, async () => {
      await project.write({ 'etl.config.ts': CONFIG(extra) });
      await db.query('drop schema if exists etl cascade');
      const { stdout, stderr } = await run('--json', ...args);
      for (const { task, error } of JSON.parse(stdout).tasks) expect(error.row_data, task).to.include('900');
      expect(stderr.match(/^ +rows .*/gm)).to.have.lengthOf(tasks.length);
      const rows = await db.query('select task_id, error, row_data from etl.attempt');
      expect(rows.map((row) => row['task_id'])).to.have.members(tasks);
      for (const { row_data, error } of rows) {
        expect(row_data).to.include('900');
        expect(JSON.stringify(error)).to.not.match(/SECRET-900|-900/);
      }
      const [, runId = ''] = /--run-id (\S+)/.exec(stderr) ?? [];
      const env = { ETL_CONN_DB: db.url };
      expect((await project.cli(['show', runId, '--json', ...args], env)).stdout).to.include('SECRET-900');
      expect((await project.cli(['show', runId, '--no-show-data'], env)).stdout).to.not.include('SECRET-900');
    });
  }
});
