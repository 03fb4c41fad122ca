import { expect } from 'chai';
import { tryConnections } from '../../../src/commands/connections/trial.js';
import { Ledgers } from '../../../src/commands/program/ledgers.js';
import type { Program } from '../../../src/commands/program/program.js';
import type { EtlError } from '../../../src/errors.js';
import { parseConnection } from '../../../src/hooks/parse-connection.js';
import { postgresHook } from '../../../src/hooks/postgres/postgres-hook.js';
import { dag } from '../../../src/runtime/dag/dag.js';
import { nameSchema } from '../../../src/runtime/ledger/ledger.js';
import { ANSWER_MS, SILENCE_MS } from '../../../src/runtime/waiting.js';
import { cluster, createDatabase, type TestDatabase } from '../../support/database.js';
import { frozenProxy } from '../../support/frozen-proxy.js';
import { type HeldTimers, holdTimers } from '../../support/held-timers.js';
import { runOn } from '../../support/run.js';
import { startTransactionPooler } from '../../support/transaction-pooler.js';
import { LOCK_HOLDER, until } from '../attempt/attempt-project.js';

const OPTIONS = { defaults: { conn: 'db' } } as const;

/** Ends each limit for an answer as soon as it begins, until `work` has ended. */
async function endLimits<T>(timers: HeldTimers, work: Promise<T>): Promise<T> {
  const settled = work.then(
    () => undefined,
    () => undefined,
  );
  for (;;) {
    const end = await Promise.race([timers.next(), settled]);
    if (end === undefined) return work;
    end();
  }
}

describe('a server that accepts connections and answers no statement', () => {
  let db: TestDatabase;
  beforeEach(async () => {
    db = await createDatabase({ mayLeak: true });
  });
  afterEach(() => db.drop());

  const createProgram = (url: string): Program => {
    const connection = parseConnection('shop', url, 'test');
    const settings = {
      poolSize: 1,
      applicationName: 'etl',
      variables: {},
      root: process.cwd(),
      pid: process.pid,
    };
    return {
      lookup: { find: () => connection, load: async () => connection },
      ledgerSchema: nameSchema(),
      open: () => postgresHook.open(connection, { ...settings, notice: () => undefined }),
    } as unknown as Program;
  };

  it('ends the start of a run after a limit, with the name of the connection', async () => {
    await using pooler = await startTransactionPooler(0);
    using timers = holdTimers(ANSWER_MS);
    const graph = dag('d', OPTIONS, (d) => void d.sql('w', { sql: 'select 1' }));
    const error = await endLimits(timers, runOn({ db: pooler.url(db.url) }, graph)).catch(
      (thrown: unknown) => thrown as EtlError,
    );
    expect(error).to.include({
      code: 'ETL-1004',
      message: 'connection "db" gave no answer within 1m 30s',
    });
  });

  it('ends a command that reads ledgers after a limit', async () => {
    await using pooler = await startTransactionPooler(0);
    using timers = holdTimers(ANSWER_MS);
    await using ledgers = new Ledgers(createProgram(pooler.url(db.url)));
    const error = await endLimits(
      timers,
      ledgers.readEach(['shop'], async () => []),
    ).catch((thrown: unknown) => thrown);
    expect(error).to.include({ code: 'ETL-1004', message: 'connection "shop" gave no answer within 1m 30s' });
  });

  it('ends the test of a connection after a limit', async () => {
    await using pooler = await startTransactionPooler(0);
    using timers = holdTimers(ANSWER_MS);
    const [trial] = await endLimits(timers, tryConnections(createProgram(pooler.url(db.url)), ['shop']));
    expect(trial?.error).to.include({ code: 'ETL-1004' });
  });
});

describe('a pooler that gives a run one connection to the server', () => {
  it('ends the run after a limit, and the error says how many connections a run needs', async () => {
    await using db = await createDatabase({ mayLeak: true });
    await using pooler = await startTransactionPooler(1);
    using timers = holdTimers(ANSWER_MS);
    const graph = dag('d', OPTIONS, (d) => void d.sql('w', { sql: 'select 1' }));
    const running = runOn({ db: pooler.url(db.url) }, graph).catch((thrown: unknown) => thrown as EtlError);
    // The lock gets the connection, and the ledger waits for a second one.
    await until(db, LOCK_HOLDER);
    const error = await endLimits(timers, running);
    expect(error).to.include({ code: 'ETL-1004' });
    expect((error as EtlError).fix).to.include(
      '1 connection to this server for its lock, and 1 for each task that runs at once: at most 5',
    );
    expect((error as EtlError).fix).to.include('at least 2');
  });

  it('says while the run waits how many connections it uses', async () => {
    await using db = await createDatabase({ mayLeak: true });
    await using pooler = await startTransactionPooler(1);
    using timers = holdTimers(SILENCE_MS);
    using limits = holdTimers(ANSWER_MS);
    const notices: string[] = [];
    const graph = dag('d', OPTIONS, (d) => void d.sql('w', { sql: 'select 1' }));
    const running = runOn({ db: pooler.url(db.url) }, graph, {
      onEvent: (event) => {
        if (event.type === 'notice') notices.push(event.text);
      },
    }).catch(() => undefined);
    await until(db, LOCK_HOLDER);
    while (notices.length === 0) (await timers.next())();
    expect(notices[0]).to.include('connection "db" has had no answer for 6.0s').and.include('at least 2');
    await endLimits(limits, running);
  });
});

describe('a pooler that gives a run fewer connections than it has tasks at once', () => {
  it('lets the tasks run one after the other, and says what a task waits for', async () => {
    await using db = await createDatabase({ mayLeak: true });
    await using pooler = await startTransactionPooler(2);
    const notices: string[] = [];
    let release: () => void = () => undefined;
    const noticed = new Promise<void>((resolve) => (release = resolve));
    const graph = dag('d', OPTIONS, (d) => {
      for (const id of ['a', 'b'])
        d.session(id, {}, async ({ session }) => {
          await session.raw('select 1');
          await noticed;
        });
    });
    const run = await runOn({ db: pooler.url(db.url) }, graph, {
      onEvent: (event) => {
        if (event.type !== 'notice') return;
        notices.push(event.text);
        release();
      },
    });
    expect(run.state).to.equal('success');
    expect(notices[0]).to.match(/^the BEGIN of "[ab]" has had no answer for 2\.0s: /);
    expect(notices[0]).to.include('a run needs 1 connection to this server for its lock');
  });
});

describe('a role that may open fewer connections than a run has tasks at once', () => {
  it('fails the task that gets none, and the error says how many the run uses and how many are open', async () => {
    await using db = await createDatabase({ mayLeak: true });
    const role = `${db.name}_two`;
    await db.query(`create role ${role} login password 'only-for-this-test' connection limit 2;
      grant create on database ${db.name} to ${role}`);
    const url = new URL(db.url);
    [url.username, url.password] = [role, 'only-for-this-test'];
    let release: () => void = () => undefined;
    const failed = new Promise<void>((resolve) => (release = resolve));
    const graph = dag('d', OPTIONS, (d) => {
      for (const id of ['a', 'b'])
        d.session(id, {}, async ({ session }) => {
          await session.raw('select 1');
          await failed;
        });
    });
    const run = await runOn({ db: url.href }, graph, {
      onEvent: ({ type }) => {
        if (type === 'task_finished') release();
      },
    });
    const [error] = run.tasks.flatMap((task) => task.error ?? []);
    expect(error).to.include({ code: 'ETL-1001' });
    expect(error?.why).to.include('too many connections for role');
    expect(error?.why)
      .to.include('at most 5 (--concurrency 4)')
      .and.include('this process had 2 connections and asked for 1 more');
    expect(error?.fix).to.include('with --concurrency 1 a run needs 2 connections');
    await db.leftSessions();
    await db.query(`drop owned by ${role} cascade; drop role ${role}`);
  });
});

describe('a server that stops answering during a run', () => {
  it('fails a task without a connection whose record gets no answer, and says what became of the work', async () => {
    await using db = await createDatabase({ mayLeak: true });
    await using proxy = await frozenProxy((await cluster()).port);
    using timers = holdTimers(ANSWER_MS);
    const begun: Promise<unknown>[] = [];
    const graph = dag('d', OPTIONS, (d) => {
      d.task('http', { retries: 0 }, async () => {
        proxy.freeze();
        begun.push(timers.next().then((end) => end()));
        return 200;
      });
    });
    const run = await runOn({ db: proxy.url(db.url) }, graph, {
      onEvent: ({ type }) => {
        if (type !== 'task_finished') return;
        proxy.restore();
        proxy.cut();
      },
    });
    await Promise.all(begun);
    expect(run.outcome('http')).to.equal('failed ETL-1004');
    expect(run.tasks[0]?.error?.data).to.match(/^the task did its work; if it was not recorded/);
  });
});
