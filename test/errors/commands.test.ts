import { expect } from 'chai';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createProject, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { MessageSnapshot } from './message-snapshot.js';

const IMPORTS = `import { dag, defineConfig } from '@oneshot/etl';\nimport { z } from 'zod';\n`;

/** Returns a config with one Dag, whose body is `body`. */
function configOf(body: string, options = '', more = ''): string {
  return `${IMPORTS}const nightly = dag('nightly', { ${options} }, (d) => { ${body} });
export default defineConfig({ dags: [nightly], defaults: { conn: 'shop' }, ${more} });\n`;
}

const ONE_TASK = configOf(
  `d.sql('load', { sql: 'select 1' });`,
  `params: z.object({ region: z.enum(['eu', 'us']).optional() })`,
);

/** A command that ends with an error before anything is started. */
interface FailingCommand {
  readonly code: string;
  /** The arguments of `etl`, separated by blanks. */
  readonly args: string;
  /** The config. Default: a Dag `nightly` with one task `load`. */
  readonly config?: string;
  /** More files of the project. */
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
}

const COMMANDS: readonly FailingCommand[] = [
  { code: 'ETL-1001', args: 'check', env: { ETL_CONN_SHOP: 'postgres://me:secret-word@127.0.0.1:1/shop' } },
  { code: 'ETL-2001', args: 'run nightly --resume --param region=eu' },
  { code: 'ETL-2002', args: 'run nigthly' },
  { code: 'ETL-2003', args: 'lst' },
  { code: 'ETL-2004', args: 'run nightly --task lod --run-id r1' },
  { code: 'ETL-2005', args: 'run nightly --date 2026-02-30' },
  {
    code: 'ETL-2007',
    args: 'run nightly --resume',
    config: `${IMPORTS}export default defineConfig({ dags: [dag('nightly', {}, (d) => { d.task('mail', {}, async () => null) })] });`,
  },
  { code: 'ETL-2009', args: 'run nightly --resume --run-id r99' },
  { code: 'ETL-2010', args: 'list', env: { ETL_ENV: '../secrets' } },
  { code: 'ETL-2013', args: 'show r99' },
  { code: 'ETL-2014', args: 'state get nightly load updated' },
  {
    code: 'ETL-2016',
    args: 'run nightly --full-refresh-task one',
    config: configOf(
      ['one', 'two']
        .map(
          (id) =>
            `d.transfer('${id}', { from: 'shop', table: 'a', into: 't', mode: 'append', incremental: { cursor: 'id' } });`,
        )
        .join('\n'),
    ),
  },
  { code: 'ETL-2017', args: 'explain 22O1' },
  { code: 'ETL-2019', args: 'init', files: { 'package.json': '[]' } },
  {
    code: 'ETL-2020',
    args: 'init --knexfile knexfile.js --env stagign',
    files: { 'knexfile.js': `export default { staging: { client: 'pg', connection: 'postgres://a' } };` },
  },
  { code: 'ETL-2101', args: 'list --config nope.ts' },
  { code: 'ETL-2103', args: 'list', config: `${IMPORTS}export default defineConfig({ dags: [ );` },
  {
    code: 'ETL-2104',
    args: 'list',
    config: `import { Order } from './modles/order.js';\nexport default { dags: [Order] };`,
  },
  { code: 'ETL-2105', args: 'list', config: `${IMPORTS}export default () => defineConfig({ dags: [] });` },
  { code: 'ETL-2106', args: 'list', config: `${IMPORTS}export default defineConfig({ dagz: [] });` },
  { code: 'ETL-2201', args: 'check', env: { ETL_CONN_SHOP: 'db.example.com' } },
  { code: 'ETL-2202', args: 'check', config: configOf(`d.sql('load', { conn: 'shpo', sql: 'select 1' });`) },
  {
    code: 'ETL-2203',
    args: 'check',
    config: configOf(
      `d.sql('load', { sql: 'select 1' });`,
      '',
      `connections: { sales: 'postgres://a', Sales: 'postgres://b' }`,
    ),
  },
  { code: 'ETL-2204', args: 'check', env: { ETL_CONN_SHOP: 'postgres://db/shop?sslmod=require' } },
  { code: 'ETL-2205', args: 'check', env: { ETL_CONN_SHOP: 'mysql://db/shop' } },
  { code: 'ETL-2206', args: 'check', env: { ETL_CONN_SHOP: 'postgres://db/shop?sslmode=always' } },
  { code: 'ETL-2207', args: 'check', env: { ETL_CONN_SHOP: 'postgres://me@db/shop?gssencmode=require' } },
  { code: 'ETL-2208', args: 'check', env: { ETL_CONN_SHOP: 'postgres://me@db/shop?sslmode=verify-full' } },
  {
    code: 'ETL-2215',
    args: 'check',
    env: { ETL_CONN_SHOP: 'service=shop', PGSERVICEFILE: 'services.conf' },
    files: { 'services.conf': '[shop]\nhost = db\n' },
  },
  {
    code: 'ETL-2216',
    args: 'check',
    config: configOf(
      `d.sql('load', { conn: 'sealed', sql: 'select 1' });`,
      '',
      `connections: { sealed: async () => { throw new Error('the secret manager does not answer'); } }`,
    ),
  },
  { code: 'ETL-2212', args: 'check', env: { ETL_CONN_SHOP: 'pglite:src' }, files: { 'src/index.ts': '' } },
  {
    code: 'ETL-2301',
    args: 'list',
    config: configOf(`d.sql('load', { sql: 'select 1' });\n d.sql('load', { sql: 'select 2' });`),
  },
  {
    code: 'ETL-2302',
    args: 'list',
    config: configOf(`d.sql('load', { needs: { other: 'other' }, sql: 'select 1' });`),
  },
  { code: 'ETL-2303', args: 'list', config: configOf(`d.sql('load', { sql: 'select 1', retries: -1 });`) },
  {
    code: 'ETL-2304',
    args: 'list',
    config: configOf(`d.sql('load', { sql: 'select 1' });`, `schedule: '0 25 * * *'`),
  },
  { code: 'ETL-2305', args: 'list', config: configOf(`d.sql('load orders', { sql: 'select 1' });`) },
  {
    code: 'ETL-2306',
    args: 'check',
    config: `${IMPORTS}export default defineConfig({ dags: [dag('d', {}, (d) => { d.sql('a', { sql: 'select 1' }) })] });`,
  },
  {
    code: 'ETL-2307',
    args: 'list',
    config: `${IMPORTS}let kept;
const d = dag('d', {}, (d) => { kept = d; d.task('a', {}, async () => null); });
kept.task('late', {}, async () => null);
export default defineConfig({ dags: [d] });`,
  },
  {
    code: 'ETL-2308',
    args: 'list',
    config: `${IMPORTS}export default defineConfig({ dags: [dag('d', {}, async () => {})] });`,
  },
  {
    code: 'ETL-2309',
    args: 'list',
    config: `${IMPORTS}export default defineConfig({ dags: [dag('d', {}, () => {})] });`,
  },
  {
    code: 'ETL-2310',
    args: 'check',
    config: configOf(`for (const id of ['a', 'b'])
      d.load(id, { from: id + '.csv', into: id, mode: 'append', rejects: { max: 9, to: 'rejects.ndjson' } });`),
  },
  {
    code: 'ETL-2018',
    args: 'list',
    env: { NODE_OPTIONS: '--disallow-code-generation-from-strings' },
  },
  { code: 'ETL-2401', args: 'run nightly -p regoin=eu' },
  { code: 'ETL-2402', args: 'run nightly -p region=moon' },
  { code: 'ETL-3005', args: 'check', config: configOf(`d.sql('load', { file: 'sql/reprot.sql' });`) },
];

describe('the message of a command that starts nothing', () => {
  const snapshot = new MessageSnapshot('commands');
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
  });
  after(() => db.drop());

  /** Calls `etl` in a project, and keeps its message. The connection `shop` is the database of this test. */
  async function keep(
    code: string,
    project: Project,
    args: string,
    env: FailingCommand['env'] = {},
  ): Promise<void> {
    const { code: exit, stderr } = await project.cli(args.split(' '), { ETL_CONN_SHOP: db.url, ...env });
    expect(exit, stderr).to.not.equal(0);
    snapshot.add(code, stderr, { project: project.directory });
  }

  for (const { code, args, config = ONE_TASK, files = {}, env } of COMMANDS) {
    it(`${code} is reported by etl ${args}`, async () => {
      await using project = await createProject({ 'etl.config.ts': config, ...files });
      await keep(code, project, args, env);
    });
  }

  it('ETL-2102 is reported for a config that every user can write', async () => {
    await using project = await createProject({ 'etl.config.ts': ONE_TASK });
    await chmod(join(project.directory, 'etl.config.ts'), 0o666);
    await keep('ETL-2102', project, 'list');
  });

  it('ETL-2107 is reported for an .env file that is not text', async () => {
    await using project = await createProject({ 'etl.config.ts': ONE_TASK });
    await writeFile(join(project.directory, '.env'), Buffer.from([0x41, 0x3d, 0xff]));
    await keep('ETL-2107', project, 'list');
  });

  it('ETL-2210 is reported for a connection ID that is not valid', async () => {
    await using project = await createProject({ 'etl.config.ts': ONE_TASK });
    const { stderr } = await project.cli(['connections', 'test', 'my db']);
    snapshot.add('ETL-2210', stderr, { project: project.directory });
  });

  it('the errors about a recorded run name the run', async () => {
    await using project = await createProject({ 'etl.config.ts': ONE_TASK });
    for (const id of ['first-run', 'first-two'])
      expect(
        (await project.cli(['run', 'nightly', '--run-id', id], { ETL_CONN_SHOP: db.url })).code,
      ).to.equal(0);
    await keep('ETL-2008', project, 'run nightly --run-id first-run');
    await keep('ETL-2012', project, 'show first-');
    await project.write({ 'etl.config.ts': ONE_TASK.replace('select 1', 'select 2') });
    await keep('ETL-2006', project, 'run nightly --resume --strict');
    const two = configOf(
      `const load = d.sql('load', { sql: 'select 1' }); d.sql('report', { needs: { load }, sql: 'select 1' });`,
    );
    await project.write({ 'etl.config.ts': two });
    await keep('ETL-2011', project, 'run nightly --task report --run-id new-run');
  });

  it('the errors about a ledger that can not be used name the connection', async () => {
    await using other = await createDatabase();
    await using project = await createProject({ 'etl.config.ts': ONE_TASK });
    const env = { ETL_CONN_SHOP: other.url };
    expect((await project.cli(['run', 'nightly'], env)).code).to.equal(0);
    const role = `${other.name}_poor`;
    await other.query(`create role ${role} login password 'only-for-this-test'`);
    const poor = new URL(other.url);
    [poor.username, poor.password] = [role, 'only-for-this-test'];
    const varying = { project: project.directory, role };
    const fails = async (code: string, args: string): Promise<void> => {
      const { stderr } = await project.cli(args.split(' '), { ETL_CONN_SHOP: poor.href });
      snapshot.add(code, stderr, varying);
    };
    await fails('ETL-4004', 'runs');
    await fails('ETL-4005', 'ledger status');
    await fails('ETL-4006', 'run nightly');
    await other.query('insert into etl.migration (version) values (99)');
    snapshot.add('ETL-4001', (await project.cli(['run', 'nightly'], env)).stderr, varying);
    await other.query('drop schema etl cascade');
    await fails('ETL-4007', 'check');
    await other.query(`drop role ${role}`);
  });

  it('is the message of the snapshot', () => snapshot.compare());
});
