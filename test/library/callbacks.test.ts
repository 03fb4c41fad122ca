import { expect } from 'chai';
import { dag, EtlError, type FailedRun, runDag, type RunCallbacks, type SucceededRun } from '@oneshot/etl';
import { openTestDatabase } from '@oneshot/etl/testing';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { holdTimers } from '../support/held-timers.js';

describe('onSuccess and onFailure', () => {
  let db: TestDatabase;
  before(async () => (db = await createDatabase()));
  after(() => db.drop());

  /** Defines a Dag whose task returns the number of rows of a query. */
  const define = (sql: string, callbacks: RunCallbacks = {}) =>
    dag('d', { defaults: { conn: 'db' } }, (d) => void d.sql('one', { sql }), callbacks);
  const connections = () => ({ db: db.url });

  it('get the results that the definition returns, with their types', async () => {
    let total: number | undefined;
    const counted = dag(
      'counted',
      { defaults: { conn: 'db' }, schedule: '@daily', startDate: '2026-01-01' },
      (d) => ({ count: d.session('count', {}, async () => ({ total: 3 })) }),
      {
        onSuccess: ({ result }) => {
          const count: { total: number } | undefined = result.results.count;
          // @ts-expect-error -- the Dag has no such task
          void result.results.other;
          total = count?.total;
        },
        onFailure: ({ result }) => {
          const count: { total: number } | undefined = result?.results.count;
          total = count?.total;
        },
      },
    );
    const { callbackErrors, interval } = await runDag(counted, { connections: connections() });
    expect(total).to.equal(3);
    expect(callbackErrors).to.deep.equal([]);
    expect(interval?.end.getTime()).to.be.greaterThan(interval?.start.getTime() ?? Infinity);
  });

  it('calls the functions after the state is recorded and the connections are closed', async () => {
    const seen: unknown[] = [];
    const look = async ({ result }: FailedRun | SucceededRun): Promise<void> => {
      const rows = await db.query('select state from etl.run where run_id = $1', [result?.runId]);
      seen.push(rows[0], await db.leftSessions());
    };
    await runDag(define('select 1', { onSuccess: look }), { connections: connections() });
    await runDag(define('select 1/0', { onFailure: look }), { connections: connections() });
    expect(seen).to.deep.equal([{ state: 'success' }, [], { state: 'failed' }, []]);
  });

  it('calls onFailure with the reason, the first error, the summary and the resume command', async () => {
    const runs: FailedRun[] = [];
    const result = await runDag(define('select 1/0'), {
      connections: connections(),
      onSuccess: () => expect.fail('the run has failed'),
      onFailure: (run) => runs.push(run),
    });
    const [run] = runs;
    expect(run).to.include({
      dagId: 'd',
      exitCode: 1,
      interval: undefined,
      reason: 'one: ETL-3001 division by zero',
      resume: `etl run d --resume --run-id ${result.runId}`,
    });
    expect(run?.error).to.include({ code: 'ETL-3001', message: 'division by zero' });
    expect(run?.result).to.include({ runId: result.runId, state: 'failed', exitCode: 1 });
    expect(run?.summary).to.match(/^d {2}run \S+\nFAILED {2}1 failed, .*, exit code 1\nresume: /);
  });

  it('calls the function of the Dag and that of the options', async () => {
    const called: string[] = [];
    const graph = define('select 1', { onSuccess: ({ dagId }) => called.push(`Dag ${dagId}`) });
    await runDag(graph, { connections: connections(), onSuccess: () => called.push('options') });
    expect(called).to.have.members(['Dag d', 'options']);
  });

  it('has no values of rows in its texts, except that showData has them', async () => {
    const checked = dag('checked', { defaults: { conn: 'db' } }, (d) => {
      d.sql('one', { sql: 'select 1', checks: [{ name: 'none', sql: "select 'Ada' as name" }] });
    });
    const texts: string[] = [];
    const onFailure = ({ reason, summary }: FailedRun) => texts.push(reason + summary);
    await runDag(checked, { connections: connections(), onFailure });
    await runDag(checked, { connections: connections(), onFailure, showData: true });
    expect(texts.map((text) => text.includes('Ada'))).to.deep.equal([false, true]);
    expect(texts[0]).to.include('check "none" failed');
  });

  it('calls onFailure if the run could not start, and throws the error then', async () => {
    const runs: FailedRun[] = [];
    const options = {
      connections: { db: 'postgres://u@127.0.0.1:1/x' },
      onFailure: (run: FailedRun) => runs.push(run),
    };
    const error: unknown = await runDag(define('select 1'), options).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(EtlError).and.include({ code: 'ETL-1001' });
    expect(runs).to.have.length(1);
    expect(runs[0]).to.include({ dagId: 'd', exitCode: 69, error, result: undefined, resume: undefined });
    expect(runs[0]?.reason).to.match(/^ETL-1001 /);
    expect(runs[0]?.summary).to.match(/^d\nFAILED {2}the run did not start, exit code 69\nETL-1001 /);
  });

  it('is not called for options that are wrong', async () => {
    const onFailure = () => expect.fail('there is no run');
    const options = { connections: connections(), onFailure, params: { a: 1 } };
    const error: unknown = await runDag(define('select 1'), options).catch((thrown: unknown) => thrown);
    expect(error).to.include({ code: 'ETL-2401' });
  });

  const failures: readonly [title: string, callback: () => unknown, message: string][] = [
    [
      'throws',
      () => {
        throw new Error('no network');
      },
      'no network',
    ],
    [
      'rejects',
      async () => {
        throw new Error('no network');
      },
      'no network',
    ],
    ['rejects with a text', () => Promise.reject('no network'), 'no network'], // oxlint-disable-line prefer-promise-reject-errors -- users do it
  ];
  for (const [title, callback, message] of failures) {
    it(`has an error of a function as a value, and changes neither state nor exit code: it ${title}`, async () => {
      const good = await runDag(define('select 1', { onSuccess: callback }), { connections: connections() });
      expect(good).to.include({ state: 'success', exitCode: 0 });
      expect(good.callbackErrors.map(({ code, message: text }) => [code, text])).to.deep.equal([
        ['ETL-3012', `onSuccess of the Dag "d" failed: ${message}`],
      ]);
      const bad = await runDag(define('select 1/0'), { connections: connections(), onFailure: callback });
      expect(bad).to.include({ state: 'failed', exitCode: 1 });
      expect(bad.callbackErrors[0]?.message).to.equal(
        `onFailure of the options of runDag failed: ${message}`,
      );
    });
  }

  it('gives up a function that does not end in time, and aborts its signal', async () => {
    using timers = holdTimers(12_345);
    let signal: AbortSignal | undefined;
    const running = runDag(define('select 1'), {
      connections: connections(),
      callbackTimeout: 12_345,
      onSuccess: (run) => {
        ({ signal } = run);
        return new Promise(() => undefined);
      },
    });
    const fire = await timers.next();
    expect(signal?.aborted).to.equal(false);
    fire();
    const { callbackErrors, state } = await running;
    expect(state).to.equal('success');
    expect(signal?.aborted).to.equal(true);
    expect(callbackErrors[0]?.message).to.match(
      /^onSuccess of the options of runDag did not end within 12\.\ds$/,
    );
  });

  it('is not called in a test database', async () => {
    await using test = await openTestDatabase({ url: db.url });
    const fail = () => expect.fail('a test sends no notifications');
    const graph = define('select 1', { onSuccess: fail, onFailure: fail });
    expect((await test.run(graph)).state).to.equal('success');
  });

  const misplaced: object = { onFailure: () => 1 };
  const wrong: readonly [title: string, define: () => unknown, message: RegExp][] = [
    [
      'a text',
      () => define('select 1', { onSuccess: 'x' as never }),
      /expected `onSuccess` to be a function/,
    ],
    ['another name', () => define('select 1', { onError: () => 1 } as object), /no option `onError`/],
    ['no object', () => define('select 1', 1 as never), /fourth argument of dag\(\)/],
    [
      'an option of the Dag',
      () => dag('d', misplaced, (d) => d.sql('s', { sql: '' })),
      /`onFailure` of a Dag is not among its options/,
    ],
  ];
  for (const [title, call, message] of wrong)
    it(`refuses ${title} with ETL-2303`, () => {
      expect(call).to.throw(EtlError, message).with.property('code', 'ETL-2303');
    });
});
