import { expect } from 'chai';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SCHEMA_VERSION } from '../../src/runtime/ledger/schema.js';
import { createProject, type CliResult, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { copyEmbeddedDatabase } from '../support/embedded.js';
import { Gate } from '../support/gate.js';

/** Returns a config with these Dags: the code of the options and of the tasks, by the ID of the Dag. */
function config(dags: Readonly<Record<string, readonly [options: string, tasks: string]>>): string {
  const list = Object.entries(dags).map(
    ([id, [options, tasks]]) => `dag('${id}', { ${options} }, (d) => { ${tasks} })`,
  );
  return `
    import { dag, defineConfig, SkipTask } from '@oneshot/etl';
    import { gate } from './gate.ts';
    export default defineConfig({ dags: [${list.join(', ')}] });`;
}

/** The options of a Dag whose tasks use the connection "db". */
const onDb = `defaults: { conn: 'db' }`;
const one = `d.sql('a', { sql: 'select 1' });`;

describe('the history of runs', () => {
  let db: TestDatabase;
  let other: TestDatabase;
  let gate: Gate;
  let project: Project;

  beforeEach(async () => {
    db = await createDatabase();
    other = await createDatabase();
    gate = await Gate.open();
    project = await createProject({ 'gate.ts': gate.source });
    for (const database of [db, other]) await database.query('create table t (v int)');
  });
  afterEach(async () => {
    await project[Symbol.asyncDispose]();
    await gate[Symbol.asyncDispose]();
    await db.drop();
    await other.drop();
  });

  const env = () => ({ ETL_CONN_DB: db.url, ETL_CONN_OTHER: other.url });
  const etl = (...args: string[]): Promise<CliResult> => project.cli(args, env());
  const write = (dags: Parameters<typeof config>[0]): Promise<void> =>
    project.write({ 'etl.config.ts': config(dags) });
  async function json(...args: string[]) {
    const { stdout, stderr } = await etl(...args, '--json');
    expect(stdout, stderr).to.not.equal('');
    return JSON.parse(stdout);
  }
  const hasLedger = async (database: TestDatabase): Promise<boolean> =>
    (await database.query(`select from pg_namespace where nspname = 'etl'`)).length > 0;
  /** Creates a role in the database of this test. Returns the role's URL and a function that drops the role. */
  async function createRole(
    name: string,
    grants = '',
  ): Promise<{ url: string; drop: () => Promise<unknown> }> {
    const id = `${db.name}_${name}`;
    await db.query(
      `create role ${id} login password 'only-for-this-test'; ${grants.replaceAll('etl_runner', id)}`,
    );
    const url = new URL(db.url);
    [url.username, url.password] = [id, 'only-for-this-test'];
    return { url: url.href, drop: () => db.query(`drop owned by ${id}; drop role ${id}`) };
  }

  describe('etl runs', () => {
    it('lists nothing if there is no ledger, and installs no ledger', async () => {
      await write({ d: [onDb, one] });
      const result = await etl('runs');
      expect(result).to.deep.equal({ code: 0, stdout: '', stderr: 'no run is recorded\n' });
      expect(await json('runs')).to.deep.equal([]);
      expect(await hasLedger(db)).to.equal(false);
    });

    it('lists the newest run first, and counts the tasks in all databases of a Dag', async () => {
      await write({
        d: [
          onDb,
          `d.sql('a', { sql: 'insert into t values (1)' });
           d.sql('b', { conn: 'other', sql: 'insert into t select generate_series(1, 1234)' });
           d.session('c', {}, async () => { throw new Error('no'); });`,
        ],
        monthly: [`schedule: '0 2 1 * *', startDate: '2020-08-01', defaults: { conn: 'other' }`, one],
      });
      expect((await etl('run', 'd', '--run-id', 'first')).code).to.equal(1);
      await etl('run', 'monthly', '--run-id', 'second', '--date', '2026-03-05');
      const [second, first] = await json('runs');
      expect(second).to.deep.include({
        run_id: 'second',
        dag: 'monthly',
        state: 'success',
        interval: { start: '2026-03-01T02:00:00.000Z', end: '2026-04-01T02:00:00.000Z' },
        tasks_done: 1,
        tasks: 1,
      });
      expect(second).to.not.have.property('resume');
      expect(first).to.include({
        run_id: 'first',
        state: 'failed',
        tasks_done: 2,
        tasks: 3,
        connection: 'db',
      });
      expect(first.rows).to.equal(1235);
      expect(first.resume).to.equal('etl run d --resume --run-id first');
      expect(first.duration_ms).to.equal(Date.parse(first.finished_at) - Date.parse(first.started_at));

      const { code, stdout, stderr } = await project.cli(['runs'], { ...env(), TZ: 'Asia/Kolkata' });
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
      const lines = stdout.split('\n');
      expect(lines[0]).to.match(
        /^ {3}RUN +DAG +STATE +STARTED \(UTC\) +DURATION {2}TASKS +ROWS {2}INTERVAL$/,
      );
      expect(lines[1]).to.match(
        /^ ✔ second {2}monthly {2}success {2}20\S+ [\d:]{8} .* 1\/1 .* \[2026-03-01 02:00, 2026-04-01 02:00\) UTC$/,
      );
      expect(lines[2]).to.match(/^ ✖ first {3}d {8}failed .* 2\/3 {2}1,235$/);
      expect(lines[3]).to.equal('   resume: etl run d --resume --run-id first');

      expect(await json('runs', 'd')).to.have.lengthOf(1);
      expect((await json('runs', '--limit', '1'))[0].run_id).to.equal('second');
    });

    it('tells a crashed run from a running run, and shows the command that resumes the crashed run', async () => {
      await write({
        d: [
          onDb,
          `const a = d.sql('a', { sql: 'insert into t values (1)' });
           d.session('b', { needs: [a] }, async () => void (await gate('in')));`,
        ],
      });
      const { child, ended } = project.start(['run', 'd'], env());
      await gate.next();
      const [running] = await json('runs');
      expect(running).to.include({ state: 'running', tasks_done: 1, tasks: 2, rows: 1 });
      expect(running).to.not.have.any.keys('resume', 'finished_at');
      const shown = (await etl('show', running.run_id)).stdout;
      expect(shown).to.include(' ✔ a  success').and.include(' · b  not done\n');

      child.kill('SIGKILL');
      await ended;
      await db.leftSessions();
      const [crashed] = await json('runs');
      expect(crashed).to.include({ run_id: running.run_id, state: 'crashed', tasks_done: 1 });
      expect(crashed).to.not.have.property('duration_ms');
      const { stdout } = await etl('runs');
      expect(stdout).to.match(/^ ✖ \S+ {2}d {4}crashed .* - {4}1\/2 {5}1$/m);
      expect(stdout).to.include(`resume: ${crashed.resume}`);
      const afterwards = (await etl('show', running.run_id)).stdout;
      expect(afterwards)
        .to.match(/^d {2}run \S+ {2}crashed$/m)
        .and.match(/^ · b {2}not run$/m);

      const resumed = project.start(crashed.resume.split(' ').slice(1), env());
      const arrival = await gate.next();
      expect((await json('runs'))[0]).to.include({ state: 'running' });
      arrival.open();
      expect((await resumed.ended).code).to.equal(0);
      expect(await json('runs')).to.have.lengthOf(1);
      expect(await json('show', running.run_id)).to.include({ state: 'success', resumes: 1 });
    });

    it('shows an old crashed run as crashed while a newer run holds the lock', async () => {
      await write({ d: [onDb, `d.session('a', {}, async () => void (await gate('in')));`] });
      const first = project.start(['run', 'd', '--run-id', 'first'], env());
      await gate.next();
      first.child.kill('SIGKILL');
      await first.ended;
      await db.leftSessions();
      const second = project.start(['run', 'd', '--run-id', 'second'], env());
      const arrival = await gate.next();
      const states = (await json('runs')).map((run: Record<string, unknown>) => [
        run['run_id'],
        run['state'],
      ]);
      expect(states).to.deep.equal([
        ['second', 'running'],
        ['first', 'crashed'],
      ]);
      arrival.open();
      await second.ended;
    });

    it('counts tasks once if two connections lead to one database', async () => {
      await write({
        d: [onDb, `${one} d.sql('b', { conn: 'twin', sql: 'insert into t values (1)' });`],
        e: [`defaults: { conn: 'twin' }`, one],
      });
      const both = { ...env(), ETL_CONN_TWIN: `${db.url}?application_name=twin` };
      await project.cli(['run', 'd'], both);
      await project.cli(['run', 'e'], both);
      const runs = JSON.parse((await project.cli(['runs', '--json'], both)).stdout);
      expect(runs.map((run: Record<string, unknown>) => [run['dag'], run['tasks_done']])).to.deep.equal([
        ['e', 1],
        ['d', 2],
      ]);
    });

    it('reads times and recognizes a database with any date style and time zone of the role', async () => {
      await write({ d: [onDb, `${one} d.session('b', {}, async () => { throw new Error('no'); });`] });
      await etl('run', 'd', '--run-id', 'one');
      const german = `${db.url}?options=${encodeURIComponent('-c datestyle=German -c timezone=Asia/Kolkata')}`;
      await write({ d: [onDb, `${one} d.sql('c', { conn: 'german', sql: 'select 1' });`] });
      const both = { ...env(), ETL_CONN_GERMAN: german };
      const [run] = JSON.parse((await project.cli(['runs', '--json'], both)).stdout);
      expect(run).to.include({ tasks_done: 1 });
      const read = async (url: string) =>
        JSON.parse((await project.cli(['show', 'one', '--json'], { ...both, ETL_CONN_DB: url })).stdout);
      expect(await read(german)).to.deep.equal(await read(db.url));
    });

    it('lists the runs of a Dag that the config does not have any more', async () => {
      await write({ d: [onDb, one] });
      await etl('run', 'd', '--run-id', 'one');
      await write({ e: [onDb, one] });
      const runs = await json('runs', 'd');
      expect(runs).to.have.lengthOf(1);
      expect((await etl('show', 'one')).stdout).to.match(/^ ✔ a {2}success [^c]*$/m);
    });

    it('exits 2 for a Dag that does not exist, and suggests the nearest ID', async () => {
      await write({ monthly: [onDb, one] });
      const { code, stderr } = await etl('runs', 'monthyl');
      expect(code).to.equal(2);
      expect(stderr).to.include('ETL-2002 there is no Dag "monthyl"').and.include('did you mean "monthly"?');
    });

    it('exits 69 if a database can not be reached', async () => {
      await write({ d: [onDb, one] });
      const { code, stderr } = await project.cli(['runs'], { ETL_CONN_DB: 'postgres://u:p@127.0.0.1:1/x' });
      expect(code).to.equal(69);
      expect(stderr).to.include('ETL-1001 connection "db" could not connect');
    });

    it('exits 2 if the role has no permission to read the ledger, and says what to grant', async () => {
      await write({ d: [onDb, one] });
      await etl('run', 'd');
      const poor = await createRole('poor');
      const { code, stderr } = await project.cli(['runs'], { ETL_CONN_DB: poor.url });
      await poor.drop();
      expect(code, stderr).to.equal(2);
      expect(stderr).to.match(/ETL-4004 the ledger in connection "db" can't be read: permission denied/);
      expect(stderr).to.include('SQLSTATE 42501, insufficient privilege').and.include('etl ledger sql');
    });

    it('reads the ledger of an embedded database, and creates no embedded database', async () => {
      await write({ d: [`defaults: { conn: 'small' }`, one] });
      const small = { ETL_CONN_SMALL: 'pglite:data/pg' };
      const before = await project.cli(['runs', '--json'], small);
      expect(before).to.deep.equal({ code: 0, stdout: '[]\n', stderr: '' });
      expect((await project.cli(['ledger', 'status'], small)).stdout).to.include('not installed');
      expect(existsSync(join(project.directory, 'data'))).to.equal(false);
      await copyEmbeddedDatabase(join(project.directory, 'data/pg'));
      await project.cli(['run', 'd'], small);
      const after = await project.cli(['runs', '--json'], small);
      expect(after.code, after.stderr).to.equal(0);
      expect(JSON.parse(after.stdout)[0]).to.include({ dag: 'd', state: 'success', tasks_done: 1 });
    });
  });

  it('shows one interval of a run in the time zone of its Dag, in the report, the list and etl show', async () => {
    const options = `schedule: '0 2 * * *', timezone: 'Europe/Berlin', startDate: '2020-08-01', ${onDb}`;
    await write({ daily: [options, one] });
    const interval = '[2026-03-05 02:00, 2026-03-06 02:00) Europe/Berlin';
    const away = { ...env(), TZ: 'America/New_York' };
    const { stderr } = await project.cli(
      ['run', 'daily', '--run-id', 'zoned', '--date', '2026-03-05T12:00:00Z'],
      away,
    );
    expect(stderr).to.include(interval);
    const listed = await project.cli(['runs'], away);
    expect(listed.stdout).to.include(interval).and.include('STARTED (Europe/Berlin)');
    expect((await project.cli(['show', 'zoned'], away)).stdout).to.include(interval);
  });

  describe('etl show', () => {
    const broken = `
      const a = d.sql('a', { sql: 'insert into t values (1)' });
      const b = d.session('b', { needs: [a], retries: 1, backoff: { initial: 1 } }, async ({ run: { attempt } }) => {
        throw new Error('bad row ' + attempt + '\\nof 17'); });
      d.session('c', { needs: [b] }, async () => null);
      d.session('s', {}, async () => { throw new SkipTask('nothing new'); });
      d.sql('typo', { sql: 'select * form t' });`;

    it('shows each task, and the failed attempts in their order', async () => {
      await write({ d: [onDb, broken] });
      await etl('run', 'd', '--run-id', 'broken');
      const { code, stdout, stderr } = await project.cli(['show', 'broken'], {
        ...env(),
        TZ: 'Asia/Kolkata',
      });
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
      expect(stdout).to.match(/^d {2}run broken {2}failed\n {2}started {3}20\S+ [\d:]{8} UTC\n/);
      expect(stdout).to.match(/^ {2}process {3}pid \d+ on host \S+, etl \d+\.\d+\.\d+$/m);
      expect(stdout).to.match(/^ {2}resume {4}etl run d --resume --run-id broken$/m);
      expect(stdout).to.match(/^ ✔ a {5}success {10}20\S+ [\d:]{8} {2}[\d.]+s {2}1 row$/m);
      expect(stdout).to.match(
        /^ ✖ b {5}failed .* attempt 2\n {5}attempt 1 {2}\S+ \S+ {2}ETL-3001 bad row 1\n {9}of 17\n(?: {9}.+\n)+ {5}attempt 2 {2}\S+ \S+ {2}ETL-3001 bad row 2\n {9}of 17$/m,
      );
      expect(stdout).to.match(/^ ↷ c {5}upstream_failed {2,}needs "b"$/m);
      expect(stdout).to.match(/^ ↷ s {5}skipped .* nothing new$/m);
      expect(stdout).to.match(/^ {5}attempt 1 {2}\S+ \S+ {2}ETL-3001 syntax error at or near "form"$/m);
      expect(stdout).to.match(/^ {9}why {3}SQLSTATE 42601, syntax error$/m);

      const run = await json('show', 'broken');
      const started = new Date(run.started_at);
      expect(stdout).to.include(started.toLocaleTimeString('en-GB', { timeZone: 'UTC' }));
      expect(run).to.deep.include({ run_id: 'broken', dag: 'd', state: 'failed', params: {}, resumes: 0 });
      const states = run.tasks.map((task: Record<string, unknown>) => [task['task'], task['state']]);
      expect(Object.fromEntries(states)).to.deep.equal({
        a: 'success',
        b: 'failed',
        c: 'upstream_failed',
        s: 'skipped',
        typo: 'failed',
      });
      expect(run.tasks[0]).to.include({ connection: 'db', attempt: 1, rows: 1, in_config: true });
      expect(run.tasks[1].attempts.map((each: Record<string, unknown>) => each['state'])).to.deep.equal([
        'up_for_retry',
        'failed',
      ]);
      expect(run.tasks[4].attempts[0]).to.include({ code: 'ETL-3001', sqlstate: '42601' });
    });

    it('shows tasks that were added to the config or removed from it since the run', async () => {
      await write({ d: [onDb, `${one} d.sql('old', { sql: 'select 2' });`] });
      await etl('run', 'd', '--run-id', 'once');
      await write({ d: [onDb, `${one} d.sql('new', { sql: 'select 3' });`] });
      const { stdout } = await etl('show', 'once');
      expect(stdout).to.match(/^ · new {2}not run$/m);
      expect(stdout).to.match(/^ ✔ old {2}success .* not in the config any more$/m);
    });

    it('finds a run by the beginning or end of its ID, if the part is unique', async () => {
      await write({ d: [onDb, one] });
      for (const id of ['2026-a1b2', '2026-c3d4', '2025-e5f6']) await etl('run', 'd', '--run-id', id);
      expect((await json('show', 'c3d4')).run_id).to.equal('2026-c3d4');
      expect((await json('show', '2025')).run_id).to.equal('2025-e5f6');

      const wrong: readonly [part: string, stderr: RegExp][] = [
        ['2026', /ETL-2012 more than one run ID .* "2026"\n.*2026-c3d4 of d\n.*2026-a1b2 of d\n/],
        ['2026-a1b3', /ETL-2013 there is no run "2026-a1b3"; did you mean "2026-a1b2"\?/],
        ['3d4', /ETL-2013 there is no run "3d4"\n.*at least 4 characters/],
        ['____', /ETL-2013 there is no run "____"/],
      ];
      for (const [part, stderr] of wrong) {
        const result = await etl('show', part);
        expect(result.code).to.equal(2);
        expect(result.stderr).to.match(stderr);
      }
    });

    it('asks for the Dag if two databases have a run with the same ID', async () => {
      await write({ d: [onDb, one], e: [`defaults: { conn: 'other' }`, one] });
      await etl('run', 'd', '--run-id', 'ci-17');
      await etl('run', 'e', '--run-id', 'ci-17');
      const { code, stderr } = await etl('show', 'ci-17');
      expect(code).to.equal(2);
      expect(stderr).to.match(/ETL-2012 there are 2 runs "ci-17"[\s\S]*--dag/);
      expect(await json('show', 'ci-17', '--dag', 'e')).to.include({ dag: 'e', connection: 'other' });
    });
  });

  describe('etl ledger', () => {
    const current = SCHEMA_VERSION;

    it('exits 1 for a missing ledger, installs the ledger, and then exits 0', async () => {
      await write({ d: [onDb, `${one} d.sql('b', { conn: 'other', sql: 'select 1' });`] });
      const missing = await etl('ledger', 'status');
      expect(missing.code).to.equal(1);
      expect(missing.stdout).to.match(/^ ✖ db {5}postgres:\S+ {2}not installed$/m);
      expect(missing.stdout).to.not.include(new URL(db.url).password);
      expect(missing.stderr).to.include('etl ledger migrate');
      expect(await hasLedger(db)).to.equal(false);

      const first = await etl('ledger', 'migrate', 'db');
      expect(first.code).to.equal(0);
      expect(first.stdout).to.match(new RegExp(`^ ✔ db  postgres:\\S+  installed version ${current}\n$`));
      expect(await hasLedger(other)).to.equal(false);
      const both = await etl('ledger', 'migrate');
      expect(both.stdout).to.match(new RegExp(`^ ✔ db +\\S+  version ${current}, up to date$`, 'm'));
      expect(both.stdout).to.match(new RegExp(`^ ✔ other +\\S+  installed version ${current}$`, 'm'));
      expect((await etl('ledger', 'status')).code).to.equal(0);
      expect((await json('ledger', 'status', 'other'))[0]).to.include({
        connection: 'other',
        version: current,
        program_version: current,
        state: 'current',
      });
    });

    it('exits 2 for a ledger that is newer than the program, and migrates the other ledgers', async () => {
      await write({ d: [onDb, `${one} d.sql('b', { conn: 'other', sql: 'select 1' });`] });
      await etl('ledger', 'migrate', 'db');
      await db.query('insert into etl.migration (version) values (99)');
      const status = await etl('ledger', 'status');
      expect(status.code).to.equal(2);
      expect(status.stdout).to.include('version 99, newer than this program');
      const migrated = await etl('ledger', 'migrate');
      expect(migrated.code).to.equal(2);
      expect(migrated.stderr).to.include('ETL-4001').and.include('connection "db" has version 99');
      expect(migrated.stdout).to.match(/^ ✔ other .* installed/m);
      expect((await etl('runs')).stderr)
        .to.include('ETL-4001')
        .and.include('update @oneshot/etl');
    });

    it('exits 69 if a database can not be reached, and shows the other databases', async () => {
      await write({ d: [onDb, `${one} d.sql('b', { conn: 'other', sql: 'select 1' });`] });
      const away = { ...env(), ETL_CONN_DB: 'postgres://u:p@127.0.0.1:1/x' };
      const { code, stdout, stderr } = await project.cli(['ledger', 'status'], away);
      expect(code).to.equal(69);
      expect(stdout)
        .to.match(/^ ✖ db .* ETL-1001$/m)
        .and.match(/^ ✖ other .* not installed$/m);
      expect(stderr).to.include('could not connect');
    });

    it('exits 2 if the role has no permission to install the ledger, and names `etl ledger sql`', async () => {
      await write({ d: [onDb, one] });
      const poor = await createRole('poor');
      const { code, stderr } = await project.cli(['ledger', 'migrate'], { ETL_CONN_DB: poor.url });
      await poor.drop();
      expect(code, stderr).to.equal(2);
      expect(stderr).to.include('ETL-4005').and.include('SQLSTATE 42501').and.include('etl ledger sql');
    });

    it('prints, without a config, a script that can be run twice, and the grants that a role needs to run Dags', async () => {
      const bare = await project.cli(['ledger', 'sql']);
      expect({ code: bare.code, stderr: bare.stderr }).to.deep.equal({ code: 0, stderr: '' });
      await db.query(bare.stdout);
      await db.query(bare.stdout);
      expect(await db.query('select version from etl.migration')).to.have.lengthOf(current);
      expect(JSON.parse((await project.cli(['ledger', 'sql', '--json'])).stdout)).to.deep.equal({
        version: current,
        sql: bare.stdout,
      });

      const grants = bare.stdout.match(/(?<=^-- )grant .*;$/gm) ?? [];
      const runner = await createRole('runner', grants.join('\n'));
      const asRunner = (...args: string[]) => project.cli(args, { ETL_CONN_DB: runner.url });
      await write({ d: [onDb, `${one} d.session('b', {}, async () => { throw new Error('no'); });`] });
      const ran = await asRunner('run', 'd', '--run-id', 'poorly');
      expect(ran.code, ran.stderr).to.equal(1);
      const resumed = await asRunner('run', 'd', '--resume');
      expect(resumed.stderr).to.include('1 reused, 1 to run').and.not.include('ETL-4');
      expect((await asRunner('runs')).stdout).to.match(/^ ✖ poorly {2}d {4}failed/m);
      expect((await asRunner('show', 'poorly')).stdout).to.include('attempt 1');
      expect((await asRunner('ledger', 'status')).code).to.equal(0);
      await runner.drop();
    });
  });
});
