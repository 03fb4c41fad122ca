import { expect } from 'chai';
import { dag } from '../../../src/runtime/dag/dag.js';
import { findDatabaseError } from '../../../src/runtime/postgres/sqlstate.js';
import { createProject } from '../../support/cli.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { Gate } from '../../support/gate.js';
import type { Pooler } from '../../support/transaction-pooler.js';
import { runOn } from '../../support/run.js';
import { FIRST_QUERY_ENDINGS } from '../session/first-query-endings.js';
import { ENDING_TABLES, ENDINGS, raw } from '../session/session-endings.js';

/** Defines the tests that run through a pooler in transaction mode. `name` names the pooler in the title. */
export function describeBehindPooler(name: string, startPooler: () => Promise<Pooler>): void {
  describe(`behind ${name} in transaction mode`, () => definePoolerTests(startPooler));
}

function definePoolerTests(startPooler: () => Promise<Pooler>): void {
  let db: TestDatabase;
  let pooler: Pooler;
  let url: string;
  before(async () => {
    db = await createDatabase({ mayLeak: true });
    await db.query(ENDING_TABLES);
    pooler = await startPooler();
    url = pooler.url(db.url);
  });
  after(async () => {
    await pooler?.[Symbol.asyncDispose]();
    await db?.drop();
  });
  beforeEach(() => db.query('truncate t, u, child, parent'));

  /** Lists the sessions that are not idle. The pooler keeps idle connections, but none may be in a transaction. */
  async function busy(): Promise<unknown[]> {
    for (let looks = 0; ; looks++) {
      const left = (await db.sessions()).filter(({ state }) => state !== 'idle');
      // A backend that was terminated takes a moment to end.
      if (left.length === 0 || looks === 20) return left;
      await db.query('select pg_sleep(0.05)');
    }
  }

  for (const { title, body, code, sqlstate, what, options = {}, rows = 0 } of [
    ...ENDINGS,
    ...FIRST_QUERY_ENDINGS,
  ]) {
    it(title, async () => {
      const graph = dag('endings', { defaults: { conn: 'db' } }, (d) => {
        d.session('first', options, async (context) => (await body(context, db)) as null);
        d.session('next', {}, async ({ session }) => {
          const { rows: found } = await raw(
            session,
            `select (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())
                  + (to_regclass('pg_temp.left_over') is not null)::int
                  + (current_setting('search_path') <> '"$user", public')::int as n`,
          );
          return Number(found[0]?.n);
        });
      });
      const run = await runOn({ db: url }, graph, { concurrency: 1 });
      const first = run.tasks[0];
      expect(run.outcome('first'), first?.error?.message).to.equal(
        code === undefined ? 'success' : `failed ${code}`,
      );
      if (what) expect(first?.error?.message).to.match(what);
      if (sqlstate !== undefined) expect(findDatabaseError(first?.error)?.code ?? '').to.equal(sqlstate);
      expect(run.outcome('next')).to.equal('success');
      expect(await db.query('select v from t')).to.have.lengthOf(rows);
      expect(await busy()).to.deep.equal([]);
    });
  }

  it('allows one run of a Dag at a time', async () => {
    await using gate = await Gate.open();
    await using project = await createProject({
      'gate.ts': gate.source,
      'etl.config.ts': `
        import { dag, defineConfig } from '@oneshot/etl';
        import { gate } from './gate.ts';
        export default defineConfig({ dags: [dag('d', { defaults: { conn: 'db' } }, (d) => {
          d.session('a', {}, async () => void (await gate('in')));
        })] });`,
    });
    const env = { ETL_CONN_DB: url };
    const first = project.start(['run', 'd'], env);
    const arrival = await gate.next();
    const others = await Promise.all([1, 2, 3, 4].map(() => project.cli(['run', 'd'], env)));
    expect(others.map(({ code }) => code)).to.deep.equal([75, 75, 75, 75]);
    first.child.kill('SIGKILL');
    await first.ended;
    arrival.open();
    const resumed = project.start(['run', 'd', '--resume'], env);
    (await gate.next()).open();
    expect((await resumed.ended).code).to.equal(0);
  });
}
