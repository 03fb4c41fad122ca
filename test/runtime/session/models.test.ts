import { expect } from 'chai';
import { Model, type RelationMappings } from 'objection';
import { dag } from '../../../src/runtime/dag/dag.js';
import type { Session } from '../../../src/runtime/session/session.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

class Pet extends Model {
  static override tableName = 'pet';
  declare id: number;
  declare name: string;
  declare ownerId: number | null;
}

class Owner extends Model {
  static override tableName = 'owner';
  static override get relationMappings(): RelationMappings {
    return {
      pets: {
        relation: Model.HasManyRelation,
        modelClass: Pet,
        join: { from: 'owner.id', to: 'pet.ownerId' },
      },
    };
  }
  declare id: number;
  declare name: string;
  declare pets?: Pet[];
}

describe('a session with models', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query(`create table owner (id serial primary key, name text);
      create table pet (id serial primary key, name text unique, "ownerId" int references owner)`);
  });
  after(() => db.drop());
  beforeEach(() => db.query('truncate owner, pet restart identity'));

  const run = async (body: (session: Session) => Promise<unknown>) => {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('s', {}, async ({ session }) => (await body(session)) as null);
    });
    const { tasks, runId } = await runOn({ db: db.url }, graph);
    const [row] = await db.query<{ result: unknown }>('select result from etl.task where run_id = $1', [
      runId,
    ]);
    return { task: tasks[0], result: row?.result };
  };
  const pets = async () =>
    (await db.query<{ name: string }>('select name from pet order by id')).map(({ name }) => name);

  it('runs insertGraph, upsertGraph and withGraphFetched in its transaction', async () => {
    const { result } = await run(async (session) => {
      await Owner.query(session).insertGraph({
        name: 'Ann',
        pets: [{ name: 'Rex' }, { name: 'Tom' }],
      } as object);
      await Owner.query(session).upsertGraph({
        id: 1,
        name: 'Anna',
        pets: [{ id: 1, name: 'Max' }],
      } as object);
      const [owner] = await Owner.query(session).withGraphFetched('pets');
      return [owner?.name ?? null, owner?.pets?.map(({ name }) => name) ?? []];
    });
    expect(result).to.deep.equal(['Anna', ['Max']]);
  });

  it('runs $relatedQuery and $query in its transaction if the session is their argument', async () => {
    await run(async (session) => {
      const owner = await Owner.query(session).insertAndFetch({ name: 'Ann' } as object);
      await owner.$relatedQuery('pets', session).insert({ name: 'Rex' });
      await owner.$query(session).patch({ name: 'Anna' } as object);
    });
    expect(await pets()).to.deep.equal(['Rex']);
  });

  it('binds a class for code that knows no session, and its instances are instances of the class', async () => {
    const addPet = (model: typeof Pet, name: string) => model.query().insertAndFetch({ name } as object);
    const { result } = await run(async (session) => {
      const bound = session.bind(Pet);
      const pet = await addPet(bound, 'Rex');
      return [pet instanceof Pet, session.bind(Pet) === bound];
    });
    expect(result).to.deep.equal([true, true]);
    expect(await pets()).to.deep.equal(['Rex']);
  });

  it('leaves nothing of a graph that fails half-way', async () => {
    const { task } = await run(async (session) =>
      Owner.query(session).insertGraph({ name: 'Ann', pets: [{ name: 'Rex' }, { name: 'Rex' }] } as object),
    );
    expect(task?.error?.why).to.include('SQLSTATE 23505, unique violation');
    expect(await pets()).to.deep.equal([]);
  });

  it('supports session(table), session.raw, batchInsert, streams and savepoints', async () => {
    const { result } = await run(async (session) => {
      await session.batchInsert('pet', [{ name: 'a' }, { name: 'b' }, { name: 'c' }], 2);
      await session.transaction(async (part) => part('pet').insert({ name: 'd' }));
      await session.transaction(async (part) => part('pet').insert({ name: 'd' })).catch(() => undefined);
      const names: string[] = [];
      for await (const row of session('pet').select('name').orderBy('id').stream())
        names.push((row as Pet).name);
      const { rows } = await session.raw<{ rows: { n: number }[] }>(
        'select count(*)::int as n from pet where name <> ?',
        ['a'],
      );
      return [names, rows[0]?.n ?? 0];
    });
    expect(result).to.deep.equal([['a', 'b', 'c', 'd'], 3]);
  });

  it('runs queries that are started together one after the other on its connection', async () => {
    const { result, task } = await run(async (session) =>
      Promise.all(
        [1, 2, 3].map(
          async (n) => (await session.raw<{ rows: { n: number }[] }>('select ?::int as n', [n])).rows[0]?.n,
        ),
      ),
    );
    expect(task?.error).to.equal(undefined);
    expect(result).to.deep.equal([1, 2, 3]);
  });
});
