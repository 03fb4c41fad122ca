import { expect } from 'chai';
import { createProject, type CliResult, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { Gate } from '../support/gate.js';

/** Returns a config whose Dag "d" has these tasks; `more` are further options of the Dag. */
const config = (tasks: string, more = ''): string => `
  import { dag, defineConfig, FailTask, SkipTask } from '@oneshot/etl';
  import { gate } from './gate.ts';
  export default defineConfig({
    dags: [dag('d', { defaults: { conn: 'db' }, ${more} }, (d) => { ${tasks} })],
  });`;

describe('etl run', () => {
  let db: TestDatabase;
  let gate: Gate;
  let project: Project;

  before(async () => {
    db = await createDatabase();
    gate = await Gate.open();
    project = await createProject({ 'gate.ts': gate.source });
    await db.query('create table t (v text)');
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await gate[Symbol.asyncDispose]();
    await db.drop();
  });
  beforeEach(() => db.query('truncate t'));
  afterEach(async () => expect(await db.leftSessions()).to.deep.equal([]));

  const env = () => ({ ETL_CONN_DB: db.url });
  const values = async () => (await db.query<{ v: string }>('select v from t order by v')).map(({ v }) => v);
  async function run(tasks: string, args: readonly string[] = [], more?: string): Promise<CliResult> {
    await project.write({ 'etl.config.ts': config(tasks, more) });
    return project.cli(['run', 'd', ...args], env());
  }

  const good = `d.sql('a', { sql: "insert into t values ('a')" });`;
  const bad = `d.session('b', {}, async () => { throw new Error('bad row 17'); });`;

  it('exits 0 if all tasks succeed, with a summary on stderr and nothing on stdout', async () => {
    const { code, stdout, stderr } = await run(good);
    expect({ code, stdout }).to.deep.equal({ code: 0, stdout: '' });
    expect(stderr).to.match(/✔ a {2}1 row {2}[\d.]+s\nOK {2}1 ok, 1 row, [\d.]+s\n$/);
    expect(await values()).to.deep.equal(['a']);
  });

  it('exits 1 if a task fails, runs no task that needs the failed task, and runs all others', async () => {
    const { code, stderr } = await run(
      `const b = d.session('b', {}, async () => { throw new Error('bad row 17'); });
       d.session('c', { needs: [b] }, async () => null); ${good}`,
    );
    expect(code).to.equal(1);
    expect(stderr).to.include('ETL-3001 bad row 17');
    expect(stderr).to.match(
      /where thrown at etl\.config\.ts:5:\d+, in the task defined at etl\.config\.ts:5:\d+/,
    );
    expect(stderr).to.include('data  "b" wrote nothing');
    expect(stderr).to.include('↷ c  upstream_failed: needs "b"');
    expect(stderr).to.match(
      /FAILED {2}1 ok, 1 failed, 1 skipped, 1 row, .*\nresume after the correction: etl run d --resume --run-id \S+\n$/,
    );
    expect(await values()).to.deep.equal(['a']);
  });

  it('exits 3 if only a check fails, and commits no data', async () => {
    const { code, stderr } = await run(
      `d.sql('a', { sql: "insert into t values ('a')", checks: [{ name: 'no-a', sql: "select 1 from t where v = 'a' -- none" }] });`,
    );
    expect(code).to.equal(3);
    expect(stderr).to.include('check "no-a" failed: its query returned 1 row');
    expect(await values()).to.deep.equal([]);
  });

  it('exits 1 if a check and another task fail', async () => {
    const check = `d.sql('a', { sql: 'select 1', checks: [{ name: 'never', sql: 'select 1' }] });`;
    expect((await run(check + bad)).code).to.equal(1);
  });

  const usage: readonly [title: string, args: readonly string[], stderr: RegExp][] = [
    ['a Dag that does not exist', ['dd'], /ETL-2002 there is no Dag "dd"; did you mean "d"\?/],
    ['a call without a Dag', [], /ETL-2001 the command line does not name the Dag to run/],
    ['a flag that does not exist', ['d', '--concurency', '2'], /ETL-2001 nonexistent flag: --concurency/],
    ['a concurrency of 0', ['d', '-c', '0'], /ETL-2001/],
    ['a param that does not exist', ['d', '--param', 'x=1'], /ETL-2401/],
    ['a param without a value', ['d', '--param', 'x'], /ETL-24/],
    ['a param that is given twice', ['d', '-p', 'x=1', '-p', 'x=2'], /ETL-2001 --param x=… is given twice/],
    ['a date for a Dag without a schedule', ['d', '--date', '2026-01-01'], /ETL-20/],
    ['a timeout that is no duration', ['d', '--timeout', 'soon'], /ETL-2303 expected `--timeout`/],
    ['a --conn without =', ['d', '--conn', 'nonsense'], /ETL-2001 --conn number 1 is not of the form id=url/],
    ['a malformed connection', ['d', '--conn', 'db=postgres//u:secret-word@h'], /ETL-2201/],
    ['a connection of an unknown type', ['d', '--conn', 'db=oracle://h/d'], /ETL-2205/],
  ];
  for (const [title, args, stderr] of usage) {
    it(`exits 2 for ${title}, and starts nothing`, async () => {
      await project.write({ 'etl.config.ts': config(good) });
      const result = await project.cli(['run', ...args], env());
      expect(result.code, result.stderr).to.equal(2);
      expect(result.stderr).to.match(stderr);
      expect(result.stderr).to.not.include('    at ');
      expect(result.stderr).to.not.include('secret-word');
      expect(await values()).to.deep.equal([]);
    });
  }

  it('exits 2 for a connection that is not defined, and names where to define it', async () => {
    await project.write({ 'etl.config.ts': config(good) });
    const { code, stderr } = await project.cli(['run', 'd']);
    expect(code).to.equal(2);
    for (const name of ['ETL_CONN_DB', 'AIRFLOW_CONN_DB', '--conn db=']) expect(stderr).to.include(name);
  });

  it('exits 69 if the database can not be reached', async () => {
    await project.write({ 'etl.config.ts': config(good) });
    const { code, stderr } = await project.cli(['run', 'd'], {
      ETL_CONN_DB: 'postgres://u:secret-word@127.0.0.1:1/x',
    });
    expect(code).to.equal(69);
    expect(stderr).to.match(/ETL-1001 connection "db" could not connect to 127\.0\.0\.1:1 \(ECONNREFUSED\)/);
    expect(stderr).to.not.include('secret-word');
  });

  it('exits 75 while another run of the Dag is running, and names the other run', async () => {
    await project.write({
      'etl.config.ts': config(`d.session('a', {}, async () => void (await gate('in')));`),
    });
    const first = project.start(['run', 'd'], env());
    const arrival = await gate.next();
    const second = await project.cli(['run', 'd'], env());
    expect(second.code).to.equal(75);
    expect(second.stderr).to.match(/ETL-7501 "d" is already running: run \S+, pid (\d+) on host \S+, since /);
    expect(second.stderr).to.include(`pid ${first.child.pid} `);
    arrival.open();
    expect((await first.ended).code).to.equal(0);
    const third = project.start(['run', 'd'], env());
    (await gate.next()).open();
    expect((await third.ended).code).to.equal(0);
  });

  it('exits 124 if the run exceeds its timeout', async () => {
    const { code, stderr } = await run(
      `d.session('a', {}, async ({ session }) => void (await session.raw('select pg_sleep(30)')));`,
      ['--timeout', '300ms'],
    );
    expect(code).to.equal(124);
    expect(stderr).to.include('ETL-3303 the run did not end within its timeout of 0.3s');
  });

  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    it(`exits ${code} on ${signal}, and rolls back the running task`, async () => {
      await project.write({
        'etl.config.ts': config(`d.session('a', {}, async ({ session }) => {
          await session('t').insert({ v: 'a' });
          await gate('in');
          await session.raw('select pg_sleep(30)');
        });`),
      });
      const { child, ended } = project.start(['run', 'd'], env());
      (await gate.next()).open();
      child.kill(signal);
      const result = await ended;
      expect(result.code, result.stderr).to.equal(code);
      expect(result.stderr).to.include(`stopped by ${signal}`);
      expect(await values()).to.deep.equal([]);
    });
  }

  it('ends at once on a second signal', async () => {
    await project.write({
      'etl.config.ts': config(
        `d.session('a', {}, async ({ signal }) => { signal.addEventListener('abort', () => void gate('told')); await gate('in'); });`,
      ),
    });
    const { child, ended } = project.start(['run', 'd'], env());
    await gate.next();
    child.kill('SIGTERM');
    expect((await gate.next()).name).to.equal('told');
    child.kill('SIGTERM');
    expect((await ended).code).to.equal(143);
  });

  const harm: readonly [title: string, body: string, stderr: RegExp][] = [
    ['calls process.exit(0)', 'process.exit(0);', /ETL-3007 a task must not call process\.exit\(0\)/],
    [
      'leaves a rejected promise',
      `void Promise.reject(new Error('nobody waits')); await new Promise(() => undefined);`,
      /ETL-3006 unhandled error: nobody waits/,
    ],
    [
      'throws in a timer',
      `setTimeout(() => { throw new Error('in a timer'); }, 1); await new Promise(() => undefined);`,
      /ETL-3006 unhandled error: in a timer/,
    ],
    ['throws FailTask', `throw new FailTask('no more');`, /ETL-3001 no more/],
  ];
  for (const [title, body, stderr] of harm) {
    it(`fails only the task that ${title}`, async () => {
      const result = await run(`d.session('bad', { retries: 0 }, async () => { ${body} }); ${good}`);
      expect(result.code, result.stderr).to.equal(1);
      expect(result.stderr).to.match(stderr);
      expect(result.stderr).to.include('✔ a');
      expect(await values()).to.deep.equal(['a']);
    });
  }

  it('ends the process if a task blocks the event loop, names the task, and leaves no session and no row', async () => {
    const { code, stderr } = await run(
      `d.session('busy', {}, async ({ session }) => { await session('t').insert({ v: 'x' }); for (;;); });`,
      ['--max-block', '2s'],
    );
    expect(code).to.equal(null);
    expect(stderr).to.include(
      'ETL-3304 the event loop was blocked for 2 s while these tasks were running: busy',
    );
    expect(await db.leftSessions()).to.deep.equal([]);
    expect(await values()).to.deep.equal([]);
  });

  const preloads: readonly [title: string, code: string][] = [
    [
      'the constructor of its thread throws',
      `require('node:worker_threads').Worker = class { constructor() { throw new Error('EAGAIN no thread'); } };`,
    ],
    [
      'its thread fails later',
      `const threads = require('node:worker_threads');
       threads.Worker = class extends threads.Worker { constructor() { super('throw new Error("EAGAIN no thread")', { eval: true }); } };`,
    ],
  ];
  for (const [title, code] of preloads) {
    it(`runs without the watchdog if ${title}, says so, and frees the lock`, async () => {
      const tasks = `d.session('a', {}, async ({ session }) => { await session('t').insert({ v: 'a' }); await gate('in'); });`;
      await project.write({ 'etl.config.ts': config(tasks), 'preload.cjs': code });
      const variables = { ...env(), NODE_OPTIONS: `--require=${project.directory}/preload.cjs` };
      const { child, ended } = project.start(['run', 'd'], variables);
      const noted = new Promise<void>((resolve) => {
        child.stderr?.on('data', (text: string) => text.includes('watchdog') && resolve());
      });
      const arrival = await gate.next();
      await Promise.race([noted, ended]);
      arrival.open();
      const result = await ended;
      expect(result.code, result.stderr).to.equal(0);
      expect(result.stderr).to.match(/note: the watchdog could not run \(.*EAGAIN no thread\)/);
      expect(result.stderr.match(/the watchdog could not run/g)).to.have.lengthOf(1);
      expect(await values()).to.deep.equal(['a']);
    });
  }

  it('runs without the watchdog under the permission model of Node, which allows no thread', async () => {
    const flag = process.allowedNodeEnvironmentFlags.has('--permission')
      ? '--permission'
      : '--experimental-permission';
    await project.write({ 'etl.config.ts': config(good) });
    const result = await project.cli(['run', 'd'], {
      ...env(),
      NODE_OPTIONS: `${flag} --allow-fs-read=* --allow-fs-write=* --disable-warning=ExperimentalWarning`,
    });
    expect(result.code, result.stderr).to.equal(0);
    expect(result.stderr).to.match(/note: the watchdog could not run/);
    expect(await values()).to.deep.equal(['a']);
  });

  it('never exits with 0 if the heap is full', async () => {
    await project.write({
      'etl.config.ts': config(
        `d.session('full', {}, async ({ session }) => { await session('t').insert({ v: 'x' }); const all = []; for (;;) all.push(new Array(1e6).fill(1)); });`,
      ),
    });
    const { code } = await project.cli(['run', 'd'], { ...env(), NODE_OPTIONS: '--max-old-space-size=60' });
    expect(code).to.not.equal(0);
    expect(await db.leftSessions()).to.deep.equal([]);
    expect(await values()).to.deep.equal([]);
  });

  it('ends the process although a task has left a timer running', async () => {
    const { code } = await run(`d.session('a', {}, async () => { setInterval(() => undefined, 1000); });`);
    expect(code).to.equal(0);
  });

  it('shows a skipped task and the tasks that need it as skipped, and exits 0', async () => {
    const { code, stderr } = await run(
      `const a = d.session('a', {}, async () => { throw new SkipTask('nothing to do'); }); d.session('b', { needs: [a] }, async () => null);`,
    );
    expect(code).to.equal(0);
    expect(stderr).to.include('↷ a  skipped: nothing to do');
    expect(stderr).to.include('↷ b  skipped: "a" was skipped');
  });

  it('repeats a failed task from its beginning, at most `retries` times', async () => {
    const { code, stderr } = await run(`
      d.session('a', { retries: 2, backoff: { initial: 1 } }, async ({ session, run: { attempt } }) => {
        await session('t').insert({ v: 'attempt ' + attempt });
        if (attempt < 3) throw new Error('not yet');
      });`);
    expect(code).to.equal(0);
    expect(stderr).to.include('↻ a: attempt 1 failed');
    expect(stderr).to.match(/✔ a {2}1 row {2}[\d.]+s {2}attempt 3/);
    expect(await values()).to.deep.equal(['attempt 3']);
  });

  it('runs at most --concurrency ready tasks at the same time', async () => {
    const tasks = ['a', 'b', 'c'].map(
      (id) => `d.session('${id}', {}, async () => void (await gate('${id}')));`,
    );
    await project.write({ 'etl.config.ts': config(tasks.join('')) });
    const { ended } = project.start(['run', 'd', '--concurrency', '2'], env());
    const [first, second] = [await gate.next(), await gate.next()];
    expect([first.name, second.name].toSorted()).to.deep.equal(['a', 'b']);
    expect(gate.waiting).to.equal(0);
    first.open();
    const third = await gate.next();
    expect(third.name).to.equal('c');
    second.open();
    third.open();
    expect((await ended).code).to.equal(0);
  });

  it('starts no task after a failure with --fail-fast', async () => {
    const { code, stderr } = await run(bad + good, ['--fail-fast', '-c', '1']);
    expect(code).to.equal(1);
    expect(stderr).to.include('↷ a  skipped: the run stopped before the task started');
    expect(await values()).to.deep.equal([]);
  });

  it('prints nothing for a successful run with --quiet, and everything for a failed run', async () => {
    expect(await run(good, ['--quiet'])).to.deep.equal({ code: 0, stdout: '', stderr: '' });
    const { code, stderr } = await run(good + bad, ['--quiet', '-c', '1']);
    expect(code).to.equal(1);
    expect(stderr).to.match(/^d {2}run [\s\S]*✔ a[\s\S]*ETL-3001 bad row 17[\s\S]*FAILED/);
  });

  it('prints the result on stdout with --json', async () => {
    const { code, stdout } = await run(good + bad, ['--json']);
    const result = JSON.parse(stdout);
    expect(code).to.equal(1);
    expect(result).to.include({ event: 'run_finished', dag: 'd', state: 'failed' });
    expect(result.tasks).to.have.lengthOf(2);
    expect(result.tasks[0]).to.include({ task: 'a', state: 'success', rows: 1, attempts: 1, reused: false });
    expect(result.tasks[1].error).to.include({ code: 'ETL-3001', what: 'bad row 17' });
  });

  it('prints a JSON object for each event on stdout with --reporter ndjson', async () => {
    const { stdout } = await run(
      `d.session('a', {}, async ({ log, progress }) => { log('here', { nTimes: 2 }); progress(5); });`,
      ['--reporter', 'ndjson'],
    );
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events.map(({ event }) => event)).to.deep.equal([
      'run_started',
      'task_started',
      'task_log',
      'task_progress',
      'task_finished',
      'run_finished',
    ]);
    expect(events.every(({ v, ts, run_id: id, dag }) => v === 1 && ts && id && dag === 'd')).to.equal(true);
    expect(events[2]).to.include({ task: 'a', message: 'here' });
    expect(events[2].fields).to.deep.equal({ nTimes: 2 });
  });

  it('reports a notice about a connection as an event of the run, and other commands print the notice as a note', async () => {
    await project.write({ 'etl.config.ts': config(good) });
    const ignored = { ETL_CONN_DB: `${db.url}?cursor=dict` };
    const text = 'connection "db": etl ignores cursor, which only Airflow uses';
    const { stdout } = await project.cli(['run', 'd', '--run-id', 'noted', '--reporter', 'ndjson'], ignored);
    const [first = ''] = stdout.split('\n');
    expect(JSON.parse(first)).to.include({ event: 'notice', run_id: 'noted', dag: 'd', text });
    for (const command of [
      'check',
      'runs',
      'connections test',
      'ledger status',
      'ledger migrate',
      'state list',
    ]) {
      const { code, stderr } = await project.cli(command.split(' '), ignored);
      expect({ command, code, first: stderr.split('\n')[0] }).to.deep.equal({
        command,
        code: 0,
        first: `note: ${text}`,
      });
    }
  });

  it('shows a failed statement with a caret and the SQLSTATE in words, and shows no value of a row', async () => {
    const { stderr } = await run(`
      d.sql('typo', { sql: 'select * form t' });
      d.sql('twice', { sql: 'create table secret (k text primary key); insert into secret values (\\'row-data-17\\'), (\\'row-data-17\\')' });`);
    expect(stderr).to.match(/select \* form t\n\s+\^/);
    expect(stderr).to.include('SQLSTATE 42601, syntax error');
    expect(stderr).to.include('SQLSTATE 23505, unique violation, constraint "secret_pkey"');
    expect(stderr).to.not.include('row-data-17');
  });

  it('masks the passwords of connections in logs and errors, in text and in JSON', async () => {
    const { password } = new URL(db.url);
    const body = `async ({ session, log }) => { log('found', { password: '${password}' }); throw new Error('it is ${password}'); }`;
    for (const args of [[], ['--json'], ['--reporter', 'ndjson']]) {
      const { stdout, stderr } = await run(`d.session('a', {}, ${body});`, args);
      expect(stdout + stderr).to.include('***');
      expect(stdout + stderr).to.not.include(password);
    }
  });

  it('shows control characters of an error message as text', async () => {
    const { stderr } = await run(
      `d.session('a', {}, async () => { throw new Error('red \\u001b[31m bell \\u0007'); });`,
    );
    expect(stderr).to.include('red \\x1b[31m bell \\x07');
    expect(stderr).to.not.include('\u001b');
  });

  const colours: readonly [
    title: string,
    args: readonly string[],
    env: Record<string, string>,
    isColoured: boolean,
  ][] = [
    ['no terminal', [], {}, false],
    ['FORCE_COLOR', [], { FORCE_COLOR: '1' }, true],
    ['NO_COLOR before FORCE_COLOR', [], { NO_COLOR: '1', FORCE_COLOR: '1' }, false],
    ['--color before NO_COLOR', ['--color'], { NO_COLOR: '1' }, true],
    ['--no-color before FORCE_COLOR', ['--no-color'], { FORCE_COLOR: '1' }, false],
  ];
  for (const [title, args, variables, isColoured] of colours) {
    it(`decides about colours: ${title}`, async () => {
      await project.write({ 'etl.config.ts': config(good) });
      const { stderr } = await project.cli(['run', 'd', ...args], { ...env(), ...variables });
      expect(stderr.includes('\u001b[')).to.equal(isColoured);
    });
  }

  it('passes params with the types of their schema to tasks, and records them in the ledger', async () => {
    await project.write({
      'etl.config.ts': config(`d.session('a', {}, async ({ params }) => params);`, `params: schema`).replace(
        'export default',
        `const schema = { '~standard': { version: 1, vendor: 'test', validate: (value) =>
           Number.isFinite(Number(value.n)) ? { value: { n: Number(value.n) } } : { issues: [{ message: 'not a number', path: ['n'] }] } } };
         export default`,
      ),
    });
    expect((await project.cli(['run', 'd', '--param', 'n=3'], env())).code).to.equal(0);
    const [row] = await db.query(
      `select r.params, t.result from etl.run r join etl.task t using (run_id) order by r.started_at desc limit 1`,
    );
    expect(row).to.deep.equal({ params: { n: 3 }, result: { n: 3 } });
    const wrong = await project.cli(['run', 'd', '--param', 'n=x'], env());
    expect(wrong.code).to.equal(2);
    expect(wrong.stderr).to.include('n: not a number');
  });

  it('runs the interval of --date', async () => {
    const tasks = `d.session('a', {}, async ({ interval }) => [interval.start.toISOString(), interval.end.toISOString()]);`;
    const { code } = await run(
      tasks,
      ['--date', '2026-03-05'],
      `schedule: '0 2 1 * *', startDate: '2020-08-01'`,
    );
    expect(code).to.equal(0);
    const [row] = await db.query(
      `select t.result, r.interval_start, r.interval_end from etl.run r join etl.task t using (run_id) order by r.started_at desc limit 1`,
    );
    expect(row).to.deep.equal({
      result: ['2026-03-01T02:00:00.000Z', '2026-04-01T02:00:00.000Z'],
      interval_start: new Date('2026-03-01T02:00:00Z'),
      interval_end: new Date('2026-04-01T02:00:00Z'),
    });
  });
});
