import { expect } from 'chai';
import type { EtlError } from '../../../src/errors.js';
import { dag } from '../../../src/runtime/dag/dag.js';
import { cluster, createDatabase, type TestDatabase } from '../../support/database.js';
import { frozenProxy } from '../../support/frozen-proxy.js';
import { holdTimers } from '../../support/held-timers.js';
import { runOn } from '../../support/run.js';
import { BLOCKED, hold, latch, LOCK_HOLDER, startOn, STOPPED, until } from './attempt-project.js';

/** Takes the lock of the Dag "d". */
const LOCK = `select pg_advisory_xact_lock(hashtextextended('etl:d', 0))`;

/** Finds the session of a run that waits for the lock: it tries again and again. */
const WAITING = `select from pg_stat_activity where datname = current_database() and query = 'rollback'`;

const simple = dag('d', { defaults: { conn: 'db' } }, (d) => void d.sql('w', { sql: 'select 1' }));

describe('a run that has to wait', () => {
  let db: TestDatabase;
  beforeEach(async () => {
    db = await createDatabase();
    await runOn({ db: db.url }, simple);
  });
  afterEach(() => db.drop());

  const network = async () => frozenProxy((await cluster()).port);

  // The test holds the lock until the run has ended. A run that does not stop would wait for ever.
  describe('ends when it is stopped', () => {
    it('while it waits for the lock row of one that has died', async () => {
      await using holder = await hold(db, 'begin');
      await holder.query(`select from etl.lock where dag_id = 'd' for share`);
      const controller = new AbortController();
      const ended = runOn({ db: db.url }, simple, { signal: controller.signal }).catch(
        (reason: unknown) => reason,
      );
      await until(db, BLOCKED);
      controller.abort(STOPPED);
      expect(await ended).to.equal(STOPPED);
    });

    it('while the record of a task without a connection waits for a row', async () => {
      await using holder = await hold(db, 'begin');
      await holder.query(
        `insert into etl.task (run_id, task_id, dag_id, state, fingerprint, attempt, started_at)
         values ('held', 'http', 'd', 'success', 'x', 1, now())`,
      );
      const controller = new AbortController();
      const { signal } = controller;
      const graph = dag('d', { defaults: { conn: 'db' } }, (d) => void d.task('http', {}, async () => 200));
      const running = runOn({ db: db.url }, graph, { runId: 'held', signal });
      await until(db, BLOCKED);
      controller.abort(STOPPED);
      const run = await running;
      expect(run.outcome('http')).to.equal('failed ETL-3302');
    });
  });

  it('waits for the lock as long as requested, even if the database has a shorter statement_timeout', async () => {
    await using holder = await hold(db, 'begin');
    await holder.query(LOCK);
    await db.query(`alter database ${db.name} set statement_timeout = '300ms'`);
    try {
      const started = startOn({ db: db.url }, simple, { overlap: { mode: 'wait', waitMs: 60_000 } });
      const ended = started.catch((reason: unknown) => reason as EtlError);
      await Promise.race([
        ended,
        until(db, `${WAITING} and clock_timestamp() - backend_start > interval '400ms'`),
      ]);
      await holder.query('rollback');
      expect(await ended).to.include({ state: 'success' });
    } finally {
      await db.query(`alter database ${db.name} reset statement_timeout`);
    }
  });

  it('waits for a slot as long as the task in the slot runs', async () => {
    const gaveUp = latch();
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('long', {}, async () => gaveUp.opened);
      d.task('http', {}, async () => 200);
    });
    const run = await startOn({ db: db.url }, graph, {
      poolSize: 1,
      onOpen: ({ knex }) => {
        const pool = knex.client.pool as {
          acquireTimeoutMillis: number;
          on(event: 'acquireFail', listener: () => void): void;
        };
        pool.acquireTimeoutMillis = 100; // Instead of ten seconds.
        pool.on('acquireFail', gaveUp.open);
      },
    });
    expect(run.tasks.map(({ taskId, state }) => [taskId, state])).to.deep.equal([
      ['long', 'success'],
      ['http', 'success'],
    ]);
  });

  it('accepts a timeout that is longer than the longest timer of Node', async () => {
    const graph = dag('d', { defaults: { conn: 'db', timeout: '30d' } }, (d) => {
      d.sql('w', { sql: 'select 1' });
    });
    const { state } = await runOn({ db: db.url }, graph);
    expect(state).to.equal('success');
  });

  it("keeps a task's own error when the network is gone after it, and ends the task before the network is back", async () => {
    await using other = await createDatabase();
    await using proxy = await network();
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('w', { conn: 'other' }, async ({ session }) => {
        await session.raw('select 1');
        proxy.freeze();
        throw new Error('bad row 17');
      });
    });
    const run = await runOn({ db: db.url, other: proxy.url(other.url) }, graph, {
      onEvent: ({ type }) => {
        if (type !== 'task_finished') return;
        proxy.restore();
        proxy.cut();
      },
    });
    expect(run.tasks[0]?.error).to.include({ code: 'ETL-3001', message: 'bad row 17' });
  });

  it('ends while the network is gone, if it is stopped after its last task', async () => {
    await using proxy = await network();
    const controller = new AbortController();
    const run = await runOn({ db: proxy.url(db.url) }, simple, {
      signal: controller.signal,
      onEvent: ({ type }) => {
        if (type !== 'task_finished') return;
        proxy.freeze();
        controller.abort(STOPPED);
      },
    });
    expect(run.outcome('w')).to.equal('success');
    expect(run.errors.map(({ code }) => code)).to.include.members(['ETL-3302', 'ETL-4002']);
  });

  it('can be stopped while a second database does not answer', async () => {
    await using proxy = await network();
    const controller = new AbortController();
    proxy.freeze(() => controller.abort(STOPPED));
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.sql('w', { conn: 'other', sql: 'select 1' });
    });
    const run = await runOn({ db: db.url, other: proxy.url(db.url) }, graph, {
      signal: controller.signal,
    });
    expect(run.outcome('w')).to.equal('failed ETL-3302');
  });

  describe('cancels the statement of a task', () => {
    /** Waits for a lock of the test's, and counts its cancellation where no rollback undoes it. */
    const COUNTING = `do $$ begin perform pg_advisory_xact_lock(20);
      exception when query_canceled then perform nextval('cancelled'); raise; end $$`;
    /** A timeout that never ends by itself: the test ends it. */
    const TIMEOUT_MS = 7_654_321;
    const CANCELLING = `select pid from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()
        and state = 'idle' and query like '%pg_stat_clear_snapshot()'`;
    const terminate = (pids: string) =>
      db.query(`select pg_terminate_backend(pid, 10000) from (${pids}) as each`);
    const cancelled = async () => {
      const rows = await db.query<{ n: number }>(
        'select (case when is_called then last_value else 0 end)::int as n from cancelled',
      );
      return rows[0]?.n;
    };
    beforeEach(() => db.query('create sequence cancelled'));

    it('after the run has lost its lock', async () => {
      await using _lock = await hold(db, 'select pg_advisory_lock(20)');
      const graph = dag('d', { defaults: { conn: 'db' } }, (d) => void d.sql('w', { sql: COUNTING }));
      const running = runOn({ db: db.url }, graph);
      await until(db, BLOCKED);
      await terminate(LOCK_HOLDER);
      const run = await running;
      expect(run.outcome('w')).to.match(/^failed /);
      expect(run.errors[0]?.message).to.equal('the connection that holds the lock of "d" was lost');
      expect(await cancelled()).to.equal(1);
    });

    it('after the control connection was lost', async () => {
      await using _lock = await hold(db, 'select pg_advisory_lock(20)');
      using timers = holdTimers(TIMEOUT_MS);
      const options = { conn: 'other', timeout: TIMEOUT_MS, retries: 1, backoff: { initial: 1 } };
      const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
        d.session('w', options, async ({ session, run: { attempt } }) => {
          // The first attempt has opened the control connection.
          if (attempt === 2) expect(await terminate(CANCELLING)).to.have.lengthOf(1);
          // Only the run can end the statement.
          await session.raw('set local statement_timeout = 0; set local lock_timeout = 0');
          await session.raw(COUNTING);
        });
      });
      const running = runOn({ db: db.url, other: db.url }, graph);
      for (let attempt = 1; attempt <= 2; attempt++) {
        const endTimeout = await timers.next();
        await until(db, BLOCKED);
        endTimeout();
      }
      const run = await running;
      expect(run.outcome('w')).to.equal('failed ETL-3301');
      expect(await cancelled()).to.equal(2);
    });
  });
});
