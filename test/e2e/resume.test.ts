import { expect } from 'chai';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { createProject, type CliResult, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

const FILES = {
  'etl.config.ts': `
    import { Readable } from 'node:stream';
    import { dag, defineConfig, type DagBuilder } from '@oneshot/etl';
    import { price } from './src/prices.js';
    import { shared } from 'shared';
    import rates from './rates.json' with { type: 'json' };
    const factor = 2;
    const label = (text: string): string => \`<\${text}>\`;
    export default defineConfig({ dags: [
      dag('d', { defaults: { conn: 'db' } }, (d) => {
        const add = (id: string, value: () => unknown) =>
          d.session(id, {}, async ({ session }) => void (await session('t').insert({ id, v: String(value()) })));
        const a = add('a', () => price(10));
        add('b', () => factor * 2);
        add('c', () => label('c'));
        add('e', () => rates.eur);
        add('f', () => shared());
        for (const [country, rate] of [['de', 19], ['fr', 20]] as const) add(country, () => rate);
        d.sql('g', { file: 'g.sql' });
        d.sql('h', { needs: [a], sql: "insert into t values ('h', 'h')" });
        d.session('last', { needs: [a] }, async () => { throw new Error('not yet'); });
      }),
      dag('streamed', { defaults: { conn: 'db' } }, (d) => {
        const load = d.load('load', { from: Readable.from([{ id: 'x', v: 'x' }]), into: 't', mode: 'append' });
        d.sql('after', { needs: [load], sql: "insert into t values ('after', '')" });
      }),
    ] });`,
  'src/prices.ts':
    "import { tax } from './tax.js';\nexport const price = (net: number): number => net * (1 + tax);",
  'src/tax.ts': 'export const tax = 0.1;',
  'rates.json': '{ "eur": 1 }',
  'g.sql': "insert into t values ('g', 'g')",
  'packages/shared/package.json':
    '{ "name": "shared", "version": "1.0.0", "type": "module", "exports": "./index.js" }',
  'packages/shared/index.js': "import { inner } from './inner.js';\nexport const shared = () => inner();",
  'packages/shared/inner.js': "export const inner = () => 'inner';",
};

describe('etl run --resume', () => {
  let db: TestDatabase;
  let project: Project;

  before(async () => {
    db = await createDatabase();
    await db.query('create table t (id text, v text)');
  });
  beforeEach(async () => {
    await db.query('truncate t; drop schema if exists etl cascade');
    project = await createProject({ ...FILES, 'node_modules/.keep': '' });
    // A package of a workspace: its version stays the same whatever changes in it.
    await symlink(join(project.directory, 'packages/shared'), join(project.directory, 'node_modules/shared'));
  });
  afterEach(() => project[Symbol.asyncDispose]());

  it('with --or-resume, one command starts a run, resumes it after a failure, and repeats nothing', async () => {
    await project.write({
      'etl.config.ts': `import { dag, defineConfig } from '@oneshot/etl';
        export default defineConfig({ dags: [dag('d', { defaults: { conn: 'db' } }, (d) => {
          const a = d.sql('a', { sql: "insert into t values ('a', '')" });
          d.session('b', { needs: [a] }, async ({ session }) => {
            if ((await session('t').where({ id: 'go' })).length === 0) throw new Error('not yet');
            await session('t').insert({ id: 'b' });
          });
        }), dag('other', { defaults: { conn: 'db' } }, (d) => { d.sql('a', { sql: 'select 1' }); }),
        dag('free', {}, (d) => { d.task('a', {}, async () => null); })] });`,
    });
    const etl = (dag: string, ...flags: string[]): Promise<CliResult> =>
      project.cli(['run', dag, '--run-id', 'job-1', '--or-resume', ...flags], { ETL_CONN_DB: db.url });
    const readIds = async () =>
      (await db.query<{ id: string }>('select id from t order by id')).map(({ id }) => id);
    expect((await etl('d')).code).to.equal(1);
    expect(await readIds()).to.deep.equal(['a']);
    await db.query("insert into t values ('go')");
    for (const expected of ['1 reused, 1 to run', '2 reused, 0 to run']) {
      const { code, stderr } = await etl('d');
      expect(stderr).to.include(expected);
      expect(code).to.equal(0);
      expect(await readIds()).to.deep.equal(['a', 'b', 'go']);
    }
    expect(await etl('other'), 'the run of another Dag')
      .to.include({ code: 2 })
      .with.property('stderr')
      .that.includes('ETL-2009');
    expect(await etl('free'), 'a Dag without a record')
      .to.include({ code: 2 })
      .with.property('stderr')
      .that.includes('ETL-2007');
    expect(await etl('d', '--task', 'a'), 'one task')
      .to.include({ code: 2 })
      .with.property('stderr')
      .that.includes('ETL-2001');
  });
  after(() => db.drop());

  const etl = (...args: readonly string[]): Promise<CliResult> =>
    project.cli(['run', ...args], { ETL_CONN_DB: db.url });
  const values = async (id: string): Promise<readonly string[]> =>
    (await db.query<{ v: string }>('select v from t where id = $1', [id])).map(({ v }) => v);

  /** Replaces texts in the files of the project. */
  async function change(replacements: Readonly<Record<string, string>>): Promise<void> {
    const files = Object.entries(FILES).map(([name, text]) => {
      let changed = text;
      for (const [old, other] of Object.entries(replacements)) changed = changed.replace(old, other);
      return [name, changed];
    });
    await project.write(Object.fromEntries(files));
  }

  it('runs again only the changed task of a project with one file, and the tasks that need it', async () => {
    expect((await etl('d')).code).to.equal(1);
    await change({ 'net * (1 + tax)': 'net * (1 - tax)' });
    const { stderr } = await etl('d', '--resume');
    expect(stderr)
      .to.include('7 reused, 3 to run')
      .and.include('a  the function "price" in src/prices.ts changed');
    expect(stderr)
      .to.match(/h {2,}needs "a"/)
      .and.match(/last {2,}not done/);
    expect(await values('a')).to.deep.equal(['11', '9']);
    expect(await values('b')).to.deep.equal(['4']);
  });

  it('names the constant, the function, the file or the value that has changed', async () => {
    await etl('d');
    await change({
      'tax = 0.1': 'tax = 0.2',
      'factor = 2': 'factor = 3',
      '<${text}>': '[${text}]',
      '"eur": 1': '"eur": 2',
      "['fr', 20]": "['fr', 21]",
      "'g', 'g'": "'g', 'gg'",
      "'inner'": "'other'",
    });
    const { stderr } = await etl('d', '--resume');
    for (const line of [
      'a  the constant "tax" in src/tax.ts changed',
      'b  the constant "factor" in etl.config.ts changed',
      'c  the function "label" in etl.config.ts changed',
      'e  rates.json changed',
      'f  the function "inner" in packages/shared/inner.js changed',
      'fr  the constant "rate" in etl.config.ts changed',
      'g  g.sql changed',
    ])
      expect(stderr.replaceAll(/ {2,}/g, '  ')).to.include(line);
    expect(stderr).to.include('1 reused');
    expect(await values('de')).to.deep.equal(['19']);
    expect(await values('fr')).to.deep.equal(['20', '21']);
  });

  it('reuses all tasks from another process, from the cache and without the cache', async () => {
    await etl('d');
    for (const env of [{}, { ETL_NO_CACHE: '1' }]) {
      const { stderr } = await project.cli(['run', 'd', '--resume'], { ETL_CONN_DB: db.url, ...env });
      expect(stderr).to.include('9 reused, 1 to run');
    }
  });

  it('is refused with --strict after a change, with the reason, and not without a change', async () => {
    await etl('d');
    expect((await etl('d', '--resume', '--strict')).stderr).to.include('9 reused');
    await change({ 'factor = 2': 'factor = 3' });
    const { code, stderr } = await etl('d', '--resume', '--strict');
    expect(code).to.equal(2);
    expect(stderr)
      .to.match(/^ETL-2006 /)
      .and.include('"b" was changed (the constant "factor" in etl.config.ts changed)');
    expect(await values('b')).to.deep.equal(['4']);
  });

  it('runs a task again that nobody can compare, and the tasks that need it, but not within one run', async () => {
    expect((await etl('streamed')).code).to.equal(0);
    const { stderr } = await etl('streamed', '--resume');
    expect(stderr)
      .to.include("it can't be told whether its `from` changed")
      .and.include('0 reused, 2 to run');
    // Another scheduler starts each task in a process of its own.
    expect((await etl('streamed', '--task', 'load', '--run-id', 'r')).code).to.equal(0);
    expect((await etl('streamed', '--task', 'after', '--run-id', 'r')).code).to.equal(0);
  });

  it('runs all tasks of a run again that another version of etl has recorded, and says so', async () => {
    await etl('d');
    await db.query(`update etl.task set fingerprint = md5(task_id)`);
    const { stderr } = await etl('d', '--resume');
    expect(stderr)
      .to.match(/b {2,}recorded by another version of etl/)
      .and.include('0 reused');
  });
});
