import { expect } from 'chai';
import { dag } from '../../../src/runtime/dag/dag.js';
import { cluster, createDatabase, type TestDatabase } from '../../support/database.js';
import { frozenProxy } from '../../support/frozen-proxy.js';
import { runOn } from '../../support/run.js';
import { latch } from './attempt-project.js';

describe('a run whose epoch a newer process has taken', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
  });
  after(() => db.drop());

  const row = async (runId: string) =>
    (await db.query('select state, resumes from etl.run where run_id = $1', [runId]))[0];

  it('leaves the row of the run as the newer process wrote it', async () => {
    await using proxy = await frozenProxy((await cluster()).port);
    const reached = latch();
    const followed = latch();
    let isFirst = true;
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('x', {}, async () => {
        if (!isFirst) return;
        isFirst = false;
        reached.open();
        await followed.opened;
      });
    });
    const first = runOn({ db: proxy.url(db.url) }, graph, { runId: 'followed' });
    await reached.opened;
    proxy.freeze();
    await db.query(
      `select pg_terminate_backend(pid, 10000) from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`,
    );
    const second = await runOn({ db: db.url }, graph, {
      resume: { kind: 'resume', runId: 'followed', interval: undefined, strict: false },
    });
    expect(second.state).to.equal('success');
    proxy.restore();
    proxy.cut();
    followed.open();
    const { state, errors } = await first;
    expect(state).to.equal('failed');
    expect(errors.at(-1)?.code).to.equal('ETL-7503');
    expect(await row('followed')).to.deep.equal({ state: 'success', resumes: 1 });
  });

  it('leaves the ledger rows of the run and of a task without a connection as the newer process wrote them', async () => {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.task('http', {}, async ({ run: { id } }) => {
        await db.query(
          `update etl.lock set epoch = epoch + 1, holder = gen_random_uuid() where dag_id = 'd'`,
        );
        await db.query(
          `insert into etl.task (run_id, task_id, dag_id, state, fingerprint, attempt, result, started_at)
           values ($1, 'http', 'd', 'success', 'newer', 7, '"newer"', now())`,
          [id],
        );
        return 'older';
      });
    });
    const run = await runOn({ db: db.url }, graph);
    expect(run.outcome('http')).to.equal('failed ETL-7503');
    expect(run.state).to.equal('failed');
    const [record] = await db.query('select attempt, result from etl.task where run_id = $1', [run.runId]);
    expect(record).to.deep.equal({ attempt: 7, result: 'newer' });
    expect(await row(run.runId)).to.deep.equal({ state: 'running', resumes: 0 });
  });

  it('can not commit a task that has switched off triggers', async () => {
    await db.query('create table t (v text)');
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('x', {}, async ({ session }) => {
        await session.raw('set local session_replication_role = replica');
        await session('t').insert({ v: 'x' });
        await db.query(`update etl.lock set epoch = epoch + 1 where dag_id = 'd'`);
      });
    });
    const run = await runOn({ db: db.url }, graph);
    expect(run.outcome('x')).to.equal('failed ETL-7503');
    expect(await db.query('select v from t')).to.deep.equal([]);
  });
});
