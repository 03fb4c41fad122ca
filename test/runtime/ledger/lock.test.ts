import { expect } from 'chai';
import pg from 'pg';
import { dag } from '../../../src/runtime/dag/dag.js';
import { formatSessionName, formatSessionPrefix, nameSchema } from '../../../src/runtime/ledger/ledger.js';
import { cluster, createDatabase, type TestDatabase } from '../../support/database.js';
import { frozenProxy } from '../../support/frozen-proxy.js';
import { runOn } from '../../support/run.js';
import { startTransactionPooler } from '../../support/transaction-pooler.js';
import { hold, latch, startOn, until } from '../attempt/attempt-project.js';

const OPTIONS = { defaults: { conn: 'db' } } as const;

describe('the transaction that holds the lock of a Dag', () => {
  let db: TestDatabase;
  beforeEach(async () => {
    db = await createDatabase({ mayLeak: true });
  });
  afterEach(() => db.drop());

  /** The snapshot and the transaction ID of the session with the lock. Neither may be there. */
  const HOLDER = `select backend_xmin::text as xmin, backend_xid::text as xid, state from pg_stat_activity
    where datname = current_database() and pid in (select pid from pg_locks where locktype = 'advisory' and granted
      and (classid::bigint << 32 | objid::bigint) = hashtextextended('etl:d', 0))`;
  const IDLE = [{ xmin: null, xid: null, state: 'idle in transaction' }];

  const looking = (seen: unknown[]) =>
    dag('d', OPTIONS, (d) => {
      d.task('look', {}, async ({ run: { id } }) => {
        seen.push(await db.query(HOLDER));
        if (id.endsWith('fails') && seen.length === 1) throw new Error('on purpose');
      });
    });

  it('has no snapshot and no ID during a new run and a resumed run', async () => {
    const seen: unknown[] = [];
    const graph = looking(seen);
    const { runId } = await runOn({ db: db.url }, graph, { runId: 'fails' });
    await runOn({ db: db.url }, graph, {
      resume: { kind: 'resume', runId, interval: undefined, strict: false },
    });
    expect(seen).to.deep.equal([IDLE, IDLE]);
  });

  it('has no snapshot and no ID if the role has the isolation serializable', async () => {
    await db.query(`alter database ${db.name} set default_transaction_isolation = 'serializable'`);
    const seen: unknown[] = [];
    expect((await runOn({ db: db.url }, looking(seen))).state).to.equal('success');
    expect(seen).to.deep.equal([IDLE]);
  });

  it('has no snapshot and no ID behind a pooler in transaction mode', async () => {
    await using pooler = await startTransactionPooler();
    const seen: unknown[] = [];
    expect((await runOn({ db: pooler.url(db.url) }, looking(seen))).state).to.equal('success');
    expect(seen).to.deep.equal([IDLE]);
  });

  it('has no snapshot and no ID while the run waits for the lock, and after the wait', async () => {
    const seen: unknown[] = [];
    await using holder = await hold(db, `begin; select pg_advisory_xact_lock(hashtextextended('etl:d', 0))`);
    const ended = startOn({ db: db.url }, looking(seen), { overlap: { mode: 'wait', waitMs: 60_000 } });
    await until(db, `select from pg_stat_activity where datname = current_database() and query = 'rollback'`);
    const waiting = await db.query(
      `select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    expect(waiting).to.deep.equal([]);
    await holder.query('rollback');
    expect((await ended).state).to.equal('success');
    expect(seen).to.deep.equal([IDLE]);
  });

  it('does not hold up `create index concurrently` in a task of its own run', async () => {
    await db.query('create table t (v int)');
    const graph = dag('d', OPTIONS, (d) => {
      d.task('index', {}, async () => {
        const client = new pg.Client(db.url);
        await client.connect();
        try {
          await client.query(`set statement_timeout = '60s'`);
          await client.query('create index concurrently on t (v)');
        } finally {
          await client.end();
        }
      });
    });
    const run = await runOn({ db: db.url }, graph);
    expect(run.state, run.tasks[0]?.error?.message).to.equal('success');
  });

  /** Fires the ticks of the watch of the lock. Other intervals are left alone. */
  function catchTicks(): Disposable & { fire(times: number): void } {
    const original = globalThis.setInterval;
    const ticks: (() => void)[] = [];
    const replacement = (callback: () => void, ms?: number, ...args: unknown[]): NodeJS.Timeout => {
      if (ms === 1000) ticks.push(callback);
      return original(callback, ms, ...(args as []));
    };
    globalThis.setInterval = Object.assign(replacement, original);
    return {
      fire: (times) => {
        for (let i = 0; i < times; i++) for (const tick of ticks) tick();
      },
      [Symbol.dispose]: () => {
        globalThis.setInterval = original;
      },
    };
  }

  it('is asked every 5 seconds, and counts as lost if the server does not answer for 15 seconds', async () => {
    using ticks = catchTicks();
    await using proxy = await frozenProxy((await cluster()).port);
    const graph = dag('d', OPTIONS, (d) => {
      d.task('http', {}, async ({ signal }) => {
        proxy.freeze();
        ticks.fire(5 + 14);
        expect(signal.aborted).to.equal(false);
        ticks.fire(1);
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      });
    });
    const run = await runOn({ db: proxy.url(db.url) }, graph);
    expect(run.errors[0]?.code).to.equal('ETL-1003');
    expect(run.errors[0]?.message).to.equal('the connection that holds the lock of "d" was lost');
  });

  it('counts as lost if the server has ended the transaction and left the connection open', async () => {
    using ticks = catchTicks();
    const graph = dag('d', OPTIONS, (d) => {
      d.task('http', {}, async ({ signal }) => {
        // Cancelling a statement of the transaction would abort it. An idle timeout also ends the session.
        await db.query(`select pg_terminate_backend(pid, 10000) from pg_locks where locktype = 'advisory'
          and database = (select oid from pg_database where datname = current_database())`);
        ticks.fire(5);
        if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
      });
    });
    expect((await runOn({ db: db.url }, graph)).errors[0]?.code).to.equal('ETL-1003');
  });
});

describe('the application_name of a task', () => {
  const etl = nameSchema();
  const long = 'd'.repeat(99);

  it('is readable where it fits', () => {
    expect(formatSessionName(etl, 'monthly-report', 'load-orders')).to.equal(
      'etl:monthly-report/load-orders',
    );
    expect(formatSessionName(nameSchema('shop'), 'd', 't')).to.equal('shop:d/t');
  });

  it('has at most 63 ASCII characters, and differs for each Dag, each task and each schema', () => {
    const dags = [`${long}a`, `${long}b`, 'd', 'd'.repeat(36), 'd'.repeat(35)];
    const tasks = ['', 't', `${'t'.repeat(99)}a`, `${'t'.repeat(99)}b`];
    const schemas = ['etl', 'bär', 'bör', 's'.repeat(63), 'etl:d'].map(nameSchema);
    const names = schemas.flatMap((schema) =>
      dags.flatMap((dagId) => tasks.map((taskId) => formatSessionName(schema, dagId, taskId))),
    );
    expect(new Set(names).size).to.equal(schemas.length * dags.length * tasks.length);
    for (const name of names) expect(name).to.match(/^[ -~]{1,63}$/);
  });

  it('begins with the same prefix for all tasks of a Dag, and for no task of another Dag', () => {
    const prefix = formatSessionPrefix(etl, `${long}a`);
    expect(formatSessionName(etl, `${long}a`, 't'.repeat(99)).startsWith(prefix)).to.equal(true);
    expect(formatSessionName(etl, `${long}b`, 't'.repeat(99)).startsWith(prefix)).to.equal(false);
    expect(formatSessionName(etl, 'd-2', 't').startsWith(formatSessionPrefix(etl, 'd'))).to.equal(false);
  });

  it('keeps a run from ending the tasks of a Dag whose ID begins with the same 99 characters', async () => {
    await using db = await createDatabase({ mayLeak: true });
    const [started, goOn] = [latch(), latch()];
    const first = runOn(
      { db: db.url },
      dag(`${long}a`, OPTIONS, (d) => {
        d.session('t', {}, async ({ session }) => {
          await session.raw('select 1');
          started.open();
          await goOn.opened;
          await session.raw('select 1');
        });
      }),
    );
    await started.opened;
    const other = dag(`${long}b`, OPTIONS, (d) => void d.sql('t', { sql: 'select 1' }));
    expect((await runOn({ db: db.url }, other)).state).to.equal('success');
    goOn.open();
    const run = await first;
    expect(run.state, run.tasks[0]?.error?.message).to.equal('success');
  });
});
