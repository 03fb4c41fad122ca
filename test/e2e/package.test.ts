import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { installPacked } from '../support/packed.js';

const run = promisify(execFile);

/** The limits of the tree that `npm install @oneshot/etl` makes in an empty folder, peer dependencies included. */
const MOST_PACKAGES = 60;
const MOST_MEGABYTES = 22;

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
  /** A project with our package and the peer dependencies that npm installs: Knex and pg. */
  let project: string;

  before(async () => {
    db = await createDatabase();
    await db.query('create table item (name text primary key)');
    folder = await mkdtemp(join(tmpdir(), 'etl-package-'));
    ({ directory: project, packed } = await installPacked(folder, CONFIG));
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

  it('contains only the program, its types and its documents', async () => {
    const shared = ['knex', 'objection', 'pg'].map((name) => `dist/shared/${name}.cjs`);
    const programs = [
      'etl.cjs',
      'watchdog-thread.cjs',
      'iconv-lite.cjs',
      'parser.cjs',
      'typescript.cjs',
      'api.cjs',
      'index.js',
      'testing.js',
      'index.cjs',
      'testing.cjs',
    ];
    const migrations = (await readdir(join(ROOT, 'src/runtime/ledger/migrations'))).map(
      (name) => `migrations/${name}`,
    );
    const built = [
      ...programs,
      'index.d.ts',
      'testing.d.ts',
      'types.d.ts',
      'index.d.cts',
      'testing.d.cts',
      'types.d.cts',
      'etl.licenses.txt',
      'sbom.cdx.json',
      ...migrations,
    ].map((name) => `dist/${name}`);
    const docs = (await readdir(join(ROOT, 'docs'))).map((name) => `docs/${name}`);
    const documents = [
      'CHANGELOG.md',
      'CONTRIBUTING.md',
      'LICENSE',
      'README.md',
      'SECURITY.md',
      'package.json',
      ...docs,
    ];
    const licenses = await readFile(join(ROOT, 'dist/etl.licenses.txt'), 'utf8');
    for (const name of ['@oclif/core', 'knex', 'objection', 'pg'])
      expect(licenses).to.match(new RegExp(`^${name} [\\d.]+, MIT\\n\\n`, 'm'));
    // pg-types has the text in its README.
    expect(licenses).to.match(
      /^pg-types [\d.]+, MIT\n\nThe MIT License \(MIT\)[^]*?Permission is hereby granted/m,
    );
    expect(packed).to.have.members([...documents, 'bin/package.json', 'bin/run.js', ...built, ...shared]);
  });

  it('has no document with a link to a file or a heading that it lacks', async () => {
    const documents = packed.filter((path) => path.endsWith('.md'));
    const read = (path: string) => readFile(join(project, 'node_modules/@oneshot/etl', path), 'utf8');
    const dead: string[] = [];
    for (const path of documents)
      for (const [, link = ''] of (await read(path)).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (link.startsWith('https:')) continue;
        const [file = '', heading] = link.split('#');
        const target = file === '' ? path : join(dirname(path), file);
        const isThere =
          packed.includes(target) && (heading === undefined || listAnchors(await read(target)).has(heading));
        if (!isThere) dead.push(`${path}: ${link}`);
      }
    expect(dead).to.deep.equal([]);
  });

  it('runs a config that imports the package, Knex and Objection beside the config', async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    const bin = join(project, 'node_modules/.bin/etl');
    expect(await etl(bin, ['--version'], project)).to.match(new RegExp(`^@oneshot/etl/${version} `));
    expect(await etl(bin, ['run', 'd'], project)).to.match(/^OK {2}3 ok/m);
    expect(await db.query('select name from item')).to.deep.equal([{ name: 'item 1' }]);
  });

  it('runs a config that has no packages beside it, with the shared packages of the program', async () => {
    const elsewhere = join(folder, 'elsewhere');
    await mkdir(elsewhere);
    await writeFile(join(elsewhere, 'etl.config.ts'), CONFIG);
    const bin = join(project, 'node_modules/@oneshot/etl/bin/run.js');
    expect(await etl(process.execPath, [bin, 'run', 'd'], elsewhere)).to.match(/^OK {2}3 ok/m);
    expect(await db.query('select name from item')).to.deep.equal([{ name: 'item 1' }]);
  });

  it('runs a Dag from a program with `runDag`', async () => {
    const program = join(project, 'program.js');
    await writeFile(
      program,
      `import { dag, runDag } from '@oneshot/etl';
       const d = dag('from-code', { defaults: { conn: 'db' } }, (d) => ({
         added: d.session('add', {}, async ({ session }) => session('item').insert({ name: 'x' }).returning('name')),
       }));
       const { state, results } = await runDag(d);
       console.log(state, JSON.stringify(results.added));`,
    );
    expect(await etl(process.execPath, [program], project)).to.equal('success [{"name":"x"}]\n');
    expect(await db.query('select name from item')).to.deep.equal([{ name: 'x' }]);
  });

  it('validates the input of a model with a JSON schema', async () => {
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

  for (const location of ['beside the packages', 'elsewhere']) {
    it(`is one instance for all files of a config ${location}, and so are knex, objection and pg`, async () => {
      const directory = location === 'elsewhere' ? join(folder, 'apart') : join(project, 'nested');
      await mkdir(directory);
      await writeFile(join(directory, 'package.json'), '{}');
      const imports = `import { dag } from '@oneshot/etl'; import knex from 'knex';
        import { Model } from 'objection'; import pg from 'pg';`;
      await writeFile(
        join(directory, 'native.mjs'),
        `${imports} export const native = [dag('native', {}, (d) => void d.task('t', {}, async () => null)), knex, Model, pg.Client];`,
      );
      await writeFile(
        join(directory, 'etl.config.ts'),
        `${imports} import { native } from './native.mjs'; const [first, ...others] = native;
         const same = [knex, Model, pg.Client].map((each, index) => each === others[index]);
         export default { dags: [first, dag(same.join('-'), {}, (d) => void d.task('t', {}, async () => null))] };`,
      );
      const bin = join(project, 'node_modules/@oneshot/etl/bin/run.js');
      const listed = await etl(process.execPath, [bin, 'list'], directory);
      expect(listed.split(/\s+/)).to.include.members(['native', 'true-true-true']);
    });
  }

  it('says what to install for the embedded database, which the package does not contain', async () => {
    const bin = join(project, 'node_modules/.bin/etl');
    const ended = etl(bin, ['run', 'd', '--conn', 'db=pglite::memory:'], project);
    const output = await ended.catch((error: unknown) => {
      const { code, stderr } = error as { code: number; stderr: string };
      return `${code} ${stderr}`;
    });
    expect(output).to.match(/^2 ETL-\d+ the embedded database needs the package @electric-sql\/pglite/);
    expect(output).to.include('npm i @electric-sql/pglite');
  });

  it('etl check finds the packages that a task needs and that are not installed', async () => {
    const lacking = join(project, 'lacking');
    await mkdir(lacking);
    await writeFile(
      join(lacking, 'etl.config.ts'),
      `import { dag, defineConfig } from '@oneshot/etl';
       const d = dag('d', { defaults: { conn: 'db' } }, (d) => {
         d.load('in', { from: ['a.csv', 'a.parquet'], into: 't', mode: 'append' });
         d.load('named', { from: 'a.data', format: 'parquet', into: 't', mode: 'append' });
         d.unload('out', { table: 't', to: 'b.parquet' });
         d.unload('plain', { table: 't', to: 'b.csv' });
       });
       export default defineConfig({ dags: [d] });`,
    );
    const bin = join(project, 'node_modules/.bin/etl');
    const { code, stderr } = (await etl(bin, ['check'], lacking).catch((error: unknown) => error)) as {
      code: number;
      stderr: string;
    };
    expect(code, stderr).to.equal(2);
    expect([...stderr.matchAll(/^ETL-\d+/gm)].map(String)).to.deep.equal([
      'ETL-3557',
      'ETL-3557',
      'ETL-3603',
    ]);
    expect(stderr)
      .to.match(/hyparquet/)
      .and.to.match(/hyparquet-writer/);
  });

  it('has types that pass the type check of a strict TypeScript project', async () => {
    const typed = join(folder, 'typed');
    await cp(project, typed, { recursive: true });
    for (const name of ['@types/node', 'undici-types', 'objection', 'ajv', 'fast-uri', 'db-errors'])
      await copyPackage(name, typed);
    await typeCheck(typed);
  });

  it('has types that pass the type check without Objection and the types of pg, with skipLibCheck off', async () => {
    const typed = join(folder, 'typed-without-objection');
    await cp(project, typed, { recursive: true });
    for (const name of ['@types/node', 'undici-types']) await copyPackage(name, typed);
    const config = `import { dag, defineConfig, type Session } from '@oneshot/etl';
      class Item { static bindKnex(knex: { raw(sql: string): unknown }) { void knex; return Item; } }
      const add = async ({ session }: { session: Session }) => {
        session.bind(Item);
        // @ts-expect-error a string is no model
        session.bind('item');
        // @ts-expect-error the runner commits
        session.commit();
        return (await session('item').select('name')).length;
      };
      export default defineConfig({ dags: [dag('d', {}, (d) => {
        const added = d.session('add', {}, add);
        d.task('after', { needs: { added } }, async ({ upstream }) => { const n: number = upstream.added; return n; });
      })] });`;
    await writeFile(join(typed, 'etl.config.ts'), config);
    await typeCheck(typed, { skipLibCheck: false });
  });

  it(`is installed with its peers in at most ${MOST_PACKAGES} packages and ${MOST_MEGABYTES} MB, without install scripts`, async () => {
    const lock = await readFile(join(project, 'node_modules/.package-lock.json'), 'utf8');
    const { packages } = JSON.parse(lock) as { packages: Record<string, { hasInstallScript?: true }> };
    const names = Object.keys(packages);
    expect(names).to.include.members(['node_modules/knex', 'node_modules/pg', 'node_modules/jiti']);
    expect(names).to.not.include('node_modules/objection');
    expect(names.filter((name) => name.includes('@types/'))).to.deep.equal([]);
    expect(names.length).to.be.at.most(MOST_PACKAGES);
    expect((await readSize(join(project, 'node_modules'))) / 1e6).to.be.below(MOST_MEGABYTES);
    expect(names.filter((name) => packages[name]?.hasInstallScript)).to.deep.equal([]);
  });
});

/** Lists the names by which a link reaches the headings of a document, as GitHub and npm make them. */
function listAnchors(text: string): ReadonlySet<string> {
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) => title.toLowerCase());
  return new Set(headings.map((title) => title.replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-')));
}

/** Type-checks the config of a project. Fails with the messages of the compiler. */
async function typeCheck(project: string, options: object = {}): Promise<void> {
  const compilerOptions = {
    strict: true,
    module: 'NodeNext',
    target: 'ES2022',
    noEmit: true,
    types: ['node'],
  };
  const tsconfig = { compilerOptions: { ...compilerOptions, ...options }, files: ['etl.config.ts'] };
  await writeFile(join(project, 'tsconfig.json'), JSON.stringify(tsconfig));
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
  const checked = run(process.execPath, [tsc, '-p', project]);
  await checked.catch((error: unknown) => expect.fail((error as { stdout: string }).stdout));
}

/** Copies a package of this checkout to a project. */
async function copyPackage(name: string, project: string, from = name): Promise<void> {
  const copy = join(project, 'node_modules', name);
  await mkdir(dirname(copy), { recursive: true });
  await cp(join(ROOT, 'node_modules', from), copy, { recursive: true });
}

/** Returns the size of all files below a folder, in bytes. */
async function readSize(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(
    files.map(async (file) => (await stat(join(file.parentPath, file.name))).size),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
