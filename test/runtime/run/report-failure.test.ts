import { expect } from 'chai';
import { dag } from '../../../src/runtime/dag/dag.js';
import { SkipTask } from '../../../src/runtime/attempt/outcome.js';
import type { RunEvent } from '../../../src/runtime/report/event.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

/** All types of events. The compiler finds a type that is missing here. */
const TYPES: Readonly<Record<RunEvent['type'], true>> = {
  run_started: true,
  run_resumed: true,
  task_started: true,
  task_progress: true,
  task_log: true,
  task_retrying: true,
  task_finished: true,
  notice: true,
  run_finished: true,
};

describe('a run whose reporter throws', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (v text)');
  });
  after(() => db.drop());
  beforeEach(() => db.query('truncate t'));

  const graph = dag('d', { defaults: { conn: 'db', backoff: { initial: 1 } } }, (d) => {
    d.session('a', { retries: 1 }, async ({ session, log, progress, run: { attempt } }) => {
      log('here');
      progress(1);
      if (attempt === 1) throw new Error('not yet');
      await session('t').insert({ v: 'a' });
    });
    d.session('b', {}, async () => {
      throw new SkipTask('nothing to do');
    });
    const c = d.sql('c', { sql: `insert into t values ('c')` });
    d.sql('d', { needs: [c], sql: `insert into t values ('d')` });
  });

  for (const type of [...Object.keys(TYPES), 'every event']) {
    it(`goes on to its end, is recorded, and frees the lock: ${type}`, async () => {
      const failures: string[] = [];
      const first = await runOn({ db: db.url }, graph, {
        onReportFailed: ({ code }) => void failures.push(code),
        onEvent: (event) => {
          if (type === 'every event' || event.type === type) throw new Error('the report is broken');
        },
      });
      expect(first.state).to.equal('success');
      expect(failures.every((code) => code === 'ETL-9002')).to.equal(true);
      expect(await db.query('select v from t order by v')).to.deep.equal([
        { v: 'a' },
        { v: 'c' },
        { v: 'd' },
      ]);
      const [row] = await db.query(
        'select state, finished_at is not null as ended from etl.run where run_id = $1',
        [first.runId],
      );
      expect(row).to.deep.equal({ state: 'success', ended: true });
      // The lock is free: this run starts.
      await runOn({ db: db.url }, graph);
    });
  }

  it('is not disturbed by a log line that JSON can not represent', async () => {
    const circle: Record<string, unknown> = { n: 1n };
    circle['self'] = circle;
    const logging = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('a', {}, async ({ log }) => {
        log('all', { circle, big: 7n, deep: { n: 8n }, f: () => 1, none: undefined });
        log(undefined as never);
      });
    });
    const { events, state } = await runOn({ db: db.url }, logging);
    expect(state).to.equal('success');
    const [line, other] = events.filter((event) => event.type === 'task_log');
    expect(JSON.parse(JSON.stringify(line?.fields))).to.include({ big: '7' });
    expect(line?.fields['deep']).to.deep.equal({ n: '8' });
    expect(line?.fields['circle']).to.match(/^\(not JSON: /);
    expect(other?.message).to.equal('undefined');
  });
});
