import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { createProject, ROOT, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

const PEERS = ['knex', 'objection', 'pg'];

const MODULE = `
  import knex from 'knex';
  import { Model } from 'objection';
  import pg from 'pg';
  export default [knex, Model, pg.Client];`;

const CONFIG = `
  import { dag, defineConfig } from '@oneshot/etl';
  import knex from 'knex';
  import { Model } from 'objection';
  import pg from 'pg';
  import knexVersion from 'knex/package.json' with { type: 'json' };
  import objectionVersion from 'objection/package.json' with { type: 'json' };
  import pgVersion from 'pg/package.json' with { type: 'json' };
  import native from './native.mjs';

  class Item extends Model {
    static tableName = 'item';
    static idColumn = 'name';
  }

  async function add({ session }) {
    await Item.query(session).insert({ name: 'by a model' });
    await session.bind(Item).query().insert({ name: 'by a bound model' });
    await session.transaction((savepoint) => Item.query(savepoint).insert({ name: 'in a savepoint' }));
    await Item.query(session).findById('by a model').patch({ name: 'by a patched model' });
    const queries = [Item.query(session).select('name'), knex({ client: 'pg' })('item').select('name')];
    const names = [];
    for (const query of queries) for await (const { name } of session.rows(query)) names.push(name);
    const client = new pg.Client(process.env.ETL_CONN_DB);
    await client.connect();
    const { rows } = await client.query('select count(*)::int as committed from item');
    await client.end();
    const same = [knex, Model, pg.Client].map((each, index) => each === native[index]);
    const versions = [knexVersion, objectionVersion, pgVersion].map(({ version }) => version);
    return { names, committed: rows[0].committed, same, versions };
  }
  async function store({ session, upstream }) {
    await session('seen').insert({ result: JSON.stringify(upstream.added) });
  }

  export default defineConfig({
    dags: [dag('d', { defaults: { conn: 'db' } }, (d) => {
      const added = d.session('add', {}, add);
      d.session('store', { needs: { added } }, store);
    })],
  });`;

const TYPED_CONFIG = `
  import { dag, defineConfig, type SessionContext } from '@oneshot/etl';
  import { knex, type Knex } from 'knex';

  async function add({ session }: SessionContext): Promise<number> {
    const transaction: Knex.Transaction = session;
    await transaction('item').insert({ name: 'item' });
    for await (const { name } of session.rows<{ name: string }>(knex({ client: 'pg' })('item').select('name'))) void name;
    return (await session('item').select('name')).length;
  }

  export default defineConfig({ dags: [dag('d', {}, (d) => void d.session('add', {}, add))] });`;

describe('the oldest Knex, Objection and pg of the peer ranges', function () {
  this.timeout(60_000);
  let db: TestDatabase;
  let project: Project;
  let oldest: readonly string[];

  before(async () => {
    db = await createDatabase();
    await db.query('create table item (name text primary key); create table seen (result jsonb)');
    project = await createProject({ 'etl.config.js': CONFIG, 'native.mjs': MODULE });
    for (const name of PEERS) await copyPackage(`${name}-oldest`, name);
    oldest = await Promise.all(PEERS.map(async (name) => String((await readManifest(name))['version'])));
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await db.drop();
  });

  async function copyPackage(from: string, name: string): Promise<void> {
    const copy = join(project.directory, 'node_modules', name);
    await cp(join(ROOT, 'node_modules', from), copy, { recursive: true });
  }

  async function readManifest(name: string): Promise<Record<string, unknown>> {
    const file = join(project.directory, 'node_modules', name, 'package.json');
    return JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  }

  it('are the lowest versions of the peer dependencies in package.json', async () => {
    const { peerDependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    const lowest = PEERS.map((name) => /^>=(\S+) </.exec(peerDependencies[name])?.[1] ?? '');
    expect(oldest).to.deep.equal(lowest.map((version) => `${version}.0`));
  });

  it('work with a session, and all files of a config import them', async () => {
    const { code, stderr } = await project.cli(['run', 'd'], { ETL_CONN_DB: db.url });
    expect(code, stderr).to.equal(0);
    const added = ['by a bound model', 'by a patched model', 'in a savepoint'];
    const [{ result }] = (await db.query('select result from seen')) as [{ result: { names: string[] } }];
    expect({ ...result, names: result.names.toSorted() }).to.deep.equal({
      names: [...added, ...added].toSorted(),
      committed: 0,
      same: [true, true, true],
      versions: oldest,
    });
  });

  it('have types that fit the types of a session', async () => {
    const own = join(project.directory, 'node_modules/@oneshot/etl');
    await mkdir(join(own, 'dist'), { recursive: true });
    for (const file of ['package.json', 'dist/index.d.ts', 'dist/types.d.ts'])
      await cp(join(ROOT, file), join(own, file));
    await writeFile(join(project.directory, 'typed.ts'), TYPED_CONFIG);
    const options =
      '--ignoreConfig --strict --module NodeNext --target ES2022 --noEmit --skipLibCheck --types node typed.ts';
    const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
    const checked = promisify(execFile)(process.execPath, [tsc, ...options.split(' ')], {
      cwd: project.directory,
    });
    await checked.catch((error: unknown) => expect.fail((error as { stdout: string }).stdout));
  });
});
