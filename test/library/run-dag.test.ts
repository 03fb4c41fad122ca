import { expect } from 'chai';
import { dag, type Dag, type DagRunResult, EtlError, FailTask, runDag } from '@oneshot/etl';
import { createDatabase } from '../support/database.js';

const orders = dag('orders', { defaults: { conn: 'db' } }, (d) => {
  const created = d.sql('create', { sql: 'create table orders as select generate_series(1, 3) as id' });
  const count = d.session('count', { needs: { created } }, async ({ session }) => {
    const [row] = await session('orders').count<{ count: string }[]>('* as count');
    return { orders: Number(row?.count) };
  });
  return { count, all: [created, count] };
});

describe('runDag', () => {
  it('runs a Dag and returns the results of the tasks that its definition returns, with their types', async () => {
    await using db = await createDatabase();
    const result = await runDag(orders, { connections: { db: db.url } });
    const count: { orders: number } | undefined = result.results.count;
    expect(count).to.deep.equal({ orders: 3 });
    expect(result.results.all).to.deep.equal([
      { rows: 0, statements: [{ command: 'SELECT', rows: 3 }] },
      { orders: 3 },
    ]);
    expect(result).to.include({ state: 'success', exitCode: 0, reportError: undefined });
    expect(result.tasks.map(({ taskId, state }) => [taskId, state])).to.deep.equal([
      ['create', 'success'],
      ['count', 'success'],
    ]);
    const rows = await db.query('select state from etl.run where run_id = $1', [result.runId]);
    expect(rows).to.deep.equal([{ state: 'success' }]);
  });

  it('returns a failed run, with the exit code of etl run and no result of the failed task', async () => {
    await using db = await createDatabase();
    const failing = dag('failing', { defaults: { conn: 'db' } }, (d) => {
      const one = d.session('one', {}, async ({ session }) => {
        await session.raw('create table t ()');
        throw new FailTask('no orders today');
      });
      return one;
    });
    const result: DagRunResult = await runDag(failing, { connections: { db: db.url } });
    expect(result).to.include({ state: 'failed', exitCode: 1, results: undefined });
    expect(result.tasks[0]?.error?.message).to.equal('no orders today');
    expect(await db.query(`select to_regclass('public.t') as t`)).to.deep.equal([{ t: null }]);
  });

  it('reports each event in order', async () => {
    await using db = await createDatabase();
    const types: string[] = [];
    await runDag(orders, { connections: { db: db.url }, onEvent: ({ type }) => types.push(type) });
    expect(types.filter((type) => type !== 'notice')).to.deep.equal([
      'run_started',
      'task_started',
      'task_finished',
      'task_started',
      'task_finished',
      'run_finished',
    ]);
  });

  it('goes on if onEvent throws, and returns the first error', async () => {
    await using db = await createDatabase();
    const result = await runDag(orders, {
      connections: { db: db.url },
      onEvent: () => {
        throw new Error('no disk');
      },
    });
    expect(result.state).to.equal('success');
    expect(result.reportError).to.include({ code: 'ETL-9002' });
    expect(result.reportError?.message).to.match(/run_started .*no disk/);
  });

  it('stops the run when its signal aborts, and rolls the running task back', async () => {
    await using db = await createDatabase();
    const controller = new AbortController();
    const started = createPromise();
    const waiting = dag('waiting', { defaults: { conn: 'db' } }, (d) =>
      d.session('wait', {}, async ({ session }) => {
        await session.raw('create table t ()');
        started.resolve();
        await session.raw('select pg_sleep(600)');
      }),
    );
    const running = runDag(waiting, { connections: { db: db.url }, signal: controller.signal });
    await started.promise;
    controller.abort(new Error('the server is shutting down'));
    const { state, errors } = await running;
    expect(state).to.equal('failed');
    expect(errors[0]).to.include({ code: 'ETL-3302' });
    expect(errors[0]?.message).to.equal('the run was stopped by its signal: the server is shutting down');
    expect(await db.query(`select to_regclass('public.t') as t`)).to.deep.equal([{ t: null }]);
  });

  it('starts nothing if its signal has aborted already', async () => {
    await using db = await createDatabase();
    const error = await fail(runDag(orders, { connections: { db: db.url }, signal: AbortSignal.abort() }));
    expect(error.code).to.equal('ETL-3302');
    expect(await db.query(`select to_regclass('public.orders') as t`)).to.deep.equal([{ t: null }]);
  });

  it('takes a connection from the variables that it is given, and from no others', async () => {
    await using db = await createDatabase();
    const result = await runDag(orders, { variables: { ETL_CONN_DB: db.url } });
    expect(result.state).to.equal('success');
    const error = await fail(runDag(orders, { variables: {} }));
    expect(error.code).to.equal('ETL-2202');
    expect(error.fix).to.match(/connections\.db in the options of runDag/);
  });

  const wrong: readonly [title: string, options: object, code: string, message: RegExp][] = [
    ['a resume with params', { resume: true, params: {} }, 'ETL-2001', /`params` does not go with `resume`/],
    ['strict without resume', { strict: true }, 'ETL-2001', /`strict` needs `resume`/],
    ['a task without its run', { task: 'count' }, 'ETL-2001', /`task` needs `runId`/],
    ['a run ID with a space', { runId: 'a b' }, 'ETL-2001', /`runId` must have/],
    ['another overlap', { overlap: 'later' }, 'ETL-2001', /`overlap` must be/],
    ['a wait of no time', { overlap: 'wait:0s' }, 'ETL-2303', /overlap/],
    ['a date without a schedule', { date: '2026-03-01' }, 'ETL-2005', /schedule/],
    ['a param that the Dag does not take', { params: { a: 1 } }, 'ETL-2401', /unknown param "a"/],
    ['a full refresh of no task', { fullRefresh: ['nope'] }, 'ETL-2004', /nope/],
    ['a run to resume that does not exist', { resume: true }, 'ETL-2009', /to resume/],
  ];
  for (const [title, options, code, message] of wrong) {
    it(`refuses ${title}, and starts nothing`, async () => {
      await using db = await createDatabase();
      const error = await fail(runDag(orders, { connections: { db: db.url }, ...options }));
      expect(error.code).to.equal(code);
      expect(error.message).to.match(message);
      expect(await db.query(`select to_regclass('public.orders') as t`)).to.deep.equal([{ t: null }]);
    });
  }

  it('refuses to start while another run of the Dag is running', async () => {
    await using db = await createDatabase();
    const [started, go] = [createPromise(), createPromise()];
    const held = dag('held', { defaults: { conn: 'db' } }, (d) =>
      d.session('hold', {}, async () => {
        started.resolve();
        await go.promise;
      }),
    );
    const first = runDag(held, { connections: { db: db.url } });
    await started.promise;
    const error = await fail(runDag(held, { connections: { db: db.url } }));
    expect(error.code).to.equal('ETL-7501');
    go.resolve();
    expect((await first).state).to.equal('success');
  });

  it('adds no listener to the process and changes nothing of it', async () => {
    await using db = await createDatabase();
    const read = () => [
      process.exitCode,
      process.cwd(),
      process.eventNames().map((name) => [String(name), process.listenerCount(name)]),
      { ...process.env },
    ];
    const before = read();
    let during: unknown;
    const result = await runDag(orders, {
      connections: { db: db.url },
      onEvent: ({ type }) => {
        if (type === 'task_started') during = read();
      },
    });
    expect(result.state).to.equal('success');
    expect(during).to.deep.equal(before);
    expect(read()).to.deep.equal(before);
  });

  describe('with `resume`', () => {
    /** Creates a Dag whose second task fails at its first run. */
    function createFlaky(counts: { first: number; second: number }): Dag {
      return dag('flaky', { defaults: { conn: 'db' } }, (d) => {
        const first = d.session('first', {}, async () => ++counts.first);
        d.session('second', { needs: [first] }, async () => {
          counts.second++;
          if (counts.second === 1) throw new Error('not yet');
        });
      });
    }

    it('runs only what is left, in the same process', async () => {
      await using db = await createDatabase();
      const counts = { first: 0, second: 0 };
      const flaky = createFlaky(counts);
      const failed = await runDag(flaky, { connections: { db: db.url } });
      const resumed = await runDag(flaky, { connections: { db: db.url }, resume: true });
      expect([failed.state, resumed.state, resumed.runId]).to.deep.equal(['failed', 'success', failed.runId]);
      expect(counts).to.deep.equal({ first: 1, second: 2 });
    });

    const versions: readonly [title: string, then: string, now: string, first: number][] = [
      ['runs only what is left, if `codeVersion` is the same', 'a1', 'a1', 1],
      ['runs tasks with functions again, if `codeVersion` is another one', 'a1', 'b2', 2],
    ];
    for (const [title, then, now, first] of versions) {
      it(title, async () => {
        await using db = await createDatabase();
        const counts = { first: 0, second: 0 };
        await runDag(createFlaky(counts), { connections: { db: db.url }, codeVersion: then });
        await runDag(createFlaky(counts), { connections: { db: db.url }, resume: true, codeVersion: now });
        expect(counts.first).to.equal(first);
      });
    }
  });
});

/** Creates a promise and the function that resolves it. */
function createPromise(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** Returns the error that a run rejects with. */
async function fail(running: Promise<unknown>): Promise<EtlError> {
  const error: unknown = await running.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof EtlError) return error;
  throw new Error('the run has started', { cause: error });
}
