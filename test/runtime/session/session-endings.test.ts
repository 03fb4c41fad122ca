import { expect } from 'chai';
import { dag } from '../../../src/runtime/dag/dag.js';
import { findDatabaseError } from '../../../src/runtime/postgres/sqlstate.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';
import { FIRST_QUERY_ENDINGS } from './first-query-endings.js';
import { sendWithoutAwait, insert, ENDING_TABLES, ENDINGS, raw } from './session-endings.js';

describe('the runner of session tasks', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query(ENDING_TABLES);
  });
  after(() => db.drop());
  beforeEach(() => db.query('truncate t, u, child, parent'));

  for (const { title, body, code, sqlstate, what, options = {}, rows = 0 } of [
    ...ENDINGS,
    ...FIRST_QUERY_ENDINGS,
  ]) {
    it(title, async () => {
      const graph = dag('endings', { defaults: { conn: 'db' } }, (d) => {
        d.session('first', options, async (context) => (await body(context, db)) as null);
      });
      const run = await runOn({ db: db.url }, graph, { concurrency: 1 });
      const first = run.tasks[0];
      expect(run.outcome('first')).to.equal(code === undefined ? 'success' : `failed ${code}`);
      if (what) expect(first?.error?.message).to.match(what);
      if (sqlstate !== undefined) expect(findDatabaseError(first?.error)?.code ?? '').to.equal(sqlstate);
      expect(run.state).to.equal(code === undefined ? 'success' : 'failed');
      expect(await db.query('select v from t')).to.have.lengthOf(rows);
      const recorded = await db.query('select state, seal from etl.task where run_id = $1', [run.runId]);
      expect(recorded).to.deep.equal(code === undefined ? [{ state: 'success', seal: null }] : []);
      expect(await db.leftSessions()).to.deep.equal([]);
    });
  }

  it('refuses a query that a task sends after its end, and fails the run', async () => {
    let sendLate = (): void => undefined;
    const graph = dag('endings', { defaults: { conn: 'db' } }, (d) => {
      const first = d.session('first', {}, async ({ session }) => {
        await insert(session, 'x');
        sendLate = () => sendWithoutAwait(insert(session, 'y'));
      });
      d.session('second', { needs: [first] }, async () => sendLate());
    });
    const run = await runOn({ db: db.url }, graph);
    expect(run.tasks.map(({ state }) => state)).to.deep.equal(['success', 'success']);
    expect(run.errors.map(({ code }) => code)).to.deep.equal(['ETL-3206']);
    expect(run.state).to.equal('failed');
    expect(await db.query('select v from t')).to.deep.equal([{ v: 'x' }]);
  });

  it('leaves a clean connection to the next task, whatever the one before did', async () => {
    const harmful = ENDINGS.filter(({ options }) => options === undefined);
    const graph = dag('endings', { defaults: { conn: 'db' } }, (d) => {
      for (const [i, { body }] of harmful.entries()) {
        d.session(`task-${i}`, {}, async (context) => (await body(context, db)) as null);
        d.session(`next-${i}`, {}, async ({ session }) => {
          const { rows } = await raw(
            session,
            `select (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())
                  + (to_regclass('pg_temp.left_over') is not null)::int
                  + (current_setting('search_path') <> '"$user", public')::int as n`,
          );
          return Number(rows[0]?.n);
        });
      }
    });
    const run = await runOn({ db: db.url }, graph, { concurrency: 1 });
    const results = await db.query<{ task_id: string; result: number }>(
      `select task_id, result from etl.task where run_id = $1 and task_id like 'next-%'`,
      [run.runId],
    );
    expect(results.map(({ result }) => result)).to.deep.equal(harmful.map(() => 0));
  });
});
