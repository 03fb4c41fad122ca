import { expect } from 'chai';
import { dag } from '../../../src/runtime/dag/dag.js';
import { findDatabaseError } from '../../../src/runtime/postgres/sqlstate.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';
import { FIRST_QUERY_ENDINGS } from './first-query-endings.js';
import { LIBRARIES, toSession } from './libraries.js';
import { ENDING_TABLES, ENDINGS } from './session-endings.js';

/** The endings of `session-endings.ts` that a task reaches by a library. */
const REACHED = [...ENDINGS, ...FIRST_QUERY_ENDINGS].filter(({ isOnlySession = false }) => !isOnlySession);

for (const library of LIBRARIES) {
  describe(`the runner of session tasks, with ${library.name} on session.pg`, () => {
    let db: TestDatabase;
    before(async () => {
      db = await createDatabase();
      await db.query(ENDING_TABLES);
    });
    after(() => db.drop());
    beforeEach(() => db.query('truncate t, u, child, parent'));

    for (const { title, body, code, sqlstate, what, options = {}, rows = 0 } of REACHED) {
      it(title, async () => {
        const graph = dag('endings', { defaults: { conn: 'db' } }, (d) => {
          d.session('first', options, async (context) => {
            const session = toSession(library.open(context.session.pg));
            return (await body({ ...context, session }, db)) as null;
          });
        });
        const run = await runOn({ db: db.url }, graph, { concurrency: 1 });
        const error = run.tasks[0]?.error;
        expect(run.outcome('first'), error?.message).to.equal(
          code === undefined ? 'success' : `failed ${code}`,
        );
        if (what) expect(error?.message).to.match(what);
        if (sqlstate !== undefined) expect(findDatabaseError(error)?.code ?? '').to.equal(sqlstate);
        expect(await db.query('select v from t')).to.have.lengthOf(rows);
        const recorded = await db.query('select state, seal from etl.task where run_id = $1', [run.runId]);
        expect(recorded).to.deep.equal(code === undefined ? [{ state: 'success', seal: null }] : []);
        expect(await db.leftSessions()).to.deep.equal([]);
      });
    }
  });
}
