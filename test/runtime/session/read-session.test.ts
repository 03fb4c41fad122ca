import { expect } from 'chai';
import pg from 'pg';
import { dag } from '../../../src/runtime/dag/dag.js';
import { findDatabaseError } from '../../../src/runtime/postgres/sqlstate.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn, type RunOptions } from '../../support/run.js';

/** A task writes to one database, and may read from other databases. */
describe('a task with two databases', () => {
  let from: TestDatabase;
  let to: TestDatabase;
  before(async () => {
    [from, to] = await Promise.all([createDatabase({ mayLeak: true }), createDatabase({ mayLeak: true })]);
    await from.query('create table item (id int primary key)');
    await to.query('create table item (id int primary key)');
  });
  after(() => Promise.all([from.drop(), to.drop()]));
  beforeEach(async () => {
    await from.query('truncate item; insert into item select generate_series(1, 100)');
    await to.query('truncate item; drop schema if exists etl cascade');
  });

  const run = (graph: ReturnType<typeof dag>, options?: RunOptions) =>
    runOn({ from: from.url, to: to.url }, graph, options);
  const count = async (db: TestDatabase) =>
    (await db.query<{ n: number }>('select count(*)::int as n from item'))[0]?.n;

  it('reads the second database in one snapshot, and creates no ledger there', async () => {
    const graph = dag('d', { defaults: { conn: 'to' } }, (d) => {
      d.session('copy', { reads: ['from'] }, async ({ session, sources }) => {
        const first = await sources.from('item').select('id');
        await from.query('insert into item values (101)');
        const second = await sources.from('item').select('id');
        await session('item').insert(second);
        return first.length === second.length;
      });
    });
    const { state, tasks, runId } = await run(graph);
    expect(state, tasks[0]?.error?.message).to.equal('success');
    expect(await to.query('select result from etl.task where run_id = $1', [runId])).to.deep.equal([
      { result: true },
    ]);
    expect(await count(to)).to.equal(100);
    expect(await from.query(`select to_regnamespace('etl') as schema`)).to.deep.equal([{ schema: null }]);
    expect(await from.leftSessions()).to.deep.equal([]);
  });

  it('can not write to the database that it reads', async () => {
    const graph = dag('d', { defaults: { conn: 'to' } }, (d) => {
      d.session(
        'move',
        { reads: ['from'] },
        async ({ sources }) => void (await sources.from('item').delete()),
      );
    });
    const { tasks } = await run(graph);
    expect(findDatabaseError(tasks[0]?.error)?.code).to.equal('25006');
    expect(await count(from)).to.equal(100);
    expect(await from.leftSessions()).to.deep.equal([]);
  });

  it('ends at its timeout while it reads the second database', async () => {
    const graph = dag('d', { defaults: { conn: 'to', timeout: '300ms' } }, (d) => {
      d.session(
        'slow',
        { reads: ['from'] },
        async ({ sources }) => void (await sources.from.raw('select pg_sleep(30)')),
      );
    });
    const { outcome } = await run(graph);
    expect(outcome('slow')).to.equal('failed ETL-3301');
    expect(await from.leftSessions()).to.deep.equal([]);
  });

  it('moves rows safely as two tasks, a copy and then a delete: dying between them loses and doubles nothing', async () => {
    let dies = true;
    const graph = dag('d', { defaults: { conn: 'to' } }, (d) => {
      const copy = d.session('copy', { reads: ['from'] }, async ({ session, sources }) => {
        await session('item').insert(await sources.from('item').select('id'));
      });
      d.session('delete', { conn: 'from', needs: [copy] }, async ({ session }) => {
        await session('item').delete();
        if (dies) throw new Error('the process dies here');
      });
    });
    const { runId } = await run(graph);
    expect([await count(from), await count(to)]).to.deep.equal([100, 100]);
    dies = false;
    await run(graph, { resume: { kind: 'resume', runId, interval: undefined, strict: false } });
    expect([await count(from), await count(to)]).to.deep.equal([0, 100]);
  });

  it('loses all rows if it writes to both databases with a connection of its own, and dies at the end', async () => {
    const graph = dag('d', { defaults: { conn: 'to' } }, (d) => {
      d.session('move', {}, async ({ session }) => {
        const own = new pg.Client({ connectionString: from.url });
        await own.connect();
        const { rows } = await own.query<{ id: number }>('delete from item returning id');
        await own.end();
        await session('item').insert(rows);
        throw new Error('the process dies here');
      });
    });
    await run(graph);
    expect([await count(from), await count(to)]).to.deep.equal([0, 0]);
  });
});
