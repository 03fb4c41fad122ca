import { expect } from 'chai';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createProject } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

describe('the faults that etl check', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
  });
  after(() => db.drop());

  const faulty = (body: string, options = ''): string => `
      import { dag, defineConfig } from '@oneshot/etl';
      import { z } from 'zod';
      const d = dag('d', { ${options} }, (d) => { ${body} });
      export default defineConfig({ dags: [d], defaults: { conn: 'shop' }, connections: { shop: process.env['SHOP_URL'] } });`;
  const runFaults: readonly [title: string, config: string, code: string, text: RegExp][] = [
    ['a missing .sql file', faulty(`d.sql('a', { file: 'none.sql' })`), 'ETL-3005', /"none\.sql"/],
    [
      'a .sql file that is not UTF-8',
      faulty(`d.sql('a', { file: 'latin.sql' })`),
      'ETL-3009',
      /latin\.sql:2/,
    ],
    [
      'a command of psql in a .sql file',
      faulty(`d.sql('a', { file: 'psql.sql' })`),
      'ETL-3010',
      /psql\.sql:1:1/,
    ],
    [
      'an unknown name in a .sql file',
      faulty(`d.sql('a', { file: 'name.sql' })`),
      'ETL-3003',
      /name\.sql:1:8/,
    ],
    [
      'an unknown name beside params that are optional',
      faulty(`d.sql('a', { file: 'name.sql' })`, 'params: z.object({ nope: z.string().optional() })'),
      'ETL-3003',
      /did you mean "nope"/,
    ],
    [
      'a connection that only a Dag of plain tasks names',
      faulty(`d.task('a', {}, async () => null)`, `defaults: { conn: 'nowhere' }`),
      'ETL-2202',
      /"nowhere"/,
    ],
    [
      'a connection that a task only reads',
      faulty(`d.session('a', { reads: ['nowhere'] }, async () => null)`),
      'ETL-2202',
      /"nowhere"/,
    ],
    [
      'a connection that a transfer reads',
      faulty(`d.transfer('a', { from: 'nowhere', table: 't', into: 't', mode: 'append' })`),
      'ETL-2202',
      /"nowhere"/,
    ],
  ];
  for (const [title, config, code, text] of runFaults) {
    it(`finds ${title}, which a run refuses with the same code`, async () => {
      await using project = await createProject({
        'etl.config.ts': config,
        'psql.sql': '\\i other.sql',
        'name.sql': 'select :nopes',
      });
      // Latin-1 writes ü as one byte, which is not UTF-8.
      await writeFile(join(project.directory, 'latin.sql'), "select 1;\nselect 'ü'", 'latin1');
      const checked = await project.cli(['check'], { SHOP_URL: db.url });
      expect(checked.code, checked.stderr).to.equal(2);
      expect(checked.stderr)
        .to.match(new RegExp(`^${code} `))
        .and.to.match(text);
      const ran = await project.cli(['run', 'd'], { SHOP_URL: db.url });
      expect(ran.code).to.not.equal(0);
      expect(ran.stdout + ran.stderr).to.include(code);
    });
  }

  it('finds a quote that does not end in SQL from code', async () => {
    await using project = await createProject({
      'etl.config.ts': faulty(`d.sql('a', { sql: ["select 1", "select\\n 'x"] })`),
    });
    const { code, stderr } = await project.cli(['check'], { SHOP_URL: db.url });
    expect({ code, first: stderr.split(' ')[0] }).to.deep.equal({ code: 2, first: 'ETL-3002' });
    expect(stderr).to.include('line 2, column 2 of the SQL text');
  });

  it('does not report names that only the run can know, and names that every run knows', async () => {
    await using project = await createProject({
      'etl.config.ts': faulty(
        `d.sql('a', { file: 'a.sql', values: () => ({ later: 1 }) });
           d.sql('b', { file: 'b.sql', incremental: { table: 't', cursor: 'id' } });
           d.sql('c', { file: 'c.sql' });`,
        'params: z.object({ region: z.string(), other: z.string().optional() })',
      ),
      'a.sql': 'select :later',
      'b.sql': 'select :low, :high, :full_refresh, :ds, :run_id',
      'c.sql': 'select :region, :other, :data_interval_end, a[1:n], b::text from (select 1) as t(a)',
    });
    const { code, stderr } = await project.cli(['check'], { SHOP_URL: db.url });
    expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
  });

  it('reports the errors of all Dags and connections at once', async () => {
    await using project = await createProject({
      'etl.config.ts': `
          import { dag, defineConfig } from '@oneshot/etl';
          const none = dag('none', {}, (d) => { d.sql('x', { sql: 'select 1' }); d.sql('y', { sql: 'select 1' }); });
          const files = dag('files', { defaults: { conn: 'shop' } }, (d) => {
            d.sql('x', { file: 'x.sql' });
            d.sql('y', { file: 'y.sql', conn: 'absent' });
            d.sql('z', { sql: 'select 1', conn: 'away' });
          });
          export default defineConfig({
            dags: [none, files],
            connections: { shop: process.env['SHOP_URL'], away: 'postgres://me:secret-word@127.0.0.1:1/x' },
          });`,
    });
    const { code, stdout, stderr } = await project.cli(['check'], { SHOP_URL: db.url });
    expect(code).to.equal(2);
    expect(stdout).to.include('✖  none  2 tasks  2 errors\n');
    expect(stdout).to.include('✖  files  3 tasks  2 errors\n');
    expect([...stderr.matchAll(/^ETL-\d{4}/gm)].map(String)).to.deep.equal([
      'ETL-2306',
      'ETL-2306',
      'ETL-3005',
      'ETL-3005',
      'ETL-2202',
      'ETL-1001',
    ]);
    expect(stdout + stderr).to.not.include('secret-word');
  });

  it('finds a ledger of a newer version', async () => {
    await using project = await createProject({
      'etl.config.ts': faulty(`d.sql('a', { sql: 'select 1' })`),
    });
    await using newer = await createDatabase();
    expect((await project.cli(['run', 'd'], { SHOP_URL: newer.url })).code).to.equal(0);
    await newer.query('insert into etl.migration (version) values (99)');
    const found = await project.cli(['check'], { SHOP_URL: newer.url });
    expect({ code: found.code, first: found.stderr.split(' ')[0] }).to.deep.equal({
      code: 2,
      first: 'ETL-4001',
    });
  });
});
