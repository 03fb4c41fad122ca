import { expect } from 'chai';
import { createProject, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

describe('etl run of a transfer', () => {
  let from: TestDatabase;
  let to: TestDatabase;
  let project: Project;
  before(async () => {
    [from, to] = await Promise.all([createDatabase(), createDatabase()]);
    project = await createProject({});
    // At row 20,000 the function waits for the advisory lock.
    await from.query(`create function pass(i int) returns int language plpgsql as $$ begin
      if i = 20000 then perform pg_advisory_lock_shared(1); end if; return i; end $$`);
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await Promise.all([from.drop(), to.drop()]);
  });

  for (const options of [`mode: 'append'`, `mode: 'replace'`, `mode: 'merge', key: ['id']`]) {
    it(`copies each row once after a kill and a resume: ${options}`, async () => {
      await to.query('drop table if exists item; create table item (id int primary key, name text)');
      await project.write({
        'etl.config.ts': `
          import { dag, defineConfig } from '@oneshot/etl';
          export default defineConfig({ dags: [dag('d', { defaults: { conn: 'to' } }, (d) => {
            d.transfer('t', { from: 'from', into: 'item', ${options},
              query: "select pass(i) as id, repeat('x', 100) as name from generate_series(1, 30000) i" });
          })] });`,
      });
      const urls = { ETL_CONN_FROM: from.url, ETL_CONN_TO: to.url };
      await killInTheMiddle(from, 'd', urls);
      expect(await to.query('select from item')).to.deep.equal([]);

      const { code, stderr } = await project.cli(['run', 'd', '--resume', '--run-id', 'killed'], urls);
      expect(code, stderr).to.equal(0);
      const again = await project.cli(['run', 'd', '--resume', '--run-id', 'killed'], urls);
      expect(again.code, again.stderr).to.equal(0);
      expect(await to.query('select count(*)::int as n, max(id) as max from item')).to.deep.equal([
        { n: 30_000, max: 30_000 },
      ]);
      await to.query('drop schema etl cascade');
    });
  }

  it('copies each row once after a kill and a resume if it is incremental, and then only new rows', async () => {
    // A trigger waits at a row, because a function in the query would also be called for the high watermark.
    await to.query(`create table event (id int, at timestamptz);
      create function pass() returns trigger language plpgsql as $$ begin
        if new.id = 20000 then perform pg_advisory_lock_shared(1); end if; return new; end $$;
      create trigger pass before insert on event for each row execute function pass()`);
    await from.query('create table event (id int, at timestamptz not null default now())');
    await from.query('insert into event select generate_series(1, 30000)');
    await project.write({
      'etl.config.ts': `
        import { dag, defineConfig } from '@oneshot/etl';
        export default defineConfig({ dags: [dag('i', { defaults: { conn: 'to' } }, (d) => {
          d.transfer('t', { from: 'from', into: 'event', mode: 'append', incremental: { cursor: 'at' },
            table: 'event' });
        })] });`,
    });
    const urls = { ETL_CONN_FROM: from.url, ETL_CONN_TO: to.url };
    await killInTheMiddle(to, 'i', urls);
    expect(await to.query('select from event')).to.deep.equal([]);
    await from.query('insert into event values (30001)');
    const runs = [['--resume', '--run-id', 'killed'], ['--resume', '--run-id', 'killed'], [], []];
    for (const [index, options] of runs.entries()) {
      if (index === 2) await from.query('insert into event values (30002)');
      const { code, stderr } = await project.cli(['run', 'i', ...options], urls);
      expect(code, stderr).to.equal(0);
    }
    const [count] = await to.query('select count(*)::int as n, count(distinct id)::int as ids from event');
    expect(count).to.deep.equal({ n: 30_002, ids: 30_002 });
    expect(await to.query('select from etl.watermark')).to.have.lengthOf(1);
  });

  /** Starts the run `killed` of a Dag and kills it when it waits at row 20,000 in this database. */
  async function killInTheMiddle(db: TestDatabase, id: string, urls: Record<string, string>): Promise<void> {
    await db.query('select pg_advisory_lock(1)');
    const { child, ended } = project.start(['run', id, '--run-id', 'killed'], urls);
    await db.query(`do $$ begin
      while not exists (select from pg_locks where locktype = 'advisory' and not granted
        and database = (select oid from pg_database where datname = current_database())) loop
        perform pg_sleep(0.01); end loop; end $$`);
    child.kill('SIGKILL');
    await ended;
    await db.query('select pg_advisory_unlock(1)');
    await Promise.all([from.leftSessions(), to.leftSessions()]);
  }
});
