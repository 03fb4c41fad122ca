import { expect } from 'chai';
import { createProject, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { Gate } from '../support/gate.js';

/** How other schedulers run a Dag: one call of the program for each task. */
describe('etl run --task', () => {
  let db: TestDatabase;
  let gate: Gate;
  let project: Project;
  before(async () => {
    db = await createDatabase();
    gate = await Gate.open();
    await db.query('create table t (v text)');
    project = await createProject({
      'gate.ts': gate.source,
      'etl.config.ts': `
        import { dag, defineConfig } from '@oneshot/etl';
        import { gate } from './gate.ts';
        export default defineConfig({ dags: [dag('d', { schedule: '@daily', defaults: { conn: 'db' } }, (d) => {
          const a = d.session('a', {}, async ({ session }) => { await session('t').insert({ v: 'a' }); return 1; });
          const b = d.session('b', { needs: { a } }, async ({ session, upstream, interval }) => {
            await session('t').insert({ v: 'b' });
            if (process.env['FAIL']) throw new Error('asked to');
            return { a: upstream.a, start: interval.start.toISOString() };
          });
          d.session('c', { needs: { b } }, async ({ upstream }) => { if (process.env['GATE']) await gate('c'); return upstream.b; });
        })] });`,
    });
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await gate[Symbol.asyncDispose]();
    await db.drop();
  });
  beforeEach(() => db.query('truncate t; drop schema if exists etl cascade'));

  const task = (id: string, env: Record<string, string> = {}) =>
    project.cli(['run', 'd', '--run-id', 'r1', '--task', id], { ETL_CONN_DB: db.url, ...env });
  const state = async () =>
    (await db.query<{ state: string }>(`select state from etl.run where run_id = 'r1'`))[0]?.state;

  it('runs exactly one task with the results of its upstream tasks, and ends the run with the last task', async () => {
    expect((await task('a')).stderr).to.match(/✔ a {2}1 row/);
    expect(await state()).to.equal('running');
    const { stdout } = await project.cli(['runs', '--json'], { ETL_CONN_DB: db.url });
    expect(JSON.parse(stdout)[0], 'between two tasks').to.include({ state: 'running', tasks_done: 1 });
    expect((await task('b')).code).to.equal(0);
    expect((await task('c')).code).to.equal(0);
    expect(await state()).to.equal('success');
    const [row] = await db.query<{ result: { a: number } }>(
      `select result from etl.task where task_id = 'c'`,
    );
    expect(row?.result.a).to.equal(1);
  });

  it('does nothing if the task is done already', async () => {
    await task('a');
    const again = await task('a');
    expect(again.code).to.equal(0);
    expect(again.stderr).to.include('= a');
    expect(await db.query('select v from t')).to.deep.equal([{ v: 'a' }]);
  });

  it('refuses a task whose upstream task is not done', async () => {
    const { code, stderr } = await task('b');
    expect(code).to.equal(2);
    expect(stderr).to.include('ETL-2011 "b" needs "a", which is not done in run "r1"');
  });

  it('suggests the nearest task for an unknown task, and needs --run-id', async () => {
    expect((await task('bb')).stderr).to.include('ETL-2004 "d" has no task "bb"; did you mean "b"?');
    const { code, stderr } = await project.cli(['run', 'd', '--task', 'a'], { ETL_CONN_DB: db.url });
    expect(code).to.equal(2);
    expect(stderr).to.include('--task needs --run-id');
  });

  it('can be followed by --resume of the whole run after a task failed', async () => {
    await task('a');
    expect((await task('b', { FAIL: '1' })).code).to.equal(1);
    expect(await state()).to.equal('failed');
    const resumed = await project.cli(['run', 'd', '--resume'], { ETL_CONN_DB: db.url });
    expect(resumed.code, resumed.stderr).to.equal(0);
    expect(resumed.stderr).to.include('1 reused, 2 to run');
    expect(await state()).to.equal('success');
  });

  it('can run beside another task of the run, but not beside a whole run', async () => {
    await task('a');
    await task('b');
    const running = project.start(['run', 'd', '--run-id', 'r1', '--task', 'c'], {
      ETL_CONN_DB: db.url,
      GATE: '1',
    });
    const arrival = await gate.next();
    expect((await task('a')).code).to.equal(0);
    const whole = await project.cli(['run', 'd'], { ETL_CONN_DB: db.url });
    expect(whole.code).to.equal(75);
    arrival.open();
    expect((await running.ended).code).to.equal(0);
  });
});

describe('etl run --overlap', () => {
  it('fails, skips or waits while another run of the Dag is running', async () => {
    const db = await createDatabase();
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
    const env = { ETL_CONN_DB: db.url };
    const first = project.start(['run', 'd'], env);
    const arrival = await gate.next();
    const fail = await project.cli(['run', 'd', '--overlap', 'fail'], env);
    expect(fail.code).to.equal(75);
    const skip = await project.cli(['run', 'd', '--overlap', 'skip'], env);
    expect(skip.code).to.equal(0);
    expect(skip.stderr).to.match(/^skipped: "d" is already running: run \S+, pid \d+ on host/);
    expect(await project.cli(['run', 'd', '--overlap', 'skip', '--quiet'], env)).to.deep.equal({
      code: 0,
      stdout: '',
      stderr: '',
    });
    const short = await project.cli(['run', 'd', '--overlap', 'wait:200ms'], env);
    expect(short.code).to.equal(75);
    const waiting = project.start(['run', 'd', '--overlap', 'wait'], env);
    await db.query(`do $$ begin
      for i in 1..200 loop
        exit when exists (select from pg_stat_activity where datname = current_database() and query = 'rollback');
        perform pg_sleep(0.05); perform pg_stat_clear_snapshot();
      end loop; end $$`);
    arrival.open();
    (await gate.next()).open();
    expect((await waiting.ended).code).to.equal(0);
    expect((await first.ended).code).to.equal(0);
    const wrong = await project.cli(['run', 'd', '--overlap', 'never'], env);
    expect(wrong.code).to.equal(2);
    await db.drop();
  });
});
