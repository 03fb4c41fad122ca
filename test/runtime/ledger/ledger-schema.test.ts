import { expect } from 'chai';
import { SCHEMA_VERSION } from '../../../src/runtime/ledger/schema.js';
import { createProject } from '../../support/cli.js';
import { createDatabase } from '../../support/database.js';
import { FOREIGN_TABLES } from './foreign-tables.js';

const config = (schema: string | undefined): string => `
  import { dag, defineConfig } from '@oneshot/etl';
  export default defineConfig({ ${schema === undefined ? '' : `ledger: { schema: ${JSON.stringify(schema)} },`}
    dags: [dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('a', {}, async ({ session, watermark }) => {
        await session.raw('select 1');
        (await watermark('mark')).set('${schema ?? 'etl'}');
      });
    })] });`;

describe('the schema of the ledger in the config', () => {
  it('keeps the runs of several configs apart in one database, for every command', async () => {
    await using db = await createDatabase();
    const schemas = [undefined, 'etl_shop', 'My "Ledger"', 'bücher'];
    await using project = await createProject(
      Object.fromEntries(schemas.map((schema, i) => [`c${i}.config.ts`, config(schema)])),
    );
    for (const [i, schema] of schemas.entries()) {
      const use = (args: string) =>
        project.cli([...args.split(' '), '--config', `c${i}.config.ts`], { ETL_CONN_DB: db.url });
      const run = await use(`run d --run-id run-${i}`);
      expect(run.code, run.stderr).to.equal(0);
      const runs = await use('runs --json');
      expect((JSON.parse(runs.stdout) as { run_id: string }[]).map((each) => each.run_id)).to.deep.equal([
        `run-${i}`,
      ]);
      expect((await use('state get d a mark')).stdout.trim()).to.equal(schema ?? 'etl');
      for (const args of [
        'check',
        'ledger status',
        `show run-${i}`,
        'state set d a mark 2',
        'state clear d a',
      ])
        expect((await use(args)).code, args).to.equal(0);
      const sql = await use('ledger sql');
      expect(sql.code).to.equal(0);
      await db.query(sql.stdout);
    }
    const made = await db.query(
      `select n.nspname as name from pg_class c join pg_namespace n on n.oid = relnamespace
       where relname = 'migration' order by c.oid`,
    );
    expect(made).to.deep.equal(schemas.map((name) => ({ name: name ?? 'etl' })));
  });

  it('is the argument of `etl ledger sql --schema`', async () => {
    await using db = await createDatabase();
    await using project = await createProject({});
    const { code, stdout } = await project.cli(['ledger', 'sql', '--schema', 'Own']);
    expect(code).to.equal(0);
    await db.query(stdout);
    await db.query(stdout);
    const versions = await db.query('select version from "Own".migration');
    expect(versions).to.have.lengthOf(SCHEMA_VERSION);
    expect(await db.query(`select from pg_namespace where nspname = 'etl'`)).to.deep.equal([]);
  });

  for (const name of ['', 'pg_ledger', 'information_schema', 'x'.repeat(64)]) {
    it(`can not be "${name.slice(0, 20)}"`, async () => {
      await using project = await createProject({ 'etl.config.ts': config(name) });
      const { code, stderr } = await project.cli(['list']);
      expect(code).to.equal(2);
      expect(stderr).to.include('ETL-2106');
    });
  }
});

describe('a schema with tables of another program', () => {
  for (const { title, sql, message } of FOREIGN_TABLES) {
    it(`is refused by every command, and is not changed: ${title}`, async () => {
      await using db = await createDatabase();
      await db.query(sql);
      const read = () =>
        db.query(`select relname, relkind, attname, atttypid::regtype::text from pg_class c
          join pg_attribute a on attrelid = c.oid where relnamespace = 'etl'::regnamespace and attnum > 0 order by 1, 3`);
      const before = await read();
      await using project = await createProject({ 'etl.config.ts': config(undefined) });
      for (const args of ['run d', 'check', 'ledger status', 'ledger migrate', 'runs', 'state list']) {
        const { code, stderr } = await project.cli(args.split(' '), { ETL_CONN_DB: db.url });
        expect(code, `${args}: ${stderr}`).to.equal(2);
        expect(stderr, args)
          .to.include('ETL-4008')
          .and.include(message)
          .and.include("ledger: { schema: 'etl_ledger' }");
      }
      expect(await read()).to.deep.equal(before);
      await using own = await createProject({ 'etl.config.ts': config('etl_ledger') });
      expect((await own.cli(['run', 'd'], { ETL_CONN_DB: db.url })).code).to.equal(0);
      expect(await read()).to.deep.equal(before);
    });
  }
});
