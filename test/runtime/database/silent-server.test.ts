import { expect } from 'chai';
import { tryConnections } from '../../../src/commands/connections/trial.js';
import { Ledgers } from '../../../src/commands/program/ledgers.js';
import type { Program } from '../../../src/commands/program/program.js';
import type { EtlError } from '../../../src/errors.js';
import { parseConnection } from '../../../src/hooks/parse-connection.js';
import { postgresHook } from '../../../src/hooks/postgres/postgres-hook.js';
import { dag } from '../../../src/runtime/dag/dag.js';
import { nameSchema } from '../../../src/runtime/ledger/ledger.js';
import { ANSWER_MS } from '../../../src/runtime/waiting.js';
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
      lookup: { find: () => connection },
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
    expect((error as EtlError).fix).to.include('one connection for its lock and one more for each task');
    expect((error as EtlError).fix).to.include('at least 2');
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
