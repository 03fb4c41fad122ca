import { expect } from 'chai';
import { writeFile } from 'node:fs/promises';
import { createProject } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { MessageSnapshot } from './message-snapshot.js';

/**
 * One task for each error code, by code. Each is the call that follows `d.`, without the ID of the task: `session(, …)`.
 * `to` is a table `(id int, name text)`, and `into` the options of a load that appends to it.
 */
const TASKS: Readonly<Record<string, string>> = {
  'ETL-3001': `sql(ID, { sql: 'select totl\\nfrom orders' })`,
  'ETL-3002': `sql(ID, { file: 'open.sql' })`,
  'ETL-3003': `sql(ID, { file: 'name.sql' })`,
  'ETL-3004': `task(ID, {}, async () => { throw 'no address' })`,
  'ETL-3005': `sql(ID, { file: 'sql/reprot.sql' })`,
  'ETL-3007': `task(ID, {}, async () => process.exit(0))`,
  'ETL-3008': `load(ID, { from: 'good.csv', into: 'a.b.c', mode: 'append' })`,
  'ETL-3009': `sql(ID, { file: 'latin.sql' })`,
  'ETL-3010': `sql(ID, { file: 'psql.sql' })`,
  'ETL-3011': `sql(ID, { sql: () => undefined })`,
  'ETL-3020': `session(ID, {}, async ({ session }) => { await session.raw('select ?::text', [new Map([['a', 1]]) as never]); })`,
  'ETL-3021': `session(ID, {}, async ({ session }) => { await session('target').insert(Array.from({ length: 40000 }, (_, i) => ({ id: i, name: 'x' }))); })`,
  'ETL-3101': `sql(ID, { sql: 'select 1', checks: [{ name: 'no-null', sql: 'select 1 as id' }] })`,
  'ETL-3201': `session(ID, {}, async ({ session }) => { await session.commit(); })`,
  'ETL-3202': `session(ID, {}, async ({ session }) => { await session.raw('rollback'); })`,
  'ETL-3203': `session(ID, {}, async ({ session }) => { await session.raw('select 1/0').catch(() => undefined); })`,
  'ETL-3205': `session(ID, {}, async ({ session }) => { await session.copyTo('copy (select generate_series(1, 1000000)) to stdout')[Symbol.asyncIterator]().next(); })`,
  'ETL-3208': `sql(ID, { sql: 'set constraints all immediate' })`,
  'ETL-3301': `sql(ID, { timeout: '1s', sql: 'select pg_sleep(60)' })`,
  'ETL-3401': `task(ID, {}, async () => ({ total: () => 1 }) as never)`,
  'ETL-3501': `load(ID, { from: 'in/*.cvs', ...into })`,
  'ETL-3502': `load(ID, { from: 'open.csv', ...into })`,
  'ETL-3503': `load(ID, { from: 'twice.csv', ...into })`,
  'ETL-3505': `load(ID, { from: [{ id: 1, name: 'x' }], into: 'skipping', mode: 'append' })`,
  'ETL-3511': `load(ID, { from: 'good.csv', into: 'nowhere', mode: 'append' })`,
  'ETL-3512': `load(ID, { from: 'good.csv', into: 'a_sequence', mode: 'append' })`,
  'ETL-3513': `load(ID, { from: 'other.csv', ...into })`,
  'ETL-3514': `load(ID, { from: 'lacking.csv', into: 'needing', mode: 'append' })`,
  'ETL-3515': `load(ID, { from: 'lacking.csv', into: 'target', mode: 'merge', key: ['name'] })`,
  'ETL-3516': `load(ID, { from: 'good.csv', into: 'bare', mode: 'merge', key: ['id'] })`,
  'ETL-3517': `load(ID, { from: 'same.csv', into: 'target', mode: 'merge', key: ['id'] })`,
  'ETL-3518': `load(ID, { from: [{ id: 1, name: { a: 1 } }], into: 'numbers', mode: 'append' })`,
  'ETL-3519': `load(ID, { from: ['good.csv', 'zeros.csv'], into: 'inferred', mode: 'append', create: true })`,
  'ETL-3521': `load(ID, { from: 'wrong.csv', ...into, rejects: { to: 'rejected', max: 0 } })`,
  'ETL-3522': `load(ID, { from: 'wrong.csv', ...into, rejects: { to: 'good.csv/r.ndjson', max: 9 } })`,
  'ETL-3531': `transfer(ID, { from: 'shop', query: 'select 1 as id, 2 as id', into: 'target', mode: 'append' })`,
  'ETL-3532': `transfer(ID, { from: 'shop', query: 'select 1.2345 as n', into: 'rounded', mode: 'append' })`,
  'ETL-3541': `session(ID, {}, async ({ session }) => { await session.copyFrom('select 1', ['x']); })`,
  'ETL-3542': `session(ID, {}, async ({ session }) => { for await (const row of session.rows('select 1', { batch: 0 })) void row; })`,
  'ETL-3543': `session(ID, {}, async ({ session }) => { for await (const part of session.copyTo('copy (select generate_series(1, 100000)) to stdout')) { void part; await session.raw('select 1'); } })`,
  'ETL-3544': `session(ID, {}, async ({ session }) => { await session.raw('copy target to stdout'); })`,
  'ETL-3551': `load(ID, { from: 'http://127.0.0.1:1/none.csv', ...into })`,
  'ETL-3552': `load(ID, { from: 'cut.csv.gz', ...into })`,
  'ETL-3554': `load(ID, { from: 'latin.csv', ...into, transform: (row) => row })`,
  'ETL-3555': `load(ID, { from: 'fields.csv', ...into, transform: (row) => row })`,
  'ETL-3556': `load(ID, { from: 'array.ndjson', ...into })`,
  'ETL-3557': `load(ID, { from: 'http://127.0.0.1:1/none.parquet', ...into })`,
  'ETL-3558': `load(ID, { from: [{ id: 1, name: () => 1 }], ...into } as never)`,
  'ETL-3559': `load(ID, { from: 'good.csv', ...into, transform: (async (row) => row) as never })`,
  'ETL-3560': `load(ID, { from: () => 5 as never, ...into })`,
  'ETL-3561': `load(ID, { from: 'late.ndjson', ...into })`,
  'ETL-3575': `load(ID, { from: () => 'folder/file.txt', ...into })`,
  'ETL-3601': `unload(ID, { table: 'target', to: 'good.csv/out.csv' })`,
  'ETL-3602': `unload(ID, { query: 'select 1; select 2', to: 'out.csv' })`,
  'ETL-3604': `unload(ID, { table: 'target', to: 'folder', format: 'csv' })`,
  'ETL-3606': `unload(ID, { query: "select 'NaN'::numeric(5,2) as n", to: 'out.parquet' })`,
  'ETL-3701': `session(ID, {}, async ({ watermark }) => { await watermark(''); })`,
  'ETL-3702': `session(ID, {}, async ({ watermark }) => { (await watermark('at')).set(new Date() as never); })`,
  'ETL-3704': `sql(ID, { incremental: { table: 'target', cursor: 'name' }, file: 'name.sql' })`,
  'ETL-3705': `sql(ID, { incremental: { table: 'source', cursor: 'nullable' }, file: 'range.sql' })`,
  'ETL-3706': `sql(ID, { incremental: { table: 'source', cursor: 'local' }, file: 'range.sql' })`,
  'ETL-3707': `sql(ID, { incremental: { table: 'source', cursor: 'id', lag: '1h' }, file: 'range.sql' })`,
  'ETL-3709': `sql(ID, { incremental: { table: 'cached', cursor: 'id' }, file: 'range.sql' })`,
  'ETL-3712': `sql(ID, { incremental: { table: 'a_materialized', cursor: 'id' }, file: 'range.sql' })`,
  'ETL-3209': `session(ID, {}, async ({ session }) => { await session.pg.query('begin isolation level serializable'); })`,
  'ETL-3211': `session(ID, {}, async ({ session }) => { await session.pg.query('begin'); })`,
};

const SCHEMA = `
  create table target (id int primary key, name text);
  create table bare (id int, name text);
  create table needing (id int not null, name text not null);
  create sequence a_sequence;
  create table skipping (id int, name text);
  create function skip() returns trigger language plpgsql as 'begin return null; end';
  create trigger skip before insert on skipping for each row execute function skip();
  create table source (id int generated always as identity, nullable timestamptz, local timestamp not null default now());
  insert into source (nullable) values (null);
  create table cached (id int generated always as identity (cache 100));
  create table numbers (id int, name int);
  create table rounded (n numeric(10,2));
  create materialized view a_materialized as select id from source;`;

const FILES = {
  'open.sql': `select 1;\nselect 'it''s;`,
  'name.sql': 'insert into target\nselect :regoin, count(*) from source;',
  'psql.sql': 'select 1;\n\\i other.sql',
  'range.sql': 'select * from source where id > :low',
  'good.csv': 'id,name\n1,x\n',
  'zeros.csv': 'id,name\n007,x\n',
  'open.csv': 'id,"name\n1,x\n',
  'twice.csv': 'id,id\n1,2\n',
  'other.csv': 'id,nmae\n1,x\n',
  'lacking.csv': 'id\n1\n',
  'same.csv': 'id,name\n7,x\n7,y\n',
  'text.ndjson': '{"id": "x"}\n',
  'wrong.csv': 'id,name\nnonsense,x\n',
  'fields.csv': 'id,name\n1,Smith, John\n',
  'array.ndjson': '[{"id": 1}]\n',
  'late.ndjson': `${'{"id": 1}\n'.repeat(2000)}{"id": 2, "nmae": "x"}\n`,
  'folder/file.txt': '',
};

describe('the message of a task that fails', () => {
  const snapshot = new MessageSnapshot('tasks');
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query(SCHEMA);
  });
  after(() => db.drop());

  it('has the code that each of these tasks provokes', async () => {
    const tasks = Object.entries(TASKS).map(([code, call]) => `d.${call.replace('ID', `'${code}'`)};`);
    await using project = await createProject({
      ...FILES,
      'etl.config.ts': `
        import { dag, defineConfig } from '@oneshot/etl';
        const into = { into: 'target', mode: 'append' } as const;
        const all = dag('all', { defaults: { conn: 'shop' } }, (d) => {\n${tasks.join('\n')}\n});
        export default defineConfig({ dags: [all] });`,
    });
    await writeFile(`${project.directory}/latin.csv`, 'id,name\n1,Müller\n', 'latin1');
    await writeFile(`${project.directory}/latin.sql`, `select 1;\nselect 'Müller'`, 'latin1');
    await writeFile(`${project.directory}/cut.csv.gz`, Buffer.from('1f8b0800000000000003', 'hex'));
    const { stdout } = await project.cli(['run', 'all', '--json'], { ETL_CONN_SHOP: db.url });
    expect(JSON.parse(stdout).error, stdout).to.equal(undefined);
    const found = new Map<string, Record<string, unknown>>(
      JSON.parse(stdout).tasks.map(({ task, error }: { task: string; error: object }) => [task, error]),
    );
    for (const code of Object.keys(TASKS)) {
      const { code: given = 'no error', what = '', causes, ...parts } = found.get(code) ?? {};
      const lines = Object.entries(parts).map(
        ([name, text = '']) => `  ${name.padEnd(5)} ${String(text).replaceAll('\n', '\n        ')}`,
      );
      if (causes !== undefined) lines.push(`  causes ${JSON.stringify(causes)}`);
      snapshot.add(code, [`${String(given)} ${String(what)}`, ...lines].join('\n'), {
        project: project.directory,
      });
    }
  });

  it('is the message of the snapshot', () => snapshot.compare());
});
