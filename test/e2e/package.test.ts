import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

const run = promisify(execFile);

/** Packages that somebody who installs ours gets with it. The number may fall; who lets it grow says why. */
const MOST_PACKAGES = 107;

const CONFIG = `
  import { dag, defineConfig, type SessionContext } from '@oneshot/etl';
  import knex from 'knex';
  import { Model } from 'objection';

  class Item extends Model {
    static override tableName = 'item';
    static override idColumn = 'name';
    declare name: string;
  }

  async function add({ session, upstream }: SessionContext<object, undefined, { first: number }>): Promise<string[]> {
    await Item.query(session).insert({ name: 'item ' + upstream.first });
    const { rows } = await session.raw<{ rows: Item[] }>(knex({ client: 'pg' })('item').select('name').toString());
    return rows.map(({ name }) => name);
  }

  export default defineConfig({
    dags: [
      dag('d', { defaults: { conn: 'db' } }, (d) => {
        const first = d.task('first', {}, async () => 1);
        const added = d.session('add', { needs: { first } }, add);
        d.sql('count', { needs: { added }, sql: ({ upstream }) => ({ text: 'select $1::int', values: [upstream.added.length] }) });
      }),
    ],
  });`;

describe('the package', function () {
  this.timeout(60_000);
  let db: TestDatabase;
  let folder: string;
  let packed: readonly string[];
  /** A project that has nothing but our package. */
  let project: string;

  before(async () => {
    db = await createDatabase();
    await db.query('create table item (name text primary key)');
    folder = await mkdtemp(join(tmpdir(), 'etl-package-'));
    const { stdout } = await npm(ROOT, ['pack', '--ignore-scripts', '--json', '--pack-destination', folder]);
    const [{ filename, files }] = JSON.parse(stdout);
    packed = files.map(({ path }: { path: string }) => path);
    project = join(folder, 'project');
    await mkdir(project);
    await writeFile(join(project, 'package.json'), '{ "type": "module" }');
    await writeFile(join(project, 'etl.config.ts'), CONFIG);
    await install(project, join(folder, filename));
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
    await db.drop();
  });
  beforeEach(() => db.query('truncate item'));

  async function etl(program: string, args: readonly string[], cwd: string): Promise<string> {
    const env = { PATH: process.env['PATH'], HOME: folder, ETL_CONN_DB: db.url };
    const { stdout, stderr } = await run(program, args, { cwd, env, timeout: 30_000 });
    return stdout + stderr;
  }

  it('holds the program, its types and its documents, and nothing else', async () => {
    const types = packed.filter((name) => /^dist\/.*\.d\.ts$/.test(name));
    expect(types).to.include('dist/index.d.ts');
    const programs = ['etl.cjs', 'watchdog-thread.cjs', 'api.cjs', 'index.js'];
    const built = programs.map((name) => `dist/${name}`);
    const documents = ['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json', 'dist/etl.licenses.txt'];
    const licenses = await readFile(join(ROOT, 'dist/etl.licenses.txt'), 'utf8');
    for (const name of ['@oclif/core', 'knex', 'objection', 'pg'])
      expect(licenses).to.match(new RegExp(`^${name} [\\d.]+, MIT\\n\\n`, 'm'));
    expect(packed).to.have.members([...documents, 'bin/package.json', 'bin/run.js', ...built, ...types]);
  });

  it('runs where it is installed, for a config that imports it, Knex and Objection', async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    const bin = join(project, 'node_modules/.bin/etl');
    expect(await etl(bin, ['--version'], project)).to.match(new RegExp(`^@oneshot/etl/${version} `));
    expect(await etl(bin, ['run', 'd'], project)).to.match(/^OK {2}3 ok/m);
    expect(await db.query('select name from item')).to.deep.equal([{ name: 'item 1' }]);
  });

  it('runs a config that has no packages beside it: it lends them', async () => {
    const elsewhere = join(folder, 'elsewhere');
    await mkdir(elsewhere);
    await writeFile(join(elsewhere, 'etl.config.ts'), CONFIG);
    const bin = join(project, 'node_modules/@oneshot/etl/bin/run.js');
    expect(await etl(process.execPath, [bin, 'run', 'd'], elsewhere)).to.match(/^OK {2}3 ok/m);
    expect(await db.query('select name from item')).to.deep.equal([{ name: 'item 1' }]);
  });

  it('validates what a model with a JSON schema is given', async () => {
    const validating = join(folder, 'validating');
    await mkdir(validating);
    await writeFile(
      join(validating, 'etl.config.ts'),
      `import { dag, defineConfig } from '@oneshot/etl';
       import { Model, ValidationError } from 'objection';
       class Item extends Model {
         static override tableName = 'item';
         static override idColumn = 'name';
         static override jsonSchema = { type: 'object', properties: { name: { type: 'string', format: 'email' } } };
       }
       async function add({ session }) {
         await Item.query(session).insert({ name: 'a@example.com' });
         await Item.query(session).insert({ name: 'b' }).catch((error) => {
           if (!(error instanceof ValidationError)) throw error;
         });
       }
       export default defineConfig({ dags: [dag('d', { defaults: { conn: 'db' } }, (d) => void d.session('add', {}, add))] });`,
    );
    const bin = join(project, 'node_modules/@oneshot/etl/bin/run.js');
    expect(await etl(process.execPath, [bin, 'run', 'd'], validating)).to.match(/^OK {2}1 ok/m);
    expect(await db.query('select name from item')).to.deep.equal([{ name: 'a@example.com' }]);
  });

  for (const place of ['beside the packages', 'elsewhere']) {
    it(`is one instance, as are knex, objection and pg, for all files of a config ${place}`, async () => {
      const directory = place === 'elsewhere' ? join(folder, 'apart') : join(project, 'nested');
      await mkdir(directory);
      await writeFile(join(directory, 'package.json'), '{}');
      const imports = `import { dag } from '@oneshot/etl'; import knex from 'knex';
        import { Model } from 'objection'; import pg from 'pg';`;
      await writeFile(
        join(directory, 'native.mjs'),
        `${imports} export const native = [dag('native', {}, () => {}), knex, Model, pg.Client];`,
      );
      await writeFile(
        join(directory, 'etl.config.ts'),
        `${imports} import { native } from './native.mjs'; const [first, ...others] = native;
         const same = [knex, Model, pg.Client].map((each, index) => each === others[index]);
         export default { dags: [first, dag(same.join('-'), {}, () => {})] };`,
      );
      const bin = join(project, 'node_modules/@oneshot/etl/bin/run.js');
      const listed = await etl(process.execPath, [bin, 'list'], directory);
      expect(listed.split(/\s+/)).to.include.members(['native', 'true-true-true']);
    });
  }

  it('says what to install for the embedded database, which it does not bring', async () => {
    const bin = join(project, 'node_modules/.bin/etl');
    const ended = etl(bin, ['run', 'd', '--conn', 'db=pglite::memory:'], project);
    const said = await ended.catch((error: unknown) => {
      const { code, stderr } = error as { code: number; stderr: string };
      return `${code} ${stderr}`;
    });
    expect(said).to.match(/^2 ETL-\d+ the embedded database needs the package @electric-sql\/pglite/);
    expect(said).to.include('npm i @electric-sql/pglite');
  });

  it('has types that a strict TypeScript project can use as they are', async () => {
    const compilerOptions = {
      strict: true,
      module: 'NodeNext',
      target: 'ES2022',
      noEmit: true,
      types: ['node'],
    };
    await writeFile(
      join(project, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, files: ['etl.config.ts'] }),
    );
    const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
    const checked = run(process.execPath, [tsc, '-p', project]);
    await checked.catch((error: unknown) => expect.fail((error as { stdout: string }).stdout));
  });

  it(`brings at most ${MOST_PACKAGES} packages, none of which runs a script when it is installed`, async () => {
    const { packages } = JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8'));
    const brought = Object.entries<Locked>(packages).filter(
      ([path, { dev, optional, devOptional, peer }]) =>
        path !== '' && !(dev ?? optional ?? devOptional ?? peer),
    );
    expect(brought).to.have.lengthOf.within(1, MOST_PACKAGES);
    expect(
      brought.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => path),
    ).to.deep.equal([]);
  });
});

interface Locked {
  readonly dev?: true;
  readonly optional?: true;
  readonly devOptional?: true;
  readonly peer?: true;
  readonly hasInstallScript?: true;
}

function npm(cwd: string, args: readonly string[]): Promise<{ stdout: string }> {
  return run('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], { cwd, timeout: 50_000 });
}

/** From npm's cache, where `npm ci` has put what is needed; over the network only where the cache is another one. */
async function install(cwd: string, tarball: string): Promise<void> {
  const args = ['install', '--ignore-scripts', '--omit=peer', tarball];
  try {
    await npm(cwd, [...args, '--offline']);
  } catch {
    await npm(cwd, [...args, '--prefer-offline']);
  }
}
