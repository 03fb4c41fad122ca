import { expect } from 'chai';
import { Model } from 'objection';
import { EtlError } from '../src/errors.js';
import { parseConnection } from '../src/hooks/parse-connection.js';
import { findHook } from '../src/hooks/index.js';
import { createLookup } from '../src/hooks/lookup.js';
import { dag } from '../src/runtime/dag/dag.js';
import {
  findIntervalContaining,
  findLastCompleteInterval,
  parseSchedule,
} from '../src/runtime/interval/interval.js';
import { planTasks } from '../src/runtime/dag/plan.js';
import { findDatabaseError } from '../src/runtime/postgres/sqlstate.js';
import { createProject } from './support/cli.js';
import { type TestDatabase, cluster, createDatabase } from './support/database.js';
import { commitProxy } from './support/proxy.js';
import { runOn } from './support/run.js';
import type { SessionContext } from '../src/runtime/tasks/task-context.js';

class Item extends Model {
  static override tableName = 'item';
  declare id: number;
  declare name: string;
}

/** The program replaces an Airflow operator that ran a function with a session: what the operator did or promised. */
describe("the Airflow operator's pattern", () => {
  let db: TestDatabase;
  const one = (body: (context: SessionContext<object, undefined, object, undefined>) => Promise<unknown>) =>
    dag('d', { defaults: { conn: 'my_db' } }, (d) => {
      d.session('sqlalchemy', {}, async (context) => (await body(context)) as null);
    });
  const run = (graph: ReturnType<typeof dag>, options = {}) => runOn({ my_db: db.url }, graph, options);
  const names = async () =>
    (await db.query<{ name: string }>('select name from item order by id')).map(({ name }) => name);

  before(async () => {
    db = await createDatabase();
    await db.query('create table item (id serial primary key, name text not null unique)');
  });
  after(() => db.drop());
  beforeEach(() => db.query('truncate item'));

  it('a Dag is code: the default export of etl.config.ts', async () => {
    await using project = await createProject({
      'etl.config.ts': `import { dag, defineConfig } from '@oneshot/etl';
        export default defineConfig({ dags: [dag('elegant', {}, (d) => { d.task('a', {}, async () => null); })] });`,
    });
    const { code, stdout } = await project.cli(['list', '--json']);
    expect(code).to.equal(0);
    expect(JSON.parse(stdout)).to.have.nested.property('[0].dag', 'elegant');
  });

  it('a sql task runs all its statements in one transaction, and records a row count for each', async () => {
    const graph = dag('d', { defaults: { conn: 'my_db' } }, (d) => {
      d.sql('two', { sql: `insert into item (name) values ('a'), ('b'); delete from item where name = 'b'` });
      d.sql('broken', { sql: [`insert into item (name) values ('c')`, 'select 1/0'] });
    });
    const { outcome, runId } = await run(graph);
    expect([outcome('two'), outcome('broken')]).to.deep.equal(['success', 'failed ETL-3001']);
    expect(await names()).to.deep.equal(['a']);
    const [row] = await db.query<{ result: unknown }>('select result from etl.task where run_id = $1', [
      runId,
    ]);
    expect(row?.result).to.deep.equal({
      rows: 3,
      statements: [
        { command: 'INSERT', rows: 2 },
        { command: 'DELETE', rows: 1 },
      ],
    });
  });

  it('models write through the session of their task', async () => {
    await run(
      one(async ({ session }) => {
        const [first] = await Item.query(session).insert([{ name: 'a' }, { name: 'b' }]);
        await first?.$query(session).patch({ name: 'c' });
      }),
    );
    expect(await names()).to.have.members(['c', 'b']);
  });

  it('connections are listed by a prefix: literally, in any case, from every source, sorted', () => {
    const lookup = createLookup({
      flags: {},
      environment: {
        variables: {
          ETL_CONN_MY_PREFIX_B: 'postgres://h/b',
          AIRFLOW_CONN_MY_PREFIX_A: 'postgres://h/a',
          ETL_CONN_MYXPREFIXY1: 'postgres://h/x',
        },
        sources: new Map(),
        notices: [],
      },
      config: { my_prefix_C: 'postgres://h/c', other: 'postgres://h/o' },
      configName: 'etl.config.ts',
    });
    expect(lookup.ids('MY_prefix_')).to.deep.equal(['my_prefix_a', 'my_prefix_b', 'my_prefix_C']);
    expect(lookup.ids('none')).to.deep.equal([]);
  });

  it('the type of a connection decides what opens it, and an unknown type is refused with the known ones', () => {
    expect(findHook(parseConnection('a', 'postgres://h/d', 'test')).schemes).to.include('postgres');
    expect(() => findHook(parseConnection('a', 'mysql://h/d', 'test')))
      .to.throw(EtlError, /connection "a" has the type "mysql"/)
      .with.property('fix', 'the types are postgres and pglite');
  });

  it('a run has one pool for each connection, and closes it', async () => {
    const graph = dag('d', { defaults: { conn: 'my_db' } }, (d) => {
      for (let i = 0; i < 10; i++) {
        d.session(`task-${i}`, {}, async ({ session }) => {
          const { rows } = await session.raw<{ rows: { pid: number }[] }>('select pg_backend_pid() as pid');
          return rows[0]?.pid ?? 0;
        });
      }
    });
    const { runId } = await run(graph, { concurrency: 2 });
    const pids = await db.query<{ result: number }>(
      'select distinct result from etl.task where run_id = $1',
      [runId],
    );
    expect(pids.length).to.be.at.most(2);
    expect(await db.leftSessions()).to.deep.equal([]);
  });

  it('a task that waits for its turn holds no connection', async () => {
    const graph = dag('d', { defaults: { conn: 'my_db' } }, (d) => {
      for (let i = 0; i < 6; i++) {
        d.session(`task-${i}`, {}, async ({ session }) => {
          const { rows } = await session.raw<{ rows: { n: string }[] }>(
            `select count(*) as n from pg_stat_activity where datname = current_database() and application_name like 'etl:%'`,
          );
          return Number(rows[0]?.n);
        });
      }
    });
    const { runId } = await run(graph, { concurrency: 2 });
    const counts = await db.query<{ result: number }>('select result from etl.task where run_id = $1', [
      runId,
    ]);
    expect(Math.max(...counts.map(({ result }) => result))).to.be.at.most(2);
  });

  it('twenty tasks that fail leave no session', async () => {
    const graph = dag('d', { defaults: { conn: 'my_db' } }, (d) => {
      for (let i = 0; i < 20; i++) {
        d.session(`task-${i}`, {}, async ({ session }) => {
          await session('item').insert({ name: `${i}` });
          throw new Error('no try, no finally');
        });
      }
    });
    const { tasks } = await run(graph);
    expect(tasks.every(({ state }) => state === 'failed')).to.equal(true);
    expect(await db.leftSessions()).to.deep.equal([]);
  });

  it('a task without a connection is refused with its location, before the run', () => {
    const graph = dag('d', {}, (d) => {
      d.session('homeless', {}, async () => null);
    });
    expect(() => planTasks(graph, {}))
      .to.throw(EtlError, 'task "homeless" has no connection')
      .with.property('where')
      .that.matches(/origin\.test\.ts:\d+:\d+$/);
  });

  it('defaults fill what a task leaves open: task before Dag before config', () => {
    const graph = dag('d', { defaults: { retries: 2, backoff: { initial: '1s' } } }, (d) => {
      d.session('own', { retries: 5 }, async () => null);
      d.session('default', {}, async () => null);
    });
    const planned = planTasks(graph, { conn: 'my_db', retries: 1, timeout: '10m', backoff: { factor: 3 } });
    expect(planned.map(({ retry }) => retry.retries)).to.deep.equal([5, 2]);
    expect(planned.map(({ conn, timeoutMs }) => [conn, timeoutMs])).to.deep.equal([
      ['my_db', 600_000],
      ['my_db', 600_000],
    ]);
    expect(planned[1]?.retry).to.include({ initialMs: 1000 });
  });

  it('`with` lets several tasks share one function', async () => {
    const insert = async ({ session, with: name }: SessionContext<object, undefined, object, string>) =>
      void (await session('item').insert({ name }));
    const graph = dag('d', { defaults: { conn: 'my_db' } }, (d) => {
      d.session('a', { with: 'first' }, insert);
      d.session('b', { with: 'second' }, insert);
    });
    await run(graph);
    expect(await names()).to.have.members(['first', 'second']);
  });

  it('the context names the run, the Dag and the task, and `with` does not override it', async () => {
    const graph = dag('d', { defaults: { conn: 'my_db' } }, (d) => {
      d.session(
        'a',
        { with: { run: 'mine' } },
        async ({ run: { dagId, taskId, attempt, idempotencyKey, id } }) => [
          dagId,
          taskId,
          attempt,
          idempotencyKey === `${id}/a`,
        ],
      );
    });
    const { runId } = await run(graph);
    const [row] = await db.query<{ result: unknown }>('select result from etl.task where run_id = $1', [
      runId,
    ]);
    expect(row?.result).to.deep.equal(['d', 'a', 1, true]);
  });

  it('a result is recorded in the COMMIT of its task and handed to the next task, and a huge one is refused', async () => {
    const graph = dag('d', { defaults: { conn: 'my_db' } }, (d) => {
      const first = d.session('first', {}, async () => ({ rows: 2, when: '2020-08-01' }));
      d.session('second', { needs: { first } }, async ({ upstream }) => upstream.first.rows + 1);
      d.session('huge', {}, async () => 'x'.repeat(2 ** 21));
    });
    const { runId, outcome } = await run(graph);
    const rows = await db.query('select task_id, result from etl.task where run_id = $1 order by 1', [runId]);
    expect(rows).to.deep.equal([
      { task_id: 'first', result: { rows: 2, when: '2020-08-01' } },
      { task_id: 'second', result: 3 },
    ]);
    expect(outcome('huge')).to.equal('failed ETL-3401');
  });

  it('an error rolls back and stays the cause, also when ROLLBACK fails too', async () => {
    const mine = new Error('bad row 17');
    const { tasks } = await run(
      one(async ({ session }) => {
        await session('item').insert({ name: 'a' });
        const { rows } = await session.raw<{ rows: { pid: number }[] }>('select pg_backend_pid() as pid');
        await db.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
        throw mine;
      }),
    );
    expect(tasks[0]?.error?.message).to.equal('bad row 17');
    expect(tasks[0]?.error?.cause).to.equal(mine);
    expect(await names()).to.deep.equal([]);
  });

  it('a COMMIT that fails fails the task', async () => {
    await db.query(
      'create table if not exists child (item int references item deferrable initially deferred)',
    );
    const { tasks } = await run(
      one(async ({ session }) => void (await session('child').insert({ item: -1 }))),
    );
    expect(findDatabaseError(tasks[0]?.error)?.code).to.equal('23503');
    await db.query('drop table child');
  });

  for (const fault of ['answer lost', 'never sent'] as const) {
    it(`a connection is lost during COMMIT (${fault}): the ledger says what happened, and the work is done once`, async () => {
      const { port } = await cluster();
      await using proxy = await commitProxy(port, fault);
      const url = db.url.replace(`:${port}/`, `:${proxy.port}/`);
      const graph = dag('d', { defaults: { conn: 'my_db', retries: 1, backoff: { initial: 1 } } }, (d) => {
        d.session('a', {}, async ({ session }) => void (await session('item').insert({ name: 'once' })));
      });
      const { tasks } = await runOn({ my_db: url }, graph);
      expect(proxy.cuts).to.equal(1);
      expect(tasks[0]).to.include({ state: 'success', attempts: 2, reused: fault === 'answer lost' });
      expect(await names()).to.deep.equal(['once']);
    });
  }

  it('a lost COMMIT is looked up before the task is reported, also without a retry left', async () => {
    const { port } = await cluster();
    const graph = dag('d', { defaults: { conn: 'my_db' } }, (d) => {
      d.session('a', {}, async ({ session }) => void (await session('item').insert({ name: 'once' })));
    });
    for (const [fault, state, left] of [
      ['answer lost', 'success', ['once']],
      ['never sent', 'failed', []],
    ] as const) {
      await db.query('truncate item');
      await using proxy = await commitProxy(port, fault);
      const { tasks } = await runOn({ my_db: db.url.replace(`:${port}/`, `:${proxy.port}/`) }, graph);
      expect(tasks[0]?.state).to.equal(state);
      expect(await names()).to.deep.equal(left);
    }
  });

  it('an SQL error that a task swallows fails the task, and the message names the cure', async () => {
    const { tasks } = await run(
      one(async ({ session }) => {
        await session('item').insert({ name: 'a' });
        await session.raw('select 1/0').catch(() => undefined);
      }),
    );
    expect(tasks[0]?.error).to.include({ code: 'ETL-3203' });
    expect(tasks[0]?.error?.fix).to.include('session.transaction');
  });

  it('the schedule 0 2 1 * * from 2020-08-01 first covers [2020-08-01T02:00, 2020-09-01T02:00)', () => {
    const schedule = parseSchedule({ schedule: '0 2 1 * *', startDate: '2020-08-01' });
    const first = findLastCompleteInterval(schedule, new Date('2020-09-01T02:00:00Z'));
    expect(first?.start.toISOString()).to.equal('2020-08-01T02:00:00.000Z');
    expect(first?.end.toISOString()).to.equal('2020-09-01T02:00:00.000Z');
    expect(first?.logicalDate).to.deep.equal(first?.start);
    expect(() => findIntervalContaining(schedule, '2020-07-01', new Date('2021-01-01'))).to.throw(EtlError);
  });

  it('a task ID that is used twice is refused with both locations', () => {
    const twice = () =>
      dag('d', {}, (d) => {
        d.task('same', {}, async () => null);
        d.task('same', {}, async () => null);
      });
    expect(twice)
      .to.throw(EtlError, 'the task ID "same" is used twice')
      .with.property('where')
      .that.matches(/origin\.test\.ts:\d+:\d+, and first at .*origin\.test\.ts:\d+:\d+$/);
  });

  it('a model is queried through the session, and through no global connection', async () => {
    const { tasks } = await run(
      one(async ({ session }) => {
        await Item.query(session).insert({ name: 'a' });
        await Item.query().insert({ name: 'b' });
      }),
    );
    expect(tasks[0]?.error?.message).to.match(/no database connection available/);
    expect(await names()).to.deep.equal([]);
  });

  it('success commits once and records the result, and failure rolls back once and keeps the message', async () => {
    const good = await run(
      one(async ({ session }) => {
        await session('item').insert({ name: 'a' });
        return { result: 42 };
      }),
    );
    const bad = await run(
      one(async ({ session }) => {
        await session('item').insert({ name: 'b' });
        throw new Error('test error');
      }),
    );
    expect(await names()).to.deep.equal(['a']);
    expect(
      await db.query('select state, result from etl.task where run_id = $1', [good.runId]),
    ).to.deep.equal([{ state: 'success', result: { result: 42 } }]);
    expect(bad.tasks[0]?.error?.message).to.equal('test error');
    expect(await db.query('select from etl.task where run_id = $1', [bad.runId])).to.deep.equal([]);
    expect(await db.leftSessions()).to.deep.equal([]);
  });
});
