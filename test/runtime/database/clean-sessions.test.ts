import { expect } from 'chai';
import { dag, type Dag } from '../../../src/runtime/dag/dag.js';
import type { Session } from '../../../src/runtime/session/session.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';
import { raw } from '../session/session-endings.js';

interface Connection {
  query(config: object): Promise<unknown>;
}

/** Things that a task leaves in its session, and for each a query that finds it: `n` is 0 in a clean session. */
const LEFT: readonly {
  readonly title: string;
  readonly leave: string | ((session: Session) => Promise<unknown>);
  readonly find: string;
}[] = [
  {
    title: 'a setting',
    leave: `set work_mem = '9MB'`,
    find: `select (current_setting('work_mem') = '9MB')::int as n`,
  },
  {
    title: 'a setting of its own',
    leave: `select set_config('app.tenant', 'one', false)`,
    find: `select (coalesce(current_setting('app.tenant', true), '') <> '')::int as n`,
  },
  {
    title: 'a search_path',
    leave: 'set search_path = pg_catalog',
    find: `select (current_setting('search_path') <> '"$user", public')::int as n`,
  },
  { title: 'a role', leave: 'set role left_role', find: `select (current_user = 'left_role')::int as n` },
  {
    title: 'another user',
    leave: 'set session authorization left_role',
    find: `select (session_user = 'left_role' or current_user = 'left_role')::int as n`,
  },
  {
    title: 'a temporary table',
    leave: 'create temporary table left_over (a int)',
    find: `select (to_regclass('pg_temp.left_over') is not null)::int as n`,
  },
  {
    title: 'a prepared statement',
    leave: 'prepare left_over as select 1',
    find: `select count(*) as n from pg_prepared_statements where name = 'left_over'`,
  },
  {
    title: 'a statement that the driver has prepared',
    leave: async (session) => {
      const connection = (await session.client.acquireConnection()) as Connection;
      await connection.query({ name: 'left_over', text: 'select 1' });
    },
    find: `select count(*) as n from pg_prepared_statements where name = 'left_over'`,
  },
  {
    title: "a statement that looks like the runner's",
    leave: 'prepare "etl runner 0" as select 1',
    find: `select count(*) as n from pg_prepared_statements where from_sql`,
  },
  {
    title: 'a session without the prepared statements of the runner',
    leave: 'deallocate all',
    find: 'select 0 as n',
  },
  {
    title: 'an advisory lock',
    leave: 'select pg_advisory_lock(1), pg_advisory_lock_shared(2)',
    find: `select count(*) as n from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`,
  },
  { title: 'a channel', leave: 'listen news', find: 'select count(*) as n from pg_listening_channels()' },
  {
    title: 'a cursor',
    leave: 'declare left_over cursor with hold for select 1',
    find: `select count(*) as n from pg_cursors where name = 'left_over'`,
  },
  {
    title: 'the last value of a sequence',
    leave: `select nextval('numbers')`,
    find: `select count(*) as n from (select null) as one where currval_or_null() is not null`,
  },
];

const OPTIONS = { defaults: { conn: 'db' } } as const;

describe('what a task leaves in its session', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query(`create sequence numbers cache 10;
      create function currval_or_null() returns bigint language plpgsql as $$
        begin return currval('numbers'); exception when object_not_in_prerequisite_state then return null; end $$`);
    await db.query('create role left_role superuser'); // The role also writes the ledger row of its task.
  });
  after(async () => {
    await db.query('drop role left_role');
    await db.drop();
  });

  /**
   * Builds a chain of five tasks. After the first task, the connection prepares the statements of the runner. Two
   * tasks leave the thing, and the task after each looks for it.
   */
  function chain({ leave, find }: (typeof LEFT)[number]): Dag {
    const leaving = async ({ session }: { session: Session }) => {
      if (typeof leave === 'string') await raw(session, leave);
      else await leave(session);
      return null;
    };
    const finding = async ({ session }: { session: Session }) => {
      const { rows } = await raw(session, find);
      const { rows: pids } = await raw(session, 'select pg_backend_pid() as pid');
      return { n: Number(rows[0]?.n), pid: String(Object.values(pids[0] ?? {})) };
    };
    return dag('d', OPTIONS, (d) => {
      const before = d.session('before', {}, finding);
      const first = d.session('first', { needs: [before] }, leaving);
      const second = d.session('second', { needs: [first] }, finding);
      const third = d.session('third', { needs: [second] }, leaving);
      d.session('fourth', { needs: [third] }, finding);
    });
  }

  for (const left of LEFT) {
    it(`does not reach the next one: ${left.title}`, async () => {
      const run = await runOn({ db: db.url }, chain(left), { concurrency: 1 });
      expect(run.tasks.map(({ error }) => error?.message)).to.deep.equal(run.tasks.map(() => undefined));
      const found = await db.query<{ result: { n: number; pid: string } }>(
        `select result from etl.task where run_id = $1 and result <> 'null' order by started_at`,
        [run.runId],
      );
      expect(found.map(({ result }) => result.n)).to.deep.equal([0, 0, 0]);
      expect(new Set(found.map(({ result }) => result.pid)).size, 'sessions').to.equal(1);
    });
  }

  it('includes the prepared statements of the runner, which the next task uses', async () => {
    const own = async ({ session }: { session: Session }) => {
      const { rows } = await raw(
        session,
        `select count(*) filter (where generic_plans + custom_plans > 1)::int as n
         from pg_prepared_statements where name like 'etl runner %'`,
      );
      return Number(rows[0]?.n);
    };
    const graph = dag('d', OPTIONS, (d) => {
      const a = d.session('a', {}, own);
      const b = d.session('b', { needs: [a] }, own);
      const c = d.session('c', { needs: [b] }, own);
      d.session('d', { needs: [c] }, own);
    });
    const { runId } = await runOn({ db: db.url }, graph, { concurrency: 1 });
    const counts = await db.query<{ result: number }>(
      'select result from etl.task where run_id = $1 order by task_id',
      [runId],
    );
    expect(counts[0]).to.deep.equal({ result: 0 });
    expect(counts[3]?.result).to.be.greaterThan(2);
  });
});
