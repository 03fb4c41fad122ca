import { expect } from 'chai';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createProject, ROOT, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { Gate } from '../support/gate.js';
import { startWebServer, type WebServer } from '../support/web-server.js';

/** Returns a config whose Dag "d" has these tasks, and whose callbacks are these. */
const config = (tasks: string, ofConfig: string, ofDag = ''): string => `
  import { dag, defineConfig } from '@oneshot/etl';
  import { gate } from './gate.ts';
  export default defineConfig({
    dags: [dag('d', { defaults: { conn: 'db' } }, (d) => { ${tasks} }, { ${ofDag} })],
    ${ofConfig}
  });`;

describe('onSuccess and onFailure of a config', () => {
  let db: TestDatabase;
  let gate: Gate;
  let project: Project;
  let server: WebServer;
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
  beforeEach(async () => (server = await startWebServer()));
  afterEach(() => server[Symbol.asyncDispose]());

  const env = () => ({
    ETL_CONN_DB: db.url,
    DATABASE_URL: db.url,
    SLACK_URL: server.url,
    WEBHOOK_URL: server.url,
  });
  const run = async (text: string, args: readonly string[] = ['d']) => {
    await project.write({ 'etl.config.ts': text });
    return project.cli(['run', ...args], env());
  };
  /** Returns the example of the documentation with this name. */
  async function readExample(name: string): Promise<string> {
    const text = await readFile(join(ROOT, 'docs/notifications.md'), 'utf8');
    return new RegExp(`^\`\`\`ts ${name}\\n([^]*?)^\`\`\`$`, 'm').exec(text)?.[1] ?? '';
  }
  const good = `d.sql('one', { sql: 'select 1' });`;
  const bad = `d.sql('one', { sql: 'select 1/0' });`;
  const log = `onSuccess: (run) => console.log('success', run.exitCode), onFailure: ({ exitCode, error, result }) => console.log('failure', exitCode, error?.code, result?.state),`;

  it('sends what the example for Slack says', async () => {
    const { code, stderr } = await run(await readExample('slack'), ['orders']);
    expect(code, stderr).to.equal(1);
    expect(server.requests).to.have.length(1);
    const [{ body, headers }] = server.requests as [(typeof server.requests)[0]];
    expect(headers['content-type']).to.equal('application/json');
    expect(JSON.parse(body).text).to.match(
      /^\*orders\* failed with exit code 1\nload: ETL-3001 division by zero\n`etl run orders --resume --run-id \S+`$/,
    );
    server.statuses.push(500);
    const refused = await run(await readExample('slack'), ['orders']);
    expect(refused.code).to.equal(1);
    expect(refused.stderr).to.match(
      /\nnote: onFailure of the config failed: Slack answered 500; the run is not affected\n$/,
    );
  });

  it('sends what the example of a webhook says, with the typed results of the Dag', async () => {
    const { code, stderr } = await run(await readExample('webhook'), ['orders', '--date', '2026-03-05']);
    expect(code, stderr).to.equal(0);
    expect(server.requests.map(({ body }) => JSON.parse(body))).to.deep.equal([
      { dag: 'orders', day: '2026-03-05T00:00:00.000Z', orders: 3 },
    ]);
  });

  const ends: readonly [title: string, tasks: string, args: readonly string[], code: number, line: string][] =
    [
      ['a success', good, ['d'], 0, 'success 0'],
      ['a failed task', bad, ['d'], 1, 'failure 1 ETL-3001 failed'],
      [
        'a failed check',
        `d.sql('one', { sql: 'select 1', checks: [{ name: 'no', sql: 'select 1' }] });`,
        ['d'],
        3,
        'failure 3 ETL-3101 failed',
      ],
      ['a run that is quiet', bad, ['d', '--quiet'], 1, 'failure 1 ETL-3001 failed'],
    ];
  for (const [title, tasks, args, code, line] of ends) {
    it(`calls the functions after the report, with the exit code of the process: ${title}`, async () => {
      const result = await run(config(tasks, log), args);
      expect({ code: result.code, stdout: result.stdout }).to.deep.equal({ code, stdout: '' });
      expect(result.stderr.trimEnd().split('\n').at(-1)).to.equal(line);
    });
  }

  it("calls onFailure if the database can't be reached, with the error and without a result", async () => {
    const { code, stderr } = await run(config(good, log, log), [
      'd',
      '--conn',
      'db=postgres://u@127.0.0.1:1/x',
    ]);
    expect(code).to.equal(69);
    expect(stderr.match(/^failure 69 ETL-1001 undefined$/gm)).to.have.length(2);
  });

  it('calls onFailure if another run has the lock, but not with --overlap skip', async () => {
    await project.write({
      'etl.config.ts': config(`d.session('hold', {}, async () => { await gate('held'); });`, log),
    });
    const first = project.start(['run', 'd'], env());
    const held = await gate.next();
    const refused = await project.cli(['run', 'd'], env());
    expect(refused.code).to.equal(75);
    expect(refused.stderr).to.match(/\nfailure 75 ETL-7501 undefined\n$/);
    expect((await project.cli(['run', 'd', '--overlap', 'skip'], env())).stderr).not.to.include('failure');
    held.open();
    expect((await first.ended).stderr).to.match(/\nsuccess 0\n$/);
  });

  it('calls onFailure after SIGTERM, with the exit code of the signal', async () => {
    await project.write({
      'etl.config.ts': config(`d.session('hold', {}, async () => { await gate('held'); });`, log),
    });
    const { child, ended } = project.start(['run', 'd'], env());
    await gate.next();
    child.kill('SIGTERM');
    const { code, stderr } = await ended;
    expect(code).to.equal(143);
    expect(stderr).to.match(/\nfailure 143 ETL-3302 failed\n$/);
  });

  it('ends at the first SIGTERM while a function runs, after the run is recorded', async () => {
    await project.write({ 'etl.config.ts': config(good, `onSuccess: () => gate('called'),`) });
    const { child, ended } = project.start(['run', 'd', '--run-id', 'ended'], env());
    await gate.next();
    child.kill('SIGTERM');
    expect((await ended).code).to.equal(143);
    expect(await db.query(`select state from etl.run where run_id = 'ended'`)).to.deep.equal([
      { state: 'success' },
    ]);
  });

  it('calls no function for a wrong command line', async () => {
    const { code, stderr } = await run(config(good, log), ['d', '--param', 'a=1']);
    expect(code).to.equal(2);
    expect(stderr).not.to.match(/^(?:failure|success)/m);
  });

  const failures: readonly [title: string, callback: string, note: RegExp][] = [
    [
      'it throws',
      `() => { throw new Error('no network'); }`,
      /^note: on\w+ of the config failed: no network; the run is not affected$/m,
    ],
    [
      'it calls process.exit',
      `() => process.exit(7)`,
      /^note: on\w+ of the config failed: .*process\.exit\(7\).*; the run is not affected$/m,
    ],
    [
      'it awaits nothing',
      `async () => { void Promise.reject(new Error('late')); await new Promise(setImmediate); }`,
      /^note: after the end of the run: unhandled error: late; the run is not affected$/m,
    ],
  ];
  for (const [title, callback, note] of failures) {
    it(`shows an error of a function as a note, and keeps the exit code: ${title}`, async () => {
      const both = `onSuccess: ${callback}, onFailure: ${callback},`;
      const success = await run(config(good, both));
      expect(success.code, success.stderr).to.equal(0);
      expect(success.stderr).to.match(note);
      const failure = await run(config(bad, both), ['d', '--quiet']);
      expect(failure.code).to.equal(1);
      expect(failure.stderr).to.match(note);
    });
  }

  it('runs no task again in a resume because a function has changed', async () => {
    const tasks = `
      const first = d.session('first', {}, async ({ session }) => { await session('t').insert({ v: 'x' }); });
      d.sql('second', { needs: [first], sql: 'select * from later' });`;
    const withText = (text: string) =>
      config(tasks, `onFailure: () => console.log('${text}'),`, `onFailure: async () => void '${text}',`);
    expect((await run(withText('one'), ['d', '--run-id', 'changed'])).code).to.equal(1);
    await db.query('create table later ()');
    const { code, stderr } = await run(withText('two'), ['d', '--resume', '--run-id', 'changed']);
    expect(code, stderr).to.equal(0);
    expect(stderr).to.include('1 reused, 1 to run');
    expect(await db.query('select v from t')).to.deep.equal([{ v: 'x' }]);
  });
});
