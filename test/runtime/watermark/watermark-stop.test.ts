import { expect } from 'chai';
import { dag } from '../../../src/runtime/dag/dag.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';
import { STOPPED, until } from '../attempt/attempt-project.js';

/** Finds the session that searches for the high watermark and sleeps in the task's query. */
const SLEEPS = `select from pg_stat_activity
  where datname = current_database() and pid <> pg_backend_pid() and state = 'active' and wait_event = 'PgSleep'`;

describe('the search for the high watermark', () => {
  let db: TestDatabase;
  beforeEach(async () => {
    db = await createDatabase();
    await db.query(`
      create table orders (at timestamptz not null default now());
      insert into orders default values;
      create sequence looks;
      create function slow_from(first int) returns boolean language plpgsql as $$
      begin
        if nextval('looks') >= first then perform pg_sleep(60); end if;
        return true;
      end $$`);
  });
  afterEach(() => db.drop());

  for (const { title, attempt, failsFirst } of [
    { title: 'in a first attempt', attempt: 1, failsFirst: false },
    { title: 'in a retry', attempt: 2, failsFirst: true },
  ]) {
    it(`${title} ends on the server, too, if the run is stopped`, async () => {
      const stop = new AbortController();
      const graph = dag('d', { defaults: { conn: 'db', retries: 1, backoff: { initial: 1 } } }, (d) => {
        d.sql('s', {
          incremental: {
            query: `select case when slow_from(${attempt}) then at end as at from orders`,
            cursor: 'at',
          },
          sql: () => {
            if (failsFirst) throw new Error('the first attempt fails');
            return 'select 1';
          },
        });
      });
      const running = runOn({ db: db.url }, graph, { signal: stop.signal });
      await until(db, SLEEPS);
      stop.abort(STOPPED);
      expect((await running).outcome('s')).to.equal('failed ETL-3302');
      expect(await db.leftSessions()).to.deep.equal([]);
    });
  }
});
