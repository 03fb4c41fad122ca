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

describe('the epoch of the home database, in a second database', () => {
  let home: TestDatabase;
  let second: TestDatabase;
  beforeEach(async () => {
    home = await createDatabase();
    second = await createDatabase();
    await second.query('create table t (v text)');
  });
  afterEach(async () => {
    await home.drop();
    await second.drop();
  });

  const readEpoch = async (db: TestDatabase) =>
    (await db.query(`select epoch, holder from etl.lock where dag_id = 'd'`))[0];
  const graph = dag('d', { defaults: { conn: 'home' } }, (d) => {
    d.sql('a', { conn: 'second', sql: `insert into t values ('new')` });
  });

  it('is the token there', async () => {
    for (let i = 0; i < 3; i++) expect((await runOn(urls(), graph)).state).to.equal('success');
    expect(await readEpoch(second)).to.deep.equal(await readEpoch(home));
  });

  function urls(homeUrl = home.url) {
    return { home: homeUrl, second: second.url };
  }

  it('keeps a process that has lost the lock from opening the database late, and does not disturb the newer run', async () => {
    await using proxy = await frozenProxy((await cluster()).port);
    const [reached, followed, goOn] = [latch(), latch(), latch()];
    let isFirst = true;
    const gated = (v: string) =>
      dag('d', { defaults: { conn: 'home', retries: 1, backoff: { initial: 1 } } }, (d) => {
        const http = d.task('http', {}, async () => {
          if (!isFirst) return;
          isFirst = false;
          reached.open();
          await followed.opened;
        });
        d.session('a', { conn: 'second', needs: [http] }, async ({ session }) => {
          await session('t').insert({ v });
          if (v === 'new') await goOn.opened;
        });
      });
    const first = runOn(urls(proxy.url(home.url)), gated('old'));
    await reached.opened;
    proxy.freeze();
    await home.query(
      `select pg_terminate_backend(pid, 10000) from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`,
    );
    const next = runOn(urls(), gated('new'));
    // The newer run is in the middle of its task when the older run goes on.
    while (
      (
        await second.query(`select from pg_stat_activity where datname = current_database()
      and application_name = 'etl:d/a' and state = 'idle in transaction'`)
      ).length === 0
    );
    proxy.restore();
    proxy.cut();
    followed.open();
    expect((await first).state).to.equal('failed');
    goOn.open();
    expect((await next).state).to.equal('success');
    expect(await second.query('select v from t')).to.deep.equal([{ v: 'new' }]);
  });

  for (const epoch of ['1000000', '0']) {
    it(`replaces the epoch ${epoch} of another home database, such as a newer copy of the present one`, async () => {
      await runOn(urls(), graph);
      await second.query('update etl.lock set epoch = $1, holder = gen_random_uuid()', [epoch]);
      const run = await runOn(urls(), graph);
      expect(run.state, run.tasks[0]?.error?.message).to.equal('success');
      expect(await readEpoch(second)).to.deep.equal(await readEpoch(home));
    });
  }

  it('lets the newer of two runs with different home databases commit, and names it to the other', async () => {
    await using other = await createDatabase();
    const [started, goOn] = [latch(), latch()];
    const slow = dag('d', { defaults: { conn: 'home' } }, (d) => {
      d.session('b', { conn: 'second' }, async ({ session }) => {
        await session('t').insert({ v: 'old' });
        started.open();
        await goOn.opened;
      });
    });
    const first = runOn(urls(), slow, { runId: 'first' });
    await started.opened;
    expect((await runOn(urls(other.url), graph, { runId: 'newer' })).state).to.equal('success');
    goOn.open();
    const run = await first;
    expect(run.outcome('b')).to.equal('failed ETL-7503');
    expect(run.tasks[0]?.error?.why).to.match(/^run newer, pid \d+ on host test, since/);
    expect(await second.query('select v from t')).to.deep.equal([{ v: 'new' }]);
  });
});
