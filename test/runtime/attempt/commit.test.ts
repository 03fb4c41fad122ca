import { expect } from 'chai';
import { dag } from '../../../src/runtime/dag/dag.js';
import type { RunEvent } from '../../../src/runtime/report/event.js';
import { cluster, createDatabase, type TestDatabase } from '../../support/database.js';
import { frozenProxy, SERVER_CRASHED } from '../../support/frozen-proxy.js';
import { holdTimers } from '../../support/held-timers.js';
import { runOn } from '../../support/run.js';
import { hold, STOPPED } from './attempt-project.js';

/** A deferred trigger that keeps COMMIT waiting for as long as the test holds the lock. */
const TABLES = `
  create table t (id int);
  create table slow (id int);
  create function wait_for_test() returns trigger language plpgsql as
    $$ begin perform pg_advisory_xact_lock(21); return null; end $$;
  create constraint trigger slow after insert on slow deferrable initially deferred
    for each row execute function wait_for_test()`;

describe('the outcome of a COMMIT', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query(TABLES);
  });
  after(() => db.drop());
  beforeEach(() => db.query('truncate t, slow'));

  const network = async () => frozenProxy((await cluster()).port);
  const writing = (meet: () => void, retries = 0) =>
    dag('d', { defaults: { conn: 'db', retries, backoff: { initial: 1 } } }, (d) => {
      d.session('w', {}, async ({ session }) => {
        await session('t').insert({ id: 1 });
        meet();
      });
    });
  const recorded = (runId: string) =>
    db.query('select task_id, state from etl.task where run_id = $1', [runId]);
  const ids = async () => (await db.query<{ id: number }>('select id from t')).map(({ id }) => id);

  for (const { ends, retries, timeoutMs } of [
    { ends: 'a signal', retries: 0, timeoutMs: undefined },
    { ends: 'its timeout', retries: 2, timeoutMs: 7_654_321 },
  ]) {
    it(`is reported as unknown if the database stays unreachable until ${ends} ends the run`, async () => {
      await using proxy = await network();
      using timers = holdTimers(timeoutMs ?? Infinity);
      const controller = new AbortController();
      let attempts = 0;
      const stop = async (): Promise<void> => {
        if (attempts <= retries) return;
        if (timeoutMs === undefined) controller.abort(STOPPED);
        else (await timers.next())();
      };
      const graph = writing(
        () =>
          proxy.meetCommit((client) => {
            proxy.refuse(() => void stop());
            client.destroy();
          }),
        retries,
      );
      const onEvent = ({ type }: RunEvent): void => {
        if (type === 'task_started') attempts++;
      };
      // Concurrency 1: no other connection is left that could look the COMMIT up.
      const options = { timeoutMs, signal: controller.signal, concurrency: 1, onEvent };
      const run = await runOn({ db: proxy.url(db.url) }, graph, options);
      expect(run.outcome('w')).to.equal('failed ETL-1002');
      expect(run.tasks[0]?.attempts).to.equal(retries + 1);
      expect(run.tasks[0]?.error?.data).to.match(/^it is unknown whether "w" was committed/);
      expect(await recorded(run.runId)).to.deep.equal([{ task_id: 'w', state: 'success' }]);
    });
  }

  it('is read from the ledger if a pooler answers that its server is lost', async () => {
    await using proxy = await network();
    const graph = writing(() => proxy.meetCommit((client) => client.end(SERVER_CRASHED)));
    const run = await runOn({ db: proxy.url(db.url) }, graph);
    expect(run.tasks[0]).to.include({ state: 'success', attempts: 1, reused: true });
    expect(run.state).to.equal('success');
    expect(await ids()).to.deep.equal([1]);
  });

  it('is read from the ledger if the answer is lost and the run is stopped', async () => {
    await using proxy = await network();
    const controller = new AbortController();
    const graph = writing(() =>
      proxy.meetCommit((client) => {
        controller.abort(STOPPED);
        client.destroy();
      }),
    );
    const run = await runOn({ db: proxy.url(db.url) }, graph, { signal: controller.signal });
    expect(run.outcome('w')).to.equal('success');
    expect(run.state).to.equal('failed');
    expect(run.errors).to.deep.equal([STOPPED]);
    expect(await ids()).to.deep.equal([1]);
  });

  it('is not awaited if the run is stopped before the COMMIT is sent: the error of the task names the stop', async () => {
    await using _lock = await hold(db, 'select pg_advisory_lock(21)');
    const controller = new AbortController();
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('w', {}, async ({ session }) => {
        await session('slow').insert({ id: 1 });
        return {
          // The result is read after the task has returned.
          get last() {
            controller.abort(STOPPED);
            return 1;
          },
        };
      });
    });
    const run = await runOn({ db: db.url }, graph, { signal: controller.signal });
    expect(run.outcome('w')).to.equal('failed ETL-3302');
    expect(run.tasks[0]?.error?.message).to.equal(STOPPED.message);
    expect(run.tasks[0]?.error?.data).to.equal('"w" wrote nothing');
    expect(await db.query('select from slow')).to.deep.equal([]);
  });
});
