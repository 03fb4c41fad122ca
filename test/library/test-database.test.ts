import { expect } from 'chai';
import { dag, type EtlError } from '@oneshot/etl';
import { createGate, openTestDatabase, type TestDatabase, withTestDatabase } from '@oneshot/etl/testing';
import { createDatabase, type TestDatabase as ServerTestDatabase } from '../support/database.js';

const monthly = dag('monthly', { schedule: '0 2 1 * *', defaults: { conn: 'shop' } }, (d) => {
  const big = d.session('count-big', {}, async ({ session, interval }) => {
    const rows = await session('orders').where('total', '>', 100);
    return { orders: rows.length, since: interval.start.toISOString() };
  });
  const report = d.sql('report', {
    needs: { big },
    sql: ({ upstream }) => ({ text: 'insert into report values ($1)', values: [upstream.big.orders] }),
    checks: [{ name: 'not-empty', sql: 'select from report where orders = 0' }],
  });
  return { big, report };
});

const SQL = 'create table orders (id int primary key, total int); create table report (orders int)';

describe('a test database', () => {
  let server: ServerTestDatabase;
  before(async () => (server = await createDatabase()));
  after(() => server.drop());

  for (const kind of ['embedded', 'on a server'] as const) {
    describe(kind, () => {
      let db: TestDatabase;
      before(async () => {
        db = await openTestDatabase({ sql: SQL, url: kind === 'embedded' ? undefined : server.url });
      });
      after(() => db.close());
      beforeEach(async () => {
        await db.query('truncate orders, report');
        await db.insert('orders', [
          { id: 1, total: 50 },
          { id: 2, total: 150 },
        ]);
      });

      it('takes rows, runs a Dag, and returns typed results and rows', async () => {
        const { state, results } = await db.run(monthly, { now: new Date('2026-03-05T00:00:00Z') });
        expect(state).to.equal('success');
        expect(results.big).to.deep.equal({ orders: 1, since: '2026-02-01T02:00:00.000Z' });
        expect(await db.query('select * from report')).to.deep.equal([{ orders: 1 }]);
      });

      it('runs two Dags one after the other', async () => {
        for (const _run of [1, 2]) expect((await db.run(monthly)).state).to.equal('success');
        expect(await db.query('select count(*)::int as rows from report')).to.deep.equal([{ rows: 2 }]);
      });

      it('runs one task with the results of its upstream tasks', async () => {
        const task = await db.runTask(monthly, 'report', { upstream: { big: { orders: 7 } } });
        expect(task).to.include({ taskId: 'report', state: 'success', rows: 1 });
        expect(await db.query('select * from report')).to.deep.equal([{ orders: 7 }]);
      });

      it('returns the result of one task with its type', async () => {
        const { result } = await db.runTask(monthly, monthly.defined.big);
        expect(result?.orders).to.equal(1);
      });

      it('returns the error of a task whose check fails', async () => {
        const task = await db.runTask(monthly, 'report', { upstream: { big: { orders: 0 } } });
        expect(task).to.include({ state: 'failed', result: undefined });
        expect(task.error?.code).to.equal('ETL-3101');
        expect(await db.query('select * from report')).to.deep.equal([]);
      });

      it('rolls a task back on request, and shows what it would have written', async () => {
        let seen: unknown;
        const task = await db.runTask(monthly, 'report', {
          upstream: { big: { orders: 7 } },
          rollback: true,
          inspect: async ({ query }) => {
            seen = await query('select * from report where orders > $1', [6]);
          },
        });
        expect(seen).to.deep.equal([{ orders: 7 }]);
        expect(task).to.include({ state: 'success', rows: 1 });
        expect(task.error).to.equal(undefined);
        expect(await db.query('select * from report')).to.deep.equal([]);
      });

      it('returns a failure of a task that is rolled back on request', async () => {
        const options = { upstream: { big: { orders: 0 } }, rollback: true };
        const { state, error } = await db.runTask(monthly, 'report', options);
        expect([state, error?.code]).to.deep.equal(['failed', 'ETL-3101']);
      });

      it('fails the task if `inspect` throws', async () => {
        const { state, error } = await db.runTask(monthly, 'report', {
          upstream: { big: { orders: 7 } },
          inspect: async () => {
            throw new Error('7 is too many');
          },
        });
        expect([state, error?.message]).to.deep.equal(['failed', '7 is too many']);
        expect(await db.query('select * from report')).to.deep.equal([]);
      });

      it('refuses a task that the Dag does not have', async () => {
        const error: unknown = await db.runTask(monthly, 'nope').catch((thrown: unknown) => thrown);
        expect((error as EtlError).code).to.equal('ETL-2004');
      });

      it('orders what happens at once with a gate', async () => {
        const gate = createGate();
        const slow = dag('slow', { defaults: { conn: 'shop' } }, (d) =>
          d.session('wait', {}, async () => gate.pass()),
        );
        let order = 'not started';
        const running = db.run(slow).then(() => (order += ', ended'));
        await gate.arrived;
        order = 'waits at the gate';
        gate.open();
        expect(await running).to.equal('waits at the gate, ended');
      });
    });
  }

  it('runs a Dag with two connections on two databases', async () => {
    await using shop = await openTestDatabase({ sql: SQL });
    await using crm = await openTestDatabase({ sql: SQL });
    await shop.insert('orders', [{ id: 1, total: 5 }]);
    const copy = dag('copy', { defaults: { conn: 'crm' } }, (d) =>
      d.transfer('orders', { from: 'shop', table: 'orders', into: 'orders', mode: 'append' }),
    );
    expect((await crm.run(copy, { connections: { shop } })).results?.rows).to.equal(1);
    expect(await crm.query('select * from orders')).to.deep.equal([{ id: 1, total: 5 }]);
    const error: unknown = await crm.run(copy).catch((thrown: unknown) => thrown);
    expect((error as EtlError).message).to.match(/"shop" and "crm"|"crm" and "shop"/);
  });

  it('is closed by withTestDatabase, also after an error, and is dropped on a server', async () => {
    const count = `select count(*)::int as n from pg_database where datname like 'etl_test_%'`;
    const [before] = await server.query(count);
    const failure = new Error('the test fails');
    const thrown: unknown = await withTestDatabase(
      async () => {
        throw failure;
      },
      { url: server.url },
    ).catch((error: unknown) => error);
    expect(thrown).to.equal(failure);
    expect((await server.query(count))[0]).to.deep.equal(before);
  });

  it('is closed if its SQL is wrong, and the error says why', async () => {
    const error: unknown = await openTestDatabase({ sql: 'create tabel t ()' }).catch(
      (thrown: unknown) => thrown,
    );
    expect((error as Error).message).to.match(/syntax error at or near "tabel"/);
  });

  it('has a gate whose waits end after its limit', async () => {
    const gate = createGate('1ms');
    const errors = await Promise.allSettled([gate.arrived, createGate('1ms').pass()]);
    expect(errors.map((each) => each.status === 'rejected' && String(each.reason))).to.deep.equal([
      'Error: no task came to the gate within 0.001 s',
      'Error: nobody opened the gate within 0.001 s',
    ]);
  });
});
