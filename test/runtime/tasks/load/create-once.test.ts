import { expect } from 'chai';
import { dag } from '../../../../src/runtime/dag/dag.js';
import type { LoadSource } from '../../../../src/runtime/tasks/load/load-input.js';
import { runOn } from '../../../support/run.js';
import { openWorkbench, type Workbench } from './workbench.js';

const TASKS = ['a', 'b', 'c', 'd'] as const;
/** The lock that holds each load before its COMMIT, until the test opens it. */
const GATE = 4711;

describe('loads that need the same table at the same time', () => {
  let bench: Workbench;
  before(async () => (bench = await openWorkbench()));
  after(() => bench[Symbol.asyncDispose]());
  beforeEach(() => bench.db.query('drop table if exists t, bad, public.other'));

  /**
   * Runs four loads at the same time. The first load that gets so far waits before its COMMIT, until the other three wait
   * for a lock of this load. So all four have begun before the first one commits.
   */
  async function runAll(source: (task: string, i: number) => Partial<LoadSource>) {
    await bench.db.query(`select pg_advisory_lock(${GATE})`);
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      TASKS.forEach((task, i) =>
        d.load(task, {
          from: `${task}.csv`,
          into: 't',
          mode: 'append',
          ...source(task, i),
          checks: [{ name: 'gate', sql: `select 1 where pg_advisory_xact_lock_shared(${GATE}) is null` }],
        }),
      );
    });
    const run = runOn({ db: bench.db.url }, graph, { root: bench.root });
    const waiting = `select count(*)::int as n from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`;
    for (let n = 0; n < TASKS.length;) [{ n } = { n: 0 }] = await bench.db.query<{ n: number }>(waiting);
    await bench.db.query(`select pg_advisory_unlock(${GATE})`);
    const { tasks } = await run;
    return tasks;
  }
  const ids = async (): Promise<number[]> =>
    (await bench.db.query<{ id: number }>('select id::int from t order by id')).map(({ id }) => id);

  for (const [title, names] of [
    ['the same name', ['bad', 'bad', 'bad', 'bad']],
    ['a name with and without its schema', ['bad', 'public.bad', '"bad"', 'PUBLIC.Bad']],
  ] as const) {
    it(`create the table of rejected rows once, by ${title}`, async () => {
      await bench.db.query('create table t (id int)');
      for (const [i, task] of TASKS.entries()) await bench.write({ [`${task}.csv`]: `id\n${i}\nx${i}\n` });
      const tasks = await runAll((_task, i) => ({ rejects: { max: 1, to: names[i] ?? '' } }));
      for (const task of tasks) expect(task.error).to.equal(undefined);
      expect(await ids()).to.deep.equal([0, 1, 2, 3]);
      const bad = await bench.db.query('select task_id, raw from bad order by task_id');
      expect(bad).to.deep.equal(TASKS.map((task, i) => ({ task_id: task, raw: `x${i}` })));
      // The first load waits before its COMMIT, the others for the table, and nobody starts again.
      expect(tasks.map(({ attempts }) => attempts)).to.deep.equal([1, 1, 1, 1]);
    });
  }

  for (const mode of ['append', 'merge'] as const) {
    it(`create the table of the load once, with ${mode}`, async () => {
      for (const [i, task] of TASKS.entries()) await bench.write({ [`${task}.csv`]: `id,n\n${i},1\n` });
      const tasks = await runAll(() => ({ create: true, mode, ...(mode === 'merge' && { key: ['id'] }) }));
      for (const task of tasks) expect(task.error).to.equal(undefined);
      expect(await ids()).to.deep.equal([0, 1, 2, 3]);
    });
  }

  it('add a column once, and never make a column narrower', async () => {
    await bench.db.query('create table t (id smallint)');
    const files = ['id,new\n100000,1\n', 'id,new\n1.5,1\n', 'id,new\n20000000000,1\n', 'id,new\n1,1\n'];
    for (const [i, task] of TASKS.entries()) await bench.write({ [`${task}.csv`]: files[i] ?? '' });
    const tasks = await runAll(() => ({ schema: 'evolve' }));
    for (const task of tasks) expect(task.error).to.equal(undefined);
    expect(await bench.db.query('select id::text, new::int from t order by t.id')).to.deep.equal([
      { id: '1', new: 1 },
      { id: '1.5', new: 1 },
      { id: '100000', new: 1 },
      { id: '20000000000', new: 1 },
    ]);
  });

  it('create the table once also if a transaction of somebody else creates it', async () => {
    await bench.write({ 'in.csv': 'id\n1\n' });
    await bench.db.query('begin');
    await bench.db.query('create table t (id bigint)');
    const run = bench.load({ create: true });
    const waiting = `select count(*)::int as n from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`;
    // A snapshot of the statistics would stay the same in this transaction.
    for (let n = 0; n === 0;) {
      await bench.db.query('select pg_stat_clear_snapshot()');
      [{ n } = { n: 0 }] = await bench.db.query<{ n: number }>(waiting);
    }
    await bench.db.query('commit');
    expect((await run).task).to.include({ state: 'success' });
    expect(await ids()).to.deep.equal([1]);
  });
});
