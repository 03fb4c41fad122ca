import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { cli, createProject, ROOT, type Project } from '../support/cli.js';
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

/** The versions of Knex and Objection whose pairs are tested, by the names of their packages in package.json. */
const KNEX = { '2.5.0': 'knex-oldest', '3.1.0': 'knex-3.1', '3.2.10': 'knex-3.2', '3.3.0': 'knex' };
const OBJECTION = { '2.2.0': 'objection-oldest', '3.0.5': 'objection-3.0', '3.1.5': 'objection' };
const PAIRS = Object.entries(KNEX).flatMap(([knex, knexPackage]) =>
  Object.entries(OBJECTION).map(([objection, objectionPackage]) => ({
    folder: `knex-${knex}-objection-${objection}`,
    versions: [knex, objection],
    packages: [
      [knexPackage, 'knex'],
      [objectionPackage, 'objection'],
    ] as const,
  })),
);

const PAIR_CONFIG = `
  import { dag, defineConfig, type SessionContext } from '@oneshot/etl';
  import { knex, type Knex } from 'knex';
  import { Model, type RelationMappings } from 'objection';
  import knexVersion from 'knex/package.json' with { type: 'json' };
  import objectionVersion from 'objection/package.json' with { type: 'json' };

  class Pet extends Model {
    static override tableName = 'pet';
    declare id: number;
    declare name: string;
  }
  class Owner extends Model {
    static override tableName = 'owner';
    static override get relationMappings(): RelationMappings {
      const join = { from: 'owner.id', to: 'pet.ownerId' };
      return { pets: { relation: Model.HasManyRelation, modelClass: Pet, join } };
    }
    declare id: number;
    declare name: string;
    declare pets?: Pet[];
  }

  const countPets = async (transaction: Knex.Transaction): Promise<number> =>
    (await transaction<{ name: string }>('pet').select('name')).length;
  const addPet = (db: Knex, name: string) => db('pet').insert({ name });
  const nameOwners = async (model: typeof Owner): Promise<string[]> =>
    (await model.query().orderBy('id')).map(({ name }) => name);

  async function use({ session }: SessionContext) {
    await Owner.query(session).insertGraph({ name: 'Ann', pets: [{ name: 'Rex' }] } as object);
    await Owner.query(session).upsertGraph({ id: 1, name: 'Anna', pets: [{ id: 1, name: 'Max' }] } as object);
    const owner = await Owner.query(session).findById(1).withGraphFetched('pets').throwIfNotFound();
    await owner.$query(session).patch({ name: 'Annabel' } as object);
    await owner.$relatedQuery('pets', session).insert({ name: 'Tom' } as object);
    await session.transaction(async (part) => {
      await Pet.query(part).insert({ name: 'in a savepoint' } as object);
      await part('pet').where({ name: 'Tom' }).delete();
    });
    await session.transaction(async (part) => {
      await Pet.query(part).insert({ name: 'undone' } as object);
      throw new Error('undo');
    }).catch(() => undefined);
    await addPet(session, 'by a function');
    await session.batchInsert('pet', [{ name: 'a' }, { name: 'b' }]);
    const rows: string[] = [];
    for await (const { name } of session.rows<{ name: string }>(Pet.query(session).select('name').orderBy('id'))) rows.push(name);
    for await (const { name } of session.rows<{ name: string }>(knex({ client: 'pg' })('owner').select('name'))) rows.push(name);
    const { rows: [first] } = await session.raw<{ rows: { n: number }[] }>('select ?::int as n', [1]);
    // @ts-expect-error the runner commits
    const commit = () => session.commit();
    void commit;
    return {
      pets: await countPets(session),
      owners: await nameOwners(session.bind(Owner)),
      rows,
      n: first?.n ?? 0,
      versions: [knexVersion.version, objectionVersion.version],
    };
  }

  export default defineConfig({
    dags: [dag('d', { defaults: { conn: 'db' } }, (d) => {
      const used = d.session('use', {}, use);
      d.session('store', { needs: { used } }, async ({ session, upstream }) => {
        await session('seen').insert({ result: JSON.stringify(upstream.used) });
      });
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
    await typeCheck(project.directory, ['typed.ts']);
  });
});

describe('each pair of Knex 2.5 to 3.3 and Objection 2.2 to 3.1', function () {
  this.timeout(100_000);
  let db: TestDatabase;
  let project: Project;

  before(async () => {
    db = await createDatabase();
    await db.query(`create table owner (id serial primary key, name text);
      create table pet (id serial primary key, name text, "ownerId" int references owner);
      create table seen (result jsonb)`);
    project = await createProject({});
    for (const { folder, packages } of PAIRS) {
      const modules = join(project.directory, folder, 'node_modules');
      for (const [from, name] of packages)
        await cp(join(ROOT, 'node_modules', from), join(modules, name), { recursive: true });
      for (const file of ['package.json', 'dist/index.d.ts', 'dist/types.d.ts'])
        await cp(join(ROOT, file), join(modules, '@oneshot/etl', file));
      await project.write({
        [`${folder}/etl.config.ts`]: PAIR_CONFIG,
        [`${folder}/package.json`]: '{"type":"module"}',
      });
    }
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await db.drop();
  });
  beforeEach(() => db.query('truncate owner, pet, seen restart identity'));

  it('has types that fit the types of a session', async () => {
    await typeCheck(
      project.directory,
      PAIRS.map(({ folder }) => `${folder}/etl.config.ts`),
    );
  });

  for (const { folder, versions } of PAIRS) {
    it(`works with a session: Knex ${versions.join(', Objection ')}`, async () => {
      const { code, stderr } = await cli(['run', 'd'], {
        cwd: join(project.directory, folder),
        env: { ETL_CONN_DB: db.url },
      });
      expect(code, stderr).to.equal(0);
      const pets = ['Max', 'in a savepoint', 'by a function', 'a', 'b'];
      expect(await db.query('select result from seen')).to.deep.equal([
        { result: { pets: 5, owners: ['Annabel'], rows: [...pets, 'Annabel'], n: 1, versions } },
      ]);
      expect(await db.query('select name from pet order by id')).to.deep.equal(
        pets.map((name) => ({ name })),
      );
    });
  }
});

/** Type-checks files of a strict project. Fails with the messages of the compiler. */
async function typeCheck(directory: string, files: readonly string[]): Promise<void> {
  const options =
    '--ignoreConfig --strict --noImplicitOverride --module NodeNext --target ES2022 --noEmit --skipLibCheck';
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
  const checked = promisify(execFile)(
    process.execPath,
    [tsc, ...options.split(' '), '--resolveJsonModule', '--types', 'node', ...files],
    { cwd: directory },
  );
  await checked.catch((error: unknown) => expect.fail((error as { stdout: string }).stdout));
}
