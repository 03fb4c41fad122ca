import { expect } from 'chai';
import { EtlError } from '../../../src/errors.js';
import { dag } from '../../../src/runtime/dag/dag.js';
import type { RunEvent } from '../../../src/runtime/report/event.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn, type FinishedRun, type RunOptions } from '../../support/run.js';

describe('a resumed run', () => {
  let db: TestDatabase;
  let isBroken = true;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (v text)');
  });
  after(() => db.drop());
  beforeEach(async () => {
    isBroken = true;
    await db.query('truncate t; drop schema if exists etl cascade');
  });

  const values = async () => (await db.query<{ v: string }>('select v from t order by v')).map(({ v }) => v);

  /** Builds the Dag a -> b -> c and a -> x. Task b fails while `isBroken` is true. `sql` is the SQL of a. */
  const graph = (sql = `insert into t values ('a')`) =>
    dag('d', { defaults: { conn: 'db' } }, (d) => {
      const a = d.sql('a', { sql });
      const b = d.session('b', { needs: { a } }, async ({ session, upstream }) => {
        await session('t').insert({ v: `b after ${upstream.a.rows}` });
        if (isBroken) throw new Error('not yet');
        return 'b';
      });
      d.session(
        'c',
        { needs: { b } },
        async ({ session, upstream }) => void (await session('t').insert({ v: `c after ${upstream.b}` })),
      );
      d.task('x', { needs: [a] }, async () => void (await db.query(`insert into t values ('x')`)));
    });
  const run = (options: RunOptions = {}, of = graph()): Promise<FinishedRun> =>
    runOn({ db: db.url }, of, options);
  const resume = (options: { runId?: string; strict?: boolean } = {}, of = graph()) =>
    run(
      {
        resume: {
          kind: 'resume',
          runId: options.runId,
          interval: undefined,
          strict: options.strict ?? false,
        },
      },
      of,
    );
  const planOf = ({ events }: FinishedRun) =>
    events.find((event): event is RunEvent & { type: 'run_resumed' } => event.type === 'run_resumed');

  it('reuses what is done, with its results, and does the rest', async () => {
    const first = await run();
    expect(first.state).to.equal('failed');
    isBroken = false;
    const second = await resume();
    expect(second.state).to.equal('success');
    expect(second.runId).to.equal(first.runId);
    expect(second.tasks.map(({ taskId, reused }) => [taskId, reused])).to.deep.equal([
      ['a', true],
      ['b', false],
      ['c', false],
      ['x', true],
    ]);
    expect(await values()).to.deep.equal(['a', 'b after 1', 'c after b', 'x']);
  });

  it('reports first which tasks it reuses and which tasks it runs, with the reasons', async () => {
    await run();
    const plan = planOf(await resume());
    expect(plan?.reused).to.deep.equal(['a', 'x']);
    expect(plan?.toRun).to.deep.equal([
      { taskId: 'b', why: 'not done' },
      { taskId: 'c', why: 'not done' },
    ]);
    expect(plan?.was).to.equal('failed');
  });

  it('runs a changed task again, and the tasks that need it', async () => {
    isBroken = false;
    await run();
    const changed = graph(`insert into t values ('a2')`);
    const again = await resume({}, changed);
    expect(planOf(again)?.toRun).to.deep.equal([
      { taskId: 'a', why: 'its SQL changed' },
      { taskId: 'b', why: 'needs "a"' },
      { taskId: 'c', why: 'needs "b"' },
      { taskId: 'x', why: 'needs "a"' },
    ]);
    expect(again.state).to.equal('success');
    expect((await values()).filter((v) => v.startsWith('a'))).to.deep.equal(['a', 'a2']);
  });

  it('refuses a changed Dag with --strict, and starts nothing', async () => {
    await run();
    const error = await resume({ strict: true }, graph('select 1')).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(EtlError).and.include({ code: 'ETL-2006', exitCode: 2 });
    expect((error as EtlError).message).to.include('"a" was changed');
    expect(await values()).to.deep.equal(['a', 'x']);
  });

  it('keeps the params and the interval of the run', async () => {
    const seen: unknown[] = [];
    const asking = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('s', {}, async ({ params }) => {
        seen.push(params);
        throw new Error('no');
      });
    });
    await run({ params: { region: 'eu' } }, asking);
    await resume({}, asking);
    expect(seen).to.deep.equal([{ region: 'eu' }, { region: 'eu' }]);
  });

  it('runs no task if the run has succeeded', async () => {
    isBroken = false;
    await run();
    const again = await resume();
    expect(again.tasks.every(({ reused }) => reused)).to.equal(true);
    expect(await values()).to.have.lengthOf(4);
  });

  it('is refused if there is no run to resume, or if the run belongs to another Dag', async () => {
    const none = await resume().catch((reason: unknown) => reason);
    expect(none).to.include({ code: 'ETL-2009', message: 'there is no run of "d" to resume' });
    await run({ runId: 'mine' });
    const other = dag('other', { defaults: { conn: 'db' } }, (d) => void d.sql('a', { sql: 'select 1' }));
    const foreign = await resume({ runId: 'mine' }, other).catch((reason: unknown) => reason);
    expect(foreign).to.include({ code: 'ETL-2009', why: '"mine" is a run of "d"' });
  });

  it('is suggested when a new run is refused because its ID is taken', async () => {
    await run({ runId: 'mine' });
    const again = await run({ runId: 'mine' }).catch((reason: unknown) => reason);
    expect(again).to.include({ code: 'ETL-2008' });
    expect((again as EtlError).fix).to.include('etl run d --resume --run-id mine');
  });

  it('keeps failed attempts in the ledger, with their SQLSTATE and the names of tables, without values of rows', async () => {
    await db.query('create table u (k text primary key)');
    const failing = dag('d', { defaults: { conn: 'db', retries: 1, backoff: { initial: 1 } } }, (d) => {
      const a = d.session('a', {}, async () => {
        throw new Error('with a secret');
      });
      d.sql('b', { needs: [a], sql: 'select 1' });
      d.sql('e', { sql: `insert into u values ('value-17'), ('value-17')` });
    });
    const { runId } = await run({ redact: (text) => text.replace('secret', '***') }, failing);
    await db.query('drop table u');
    const rows = await db.query(
      'select task_id, attempt, state, code, sqlstate, message from etl.attempt where run_id = $1 order by task_id, id',
      [runId],
    );
    expect(rows).to.deep.equal([
      {
        task_id: 'a',
        attempt: 1,
        state: 'up_for_retry',
        code: 'ETL-3001',
        sqlstate: null,
        message: 'with a ***',
      },
      { task_id: 'a', attempt: 2, state: 'failed', code: 'ETL-3001', sqlstate: null, message: 'with a ***' },
      {
        task_id: 'b',
        attempt: 0,
        state: 'upstream_failed',
        code: null,
        sqlstate: null,
        message: 'needs "a"',
      },
      {
        task_id: 'e',
        attempt: 1,
        state: 'failed',
        code: 'ETL-3001',
        sqlstate: '23505',
        message: 'duplicate key value violates unique constraint "u_pkey"',
      },
    ]);
  });
});
