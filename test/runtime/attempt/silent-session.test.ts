import { expect } from 'chai';
import { Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { dag, type Dag } from '../../../src/runtime/dag/dag.js';
import { LOOK_MS } from '../../../src/runtime/postgres/silence-watch.js';
import { QUESTION_MS } from '../../../src/runtime/postgres/session-state.js';
import { openCluster } from '../../support/cluster.js';
import { RESOLVE_COMMIT_MS } from '../../../src/runtime/waiting.js';
import { cluster, createDatabase, type TestDatabase } from '../../support/database.js';
import { type FrozenProxy, frozenProxy, type StallOptions } from '../../support/frozen-proxy.js';
import { type HeldTimers, holdTimers } from '../../support/held-timers.js';
import { type FinishedRun, runOn } from '../../support/run.js';
import { startTransactionPooler } from '../../support/transaction-pooler.js';
import { BLOCKED, hold, latch, until } from './attempt-project.js';

/** Ends the pauses of all watches, again and again, until `work` has ended. */
async function endPauses<T>(timers: HeldTimers, work: Promise<T>): Promise<T> {
  const ended = work.then(
    () => undefined,
    () => undefined,
  );
  for (;;) {
    const end = await Promise.race([timers.next(), ended]);
    if (end === undefined) return work;
    end();
    // A watch that has nothing to ask sets its next timer before the answer to another watch can arrive.
    await turn();
  }
}

/** Ends the next pauses, one after the other. Each is set when the look before it has its answer. */
async function endSome(timers: HeldTimers, count: number): Promise<void> {
  for (let each = 0; each < count; each++) (await timers.next())();
}

/**
 * The looks after which a silent session is ended: the first look sees a query that was not there when its timer was set,
 * and the two others ask the server.
 */
const LOOKS_OF_A_STALL = 3;

/** The text of a statement of a test, which no other statement has. */
const MARK = 'm4rk';

/** The end of the `application_name` of the task "w", which the settings behind its BEGIN have as a value. */
const SESSION_NAME = 'd/w';

/** The bytes that get lost on the way, and the outcome of the task. */
interface Stall {
  readonly title: string;
  readonly stall: Omit<StallOptions, 'onStall' | 'times'>;
  /** The outcome without retries. `success`: the ledger says that the COMMIT took place. */
  readonly outcome: string;
  readonly why?: RegExp;
  /** The rows of the table `t` after the run. */
  readonly rows: number;
}

const STALLS: readonly Stall[] = [
  {
    title: 'the BEGIN is lost',
    stall: { text: SESSION_NAME, lost: 'statement' },
    outcome: 'failed ETL-1004',
    why: /^its session \(pid \d+\) waits for a statement, so a message was lost on the way$/,
    rows: 0,
  },
  {
    title: 'the answer to the claim is lost',
    stall: { text: SESSION_NAME, lost: 'answer' },
    outcome: 'failed ETL-1004',
    why: /waits for a statement/,
    rows: 0,
  },
  {
    title: 'a statement of the user is lost',
    stall: { text: MARK, lost: 'statement' },
    outcome: 'failed ETL-1004',
    why: /waits for a statement/,
    rows: 0,
  },
  {
    title: 'the answer to a statement of the user is lost',
    stall: { text: MARK, lost: 'answer' },
    outcome: 'failed ETL-1004',
    why: /waits for a statement/,
    rows: 0,
  },
  {
    title: 'a check is lost',
    stall: { text: 'offending', lost: 'statement' },
    outcome: 'failed ETL-1004',
    why: /waits for a statement/,
    rows: 0,
  },
  {
    title: 'the COMMIT is lost',
    stall: { text: 'commit\0', lost: 'statement' },
    // The next claim proves that the COMMIT did not take place.
    outcome: 'failed ETL-1002',
    rows: 0,
  },
  {
    title: 'the answer to the COMMIT is lost',
    stall: { text: 'commit\0', lost: 'answer' },
    outcome: 'success',
    rows: 1,
  },
];

describe('a link to the server that stands still under a task', () => {
  let home: TestDatabase;
  let db: TestDatabase;
  let proxy: FrozenProxy;
  before(async () => {
    home = await createDatabase({ mayLeak: true });
    db = await createDatabase({ mayLeak: true });
    for (const each of [home, db]) await each.query('create table t (v text)');
  });
  after(() => Promise.all([home.drop(), db.drop()]));
  beforeEach(async () => {
    for (const each of [home, db]) await each.query('truncate t');
    proxy = await frozenProxy((await cluster()).port);
  });
  afterEach(() => proxy[Symbol.asyncDispose]());

  const graph = (conn: string, retries = 0): Dag =>
    dag('d', { defaults: { conn: 'home', retries, backoff: { initial: 1 } } }, (d) => {
      // The run opens the database with this task.
      const first = d.sql('first', { conn, sql: 'select 1' });
      d.session(
        'w',
        { conn, needs: { first }, checks: [{ name: 'no', sql: 'select 1 where false' }] },
        async ({ session }) => {
          await session.raw('select 1');
          await session.raw(`insert into t values ('${MARK}')`);
        },
      );
    });

  for (const conn of ['home', 'other'])
    for (const { title, stall, outcome, why, rows } of STALLS)
      it(`fails the task in the ${conn} database if ${title}, and says what became of it`, async () => {
        using timers = holdTimers(LOOK_MS);
        const stalled = latch();
        const target = conn === 'home' ? home : db;
        let isArmed = false;
        const running = runOn({ home: proxy.url(home.url), other: proxy.url(db.url) }, graph(conn), {
          onEvent: (event) => {
            if (event.type !== 'task_started' || event.taskId !== 'w' || isArmed) return;
            isArmed = true;
            proxy.stallOn({ ...stall, times: 1, onStall: stalled.open });
          },
        });
        await stalled.opened;
        await endSome(timers, LOOKS_OF_A_STALL);
        const run = await running;
        expect(run.outcome('w'), run.tasks[1]?.error?.message).to.equal(outcome);
        if (why !== undefined) expect(run.tasks[1]?.error?.why).to.match(why);
        expect(await target.query('select v from t')).to.have.lengthOf(rows);
      });

  it('does not fail a task that has a retry', async () => {
    using timers = holdTimers(LOOK_MS);
    const stalled = latch();
    proxy.stallOn({ text: MARK, lost: 'answer', times: 1, onStall: stalled.open });
    const running = runOn({ home: home.url, other: proxy.url(db.url) }, graph('other', 1));
    await stalled.opened;
    await endSome(timers, LOOKS_OF_A_STALL);
    const run = await running;
    expect(run.outcome('w')).to.equal('success');
    expect(run.tasks[1]?.attempts).to.equal(2);
    expect(await db.query('select v from t')).to.have.lengthOf(1);
  });

  it('fails a task whose read session gets no answer', async () => {
    using timers = holdTimers(LOOK_MS);
    const stalled = latch();
    proxy.stallOn({ text: MARK, lost: 'answer', times: 1, onStall: stalled.open });
    const reading = dag('d', { defaults: { conn: 'home' } }, (d) => {
      d.session('w', { reads: ['other'] }, async ({ sources: { other } }) => {
        await other.raw(`select '${MARK}'`);
      });
    });
    const running = runOn({ home: home.url, other: proxy.url(db.url) }, reading);
    await stalled.opened;
    const run = await endPauses(timers, running);
    expect(run.outcome('w')).to.equal('failed ETL-1004');
    expect(run.tasks[0]?.error?.message).to.match(/^connection "other" gave no answer within/);
  });

  it('fails a load whose rows do not arrive', async () => {
    using timers = holdTimers(LOOK_MS);
    const stalled = latch();
    proxy.stallOn({ text: MARK, lost: 'statement', times: 1, onStall: stalled.open });
    const loading = dag('d', { defaults: { conn: 'home' } }, (d) => {
      d.load('w', {
        conn: 'other',
        from: () => Readable.from([`v\n${MARK}\n`]),
        format: 'csv',
        into: 't',
        mode: 'append',
      });
    });
    const running = runOn({ home: home.url, other: proxy.url(db.url) }, loading);
    await stalled.opened;
    const run = await endPauses(timers, running);
    expect(run.outcome('w')).to.equal('failed ETL-1004');
    expect(await db.query('select v from t')).to.deep.equal([]);
  });

  it('ends the look for a COMMIT without an answer, if that look gets no answer either', async () => {
    let limits = 0;
    // Other limits have the same length, and come later.
    using timers = holdTimers((ms) => ms === LOOK_MS || (ms === RESOLVE_COMMIT_MS && ++limits === 1));
    const stalled = latch();
    const stall = (): void =>
      proxy.stallOn({
        text: 'commit\0',
        lost: 'answer',
        times: 1,
        onStall: () => {
          stalled.open();
          proxy.stallOn({ text: SESSION_NAME, lost: 'statement' });
        },
      });
    const running = runOn({ home: home.url, other: proxy.url(db.url) }, graph('other'), {
      onEvent: (event) => {
        if (event.type === 'task_started' && event.taskId === 'w') stall();
      },
    });
    await stalled.opened;
    await endSome(timers, LOOKS_OF_A_STALL);
    // The next timer is the limit for the look, or the pause of a watch.
    const run = await endPauses(timers, running);
    // The end of the run reads the ledger, with a statement that is not lost.
    expect(run.outcome('w')).to.equal('success');
    expect(await db.query('select v from t')).to.have.lengthOf(1);
  });
});

describe('a server that stands still under a task', () => {
  /** A database that is not the home database of the run, so nothing else of the run notices. */
  const FAST = '?connect_timeout=1';

  const graph = dag('d', { defaults: { conn: 'home' } }, (d) => {
    d.session('w', { conn: 'other' }, async ({ session }) => {
      await session.raw('select 1');
      await session.raw(`select '${MARK}'`);
    });
  });

  const expectUnreachable = (run: FinishedRun): void => {
    expect(run.outcome('w')).to.equal('failed ETL-1004');
    expect(run.tasks[0]?.error?.why).to.match(
      /^nobody else gets an answer either: connection "other" got no answer/,
    );
    expect(run.tasks[0]?.error?.data).to.equal('"w" wrote nothing');
  };

  it('fails the task if it lets nobody connect either', async () => {
    await using home = await createDatabase();
    await using db = await createDatabase({ mayLeak: true });
    await using proxy = await frozenProxy((await cluster()).port);
    using timers = holdTimers(LOOK_MS);
    const stalled = latch();
    proxy.stallOn({
      text: MARK,
      lost: 'statement',
      onStall: () => {
        proxy.freeze();
        stalled.open();
      },
    });
    const running = runOn({ home: home.url, other: proxy.url(db.url) + FAST }, graph);
    await stalled.opened;
    expectUnreachable(await endPauses(timers, running));
  });

  it('fails the task if all its processes are stopped (SIGSTOP)', async () => {
    await using home = await createDatabase();
    await using server = await openCluster();
    const db = await createDatabase({ mayLeak: true, server });
    using timers = holdTimers(LOOK_MS);
    const arrived = latch();
    const go = latch();
    const waiting = dag('d', { defaults: { conn: 'home' } }, (d) => {
      d.session('w', { conn: 'other' }, async ({ session }) => {
        await session.raw('select 1');
        arrived.open();
        await go.opened;
        await session.raw('select 2');
      });
    });
    const running = runOn({ home: home.url, other: db.url + FAST }, waiting);
    await arrived.opened;
    const [found] = await db.query<{ postmaster: number; pids: number[] }>(
      `select split_part(pg_read_file('postmaster.pid'), e'\\n', 1)::int as postmaster,
         array_agg(pid) as pids from pg_stat_activity where pid <> pg_backend_pid()`,
    );
    const pids = [found?.postmaster ?? 0, ...(found?.pids ?? [])];
    expect(pids[0]).to.be.greaterThan(1);
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      go.open();
      expectUnreachable(await endPauses(timers, running));
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
    await db.drop();
  });
});

describe('a task whose statement takes long', () => {
  const LOOKS = 12;
  const OPTIONS = { defaults: { conn: 'home' } } as const;
  let home: TestDatabase;
  let db: TestDatabase;
  before(async () => {
    home = await createDatabase();
    db = await createDatabase();
    await db.query('create table t (v text)');
  });
  after(() => Promise.all([home.drop(), db.drop()]));

  for (const conn of ['home', 'other'])
    it(`is not ended while the ${conn} server works on it`, async () => {
      using timers = holdTimers((ms) => ms >= LOOK_MS && ms % LOOK_MS === 0 && ms <= 300_000);
      const target = conn === 'home' ? home : db;
      const holder = await hold(target, 'select pg_advisory_lock(5)');
      const running = runOn(
        { home: home.url, other: db.url },
        dag('d', OPTIONS, (d) => void d.sql('w', { conn, sql: 'select pg_advisory_xact_lock(5)' })),
      );
      await until(target, BLOCKED);
      await endSome(timers, LOOKS);
      await holder[Symbol.asyncDispose]();
      expect((await running).outcome('w')).to.equal('success');
    });

  it('is not ended while the server waits for the rows of the task', async () => {
    using timers = holdTimers((ms) => ms >= LOOK_MS && ms % LOOK_MS === 0 && ms <= 300_000);
    const [begun, go] = [latch(), latch()];
    const rows = async function* () {
      yield 'v\na\n';
      begun.open();
      await go.opened;
      yield 'b\n';
    };
    const running = runOn(
      { home: home.url, other: db.url },
      dag('d', OPTIONS, (d) => {
        d.load('w', {
          conn: 'other',
          from: () => Readable.from(rows()),
          format: 'csv',
          into: 't',
          mode: 'append',
        });
      }),
    );
    await begun.opened;
    await until(db, `select from pg_stat_activity where wait_event = 'ClientRead' and query like 'copy%'`);
    await endSome(timers, LOOKS);
    go.open();
    expect((await running).outcome('w')).to.equal('success');
  });

  it('is not ended while the task reads the rows of the server slowly', async () => {
    using timers = holdTimers((ms) => ms >= LOOK_MS && ms % LOOK_MS === 0 && ms <= 300_000);
    const [begun, go] = [latch(), latch()];
    const running = runOn(
      { home: home.url, other: db.url },
      dag('d', OPTIONS, (d) => {
        d.session('w', { conn: 'other' }, async ({ session }) => {
          const copy = `copy (select repeat('x', 1000) from generate_series(1, 50000)) to stdout`;
          for await (const _part of session.copyTo(copy)) {
            begun.open();
            await go.opened;
          }
        });
      }),
    );
    await begun.opened;
    await until(db, `select from pg_stat_activity where wait_event = 'ClientWrite'`);
    await endSome(timers, LOOKS);
    go.open();
    expect((await running).outcome('w')).to.equal('success');
  });
});

describe('a pooler that gives a task no session of the server', () => {
  for (const { where, size } of [
    { where: 'the home database', size: 2 },
    { where: 'another database', size: 1 },
  ])
    it(`fails the task in ${where}, and says how many connections a run needs`, async () => {
      await using home = await createDatabase({ mayLeak: true });
      await using pooler = await startTransactionPooler(size);
      using timers = holdTimers((ms) => ms === LOOK_MS || ms === QUESTION_MS);
      await using db = await createDatabase({ mayLeak: true });
      const conn = where === 'the home database' ? 'home' : 'other';
      const [begun, taken, over] = [latch(), latch(), latch()];
      const graph = dag('d', { defaults: { conn: 'home' } }, (d) => {
        const first = d.sql('first', { conn, sql: 'select 1' });
        // Its record is in the database that has no pooler.
        const wait = d.session(
          'wait',
          { conn: conn === 'home' ? 'other' : 'home', needs: { first } },
          async () => {
            begun.open();
            await taken.opened;
          },
        );
        d.sql('w', { conn, needs: { wait }, sql: 'select 1' });
      });
      const urls = { home: home.url, other: db.url };
      const running = runOn({ ...urls, [conn]: pooler.url(urls[conn]) }, graph, {
        concurrency: 1,
        onEvent: (event) => {
          if (event.type === 'task_finished' && event.taskId === 'w') over.open();
        },
      });
      await begun.opened;
      const holder = await hold({ ...db, url: pooler.url(urls[conn]) }, 'begin');
      taken.open();
      await endPauses(timers, over.opened);
      await holder[Symbol.asyncDispose]();
      const run = await running;
      expect(run.outcome('w')).to.equal('failed ETL-1004');
      expect(run.tasks[2]?.error?.why).to.equal('a pooler has not given the task a session of the server');
      expect(run.tasks[2]?.error?.fix).to.include('one connection for its lock');
    });
});
