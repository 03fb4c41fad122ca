import { expect } from 'chai';
import pg from 'pg';
import { dag } from '../../../src/runtime/dag/dag.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

describe('the claim of a task', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase({ mayLeak: true });
    await db.query('create table t (v text)');
  });
  after(() => db.drop());

  const graph = dag(
    'd',
    { defaults: { conn: 'db' } },
    (d) => void d.sql('a', { sql: `insert into t values ('once')` }),
  );
  const resume = (runId: string) =>
    runOn({ db: db.url }, graph, { resume: { kind: 'resume', runId, interval: undefined, strict: false } });

  /** Opens an undecided transaction of task "a", as a process leaves one behind when its network fails. */
  async function openZombie(runId: string, name: string): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: db.url });
    client.on('error', () => undefined); // The product terminates this connection.
    await client.connect();
    await client.query('begin');
    await client.query(`set local application_name = '${name}'`);
    await client.query(
      `insert into etl.task (run_id, task_id, dag_id, state, fingerprint, attempt, started_at)
       values ($1, 'a', 'd', 'running', 'x', 1, now())`,
      [runId],
    );
    return client;
  }

  it('waits for an older transaction of the same task, names it, terminates it, and does the work once', async () => {
    let old: pg.Client | undefined;
    const late = dag('d', { defaults: { conn: 'db' } }, (d) => {
      // A run terminates such transactions when it starts, so this one is opened during the run.
      const before = d.session('before', {}, async ({ run: { id } }) => {
        old = await openZombie(id, 'etl:d/a');
      });
      d.sql('a', { needs: [before], sql: `insert into t values ('once')` });
    });
    const { state, events } = await runOn({ db: db.url }, late);
    const notices = events.flatMap((event) => (event.type === 'notice' ? [event.text] : []));
    expect(state).to.equal('success');
    expect(notices[0]).to.match(
      /^"a" waits for pid \d+ \(etl:d\/a\), in its transaction since \d\d:\d\d:\d\d UTC$/,
    );
    expect(notices[1]).to.match(/^"a" terminated an older transaction of the same task: pid \d+/);
    expect(await db.query('select v from t')).to.deep.equal([{ v: 'once' }]);
    await old?.end().catch(() => undefined);
  });

  it('does not wait in a resumed run, which first terminates the transactions of the process before', async () => {
    await db.query('truncate t');
    const failing = dag('d', { defaults: { conn: 'db' } }, (d) => void d.sql('a', { sql: 'select 1/0' }));
    const { runId } = await runOn({ db: db.url }, failing);
    const old = await openZombie(runId, 'etl:d/a');
    const { state } = await resume(runId);
    expect(state).to.equal('success');
    expect(await db.query('select v from t')).to.deep.equal([{ v: 'once' }]);
    expect(await old.query('select 1').catch((error: unknown) => error)).to.be.instanceOf(Error);
    await old.end().catch(() => undefined);
  });

  it('waits for a transaction of another program and does not terminate it', async () => {
    const failing = dag('d', { defaults: { conn: 'db' } }, (d) => void d.sql('a', { sql: 'select 1/0' }));
    const { runId } = await runOn({ db: db.url }, failing);
    const other = await openZombie(runId, 'psql');
    const notices: string[] = [];
    const resumed = runOn({ db: db.url }, graph, {
      resume: { kind: 'resume', runId, interval: undefined, strict: false },
      onEvent: (event) => {
        if (event.type !== 'notice') return;
        notices.push(event.text);
        void other.query('rollback');
      },
    });
    expect((await resumed).state).to.equal('success');
    expect(notices).to.have.lengthOf(1);
    expect(notices[0]).to.include('(psql)');
    await other.end();
  });

  for (const { whose, fingerprint, isReused } of [
    { whose: 'the same', fingerprint: 'fingerprint', isReused: true },
    { whose: 'another', fingerprint: `'other'`, isReused: false },
  ]) {
    it(`finds an unexpected row with ${whose} fingerprint in a new run: the work of the body that had started is discarded`, async () => {
      await db.query('truncate t');
      let bodies = 0;
      const late = dag('late', { defaults: { conn: 'db' } }, (d) => {
        const before = d.session('before', {}, async ({ run: { id } }) => {
          await db.query(
            `insert into etl.task (run_id, task_id, dag_id, state, fingerprint, attempt, result, started_at, committed_at)
             select $1, task_id, dag_id, state, ${fingerprint}, attempt, result, started_at, committed_at
             from etl.task where dag_id = 'late' and task_id = 'a'`,
            [id],
          );
        });
        d.session('a', { needs: [before] }, async ({ session }) => {
          bodies++;
          await session('t').insert({ v: `body ${bodies}` });
        });
      });
      await db.query(`delete from etl.task where dag_id = 'late'`);
      expect((await runOn({ db: db.url }, late)).state).to.equal('success');
      await db.query('truncate t');
      const again = await runOn({ db: db.url }, late);
      expect(again.tasks[1]).to.include({ state: 'success', attempts: 1, reused: isReused });
      expect(await db.query('select v from t')).to.deep.equal(isReused ? [] : [{ v: 'body 3' }]);
    });
  }
});
