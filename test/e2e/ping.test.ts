import { expect } from 'chai';
import { createProject, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { Gate } from '../support/gate.js';
import { startWebServer, type WebServer } from '../support/web-server.js';

/** The part of the URL that is a secret, as a ping key of healthchecks.io. */
const KEY = '7d3f0c1e-9a52-4c1b-8a0e-5f1f2d3c4b5a';

const CONFIG = `
  import { dag, defineConfig } from '@oneshot/etl';
  import { gate } from './gate.ts';
  const options = { defaults: { conn: 'db' } };
  export default defineConfig({ dags: [
    dag('good', options, (d) => { d.sql('one', { sql: 'create temp table x as select generate_series(1, 3)' }); }),
    dag('bad', options, (d) => {
      const broken = d.session('broken', {}, async ({ log }) => { log('order of Ada'); throw new Error('no orders today'); });
      d.sql('after', { needs: [broken], sql: 'select 1' });
    }),
    dag('checked', options, (d) => {
      d.sql('check', { sql: 'select 1', checks: [{ name: 'none', sql: "select 'Ada Lovelace' as name" }] });
    }),
    dag('held', options, (d) => {
      d.session('hold', {}, async ({ session }) => { await gate('held'); await session.raw('select 1'); });
    }),
  ] });`;

describe('etl run --ping', () => {
  let db: TestDatabase;
  let gate: Gate;
  let project: Project;
  let server: WebServer;
  let url: string;
  before(async () => {
    db = await createDatabase();
    gate = await Gate.open();
    project = await createProject({
      'gate.ts': gate.source,
      'etl.config.ts': CONFIG,
      'broken/etl.config.ts': "throw new Error('no config today');",
      'configured/etl.config.ts': `
        import { dag, defineConfig } from '@oneshot/etl';
        export default defineConfig({ ping: process.env.HERE, dags: [dag('d', {}, (d) => { d.task('t', {}, async () => null); })] });`,
    });
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await gate[Symbol.asyncDispose]();
    await db.drop();
  });
  beforeEach(async () => {
    server = await startWebServer();
    url = `${server.url}/${KEY}`;
  });
  afterEach(() => server[Symbol.asyncDispose]());

  const env = (more: Readonly<Record<string, string>> = {}) => ({
    ETL_CONN_DB: db.url,
    ETL_PING_URL: url,
    ...more,
  });
  /** Returns the paths of the pings without the key, such as `/start` and `/1`. */
  const paths = () =>
    server.requests.map(({ url: path }) => path.replace(`/${KEY}`, '').replace(/\?rid=.*/, ''));
  const summary = () => server.requests.at(-1)?.body ?? '';

  const ends: readonly [
    title: string,
    args: readonly string[],
    code: number,
    pings: readonly string[],
    body: RegExp,
  ][] = [
    ['a success', ['good'], 0, ['/start', ''], /^good {2}run \S+\nOK {2}1 ok, .*\n ✔ one/],
    [
      'a failed task',
      ['bad'],
      1,
      ['/start', '/1'],
      /^bad {2}run (\S+)\nFAILED .*, exit code 1\nresume: etl run bad --resume --run-id \1\n ✖ broken [^]*ETL-3001 no orders today[^]*after {2}upstream_failed/,
    ],
    ['a failed check', ['checked'], 3, ['/start', '/3'], /exit code 3\n[^]*check "none" failed/],
    [
      'a wrong flag',
      ['good', '--unknown'],
      2,
      ['/2'],
      /^good|^etl run\nFAILED {2}the run did not start, exit code 2\nETL-2001 /,
    ],
    [
      'a Dag that does not exist',
      ['god'],
      2,
      ['/2'],
      /^god\nFAILED {2}the run did not start, exit code 2\nETL-2002 .*good/,
    ],
    [
      'a call without a Dag',
      [],
      2,
      ['/2'],
      /^etl run\nFAILED {2}the run did not start, exit code 2\nETL-2001 /,
    ],
    [
      'a config that fails',
      ['good', '--config', 'broken/etl.config.ts'],
      2,
      ['/2'],
      /ETL-2104 .*\n[^]*no config today/,
    ],
    [
      'an unreachable database',
      ['good', '--conn', 'db=postgres://u@127.0.0.1:1/x'],
      69,
      ['/69'],
      /exit code 69\nETL-1001 /,
    ],
  ];
  for (const [title, args, code, pings, body] of ends) {
    it(`tells ${title} with its exit code and the reason`, async () => {
      const result = await project.cli(['run', ...args], env());
      expect(result.code, result.stderr).to.equal(code);
      expect(result.stdout).to.equal('');
      expect(paths()).to.deep.equal(pings);
      expect(summary()).to.match(body);
      expect(result.stderr + summary()).not.to.include(KEY);
    });
  }

  it('sends no ping for etl run --help', async () => {
    expect((await project.cli(['run', '--help'], env())).code).to.equal(0);
    expect(paths()).to.deep.equal([]);
  });

  it('tells a held lock with exit code 75, and sends nothing with --overlap skip', async () => {
    const first = project.start(['run', 'held'], { ETL_CONN_DB: db.url });
    const held = await gate.next();
    expect((await project.cli(['run', 'held', '--overlap', 'skip'], env())).code).to.equal(0);
    expect(paths()).to.deep.equal([]);
    expect((await project.cli(['run', 'held'], env())).code).to.equal(75);
    expect(paths()).to.deep.equal(['/75']);
    expect(summary()).to.include('ETL-7501');
    held.open();
    expect((await first.ended).code).to.equal(0);
  });

  it('tells a run that SIGTERM has stopped', async () => {
    const { child, ended } = project.start(['run', 'held'], env());
    await gate.next();
    child.kill('SIGTERM');
    expect((await ended).code).to.equal(143);
    expect(paths()).to.deep.equal(['/start', '/143']);
    expect(summary()).to.include('ETL-3302 the run was stopped by SIGTERM');
  });

  it('sends no values of rows and no log lines, except that --show-data sends the values', async () => {
    await project.cli(['run', 'checked'], env());
    expect(summary()).to.include('check "none" failed');
    expect(summary()).not.to.include('Ada');
    await project.cli(['run', 'checked', '--show-data'], env());
    expect(summary()).to.include('Ada Lovelace');
    await project.cli(['run', 'bad'], env());
    expect(summary()).not.to.include('Ada');
  });

  it('prefers the flag to the variable, and the variable to the config', async () => {
    const other = `${server.url}/other-4f1f2d3c4b5a`;
    const run = (args: readonly string[], variables: Readonly<Record<string, string>>) =>
      project.cli(['run', 'd', '--config', 'configured/etl.config.ts', ...args], variables);
    await run([], { HERE: `${url}/{dag}` });
    expect(paths()).to.deep.equal(['/d/start', '/d']);
    await run([], { HERE: other, ETL_PING_URL: url });
    await run(['--ping', url], { HERE: other, ETL_PING_URL: other });
    await run([`--ping=${url}`], { ETL_PING_URL: other });
    expect(paths().slice(2)).to.deep.equal(['/start', '', '/start', '', '/start', '']);
    const { code } = await run([], { ETL_PING_URL: '' });
    expect({ code, pings: paths().length }).to.deep.equal({ code: 0, pings: 8 });
  });

  it('refuses what is no URL with ETL-2001, without the text', async () => {
    for (const args of [['--ping', `hc-ping.com/${KEY}`], []]) {
      const result = await project.cli(['run', 'good', ...args], env({ ETL_PING_URL: `hc-ping.com/${KEY}` }));
      expect(result.code).to.equal(2);
      expect(result.stderr).to.match(
        /^ETL-2001 (?:--ping|ETL_PING_URL) is not a URL that begins with https:\/\//,
      );
      expect(result.stderr).not.to.include(KEY);
    }
  });

  it('has a notice and no other exit code if the service refuses the pings or can not be reached', async () => {
    server.statuses.push(404, 404);
    const refused = await project.cli(['run', 'good'], env());
    expect(refused.code).to.equal(0);
    expect(refused.stderr).to.match(/note: the ping of the start .*\(HTTP status 404\)/);
    expect(refused.stderr).to.match(/OK .*\nnote: the ping of the end .*\(HTTP status 404\)/);
    await server[Symbol.asyncDispose]();
    const gone = await project.cli(['run', 'bad', '--quiet'], env());
    expect(gone.code).to.equal(1);
    expect(gone.stderr).to.match(/note: the ping of the end .*ECONNREFUSED/);
    expect(refused.stderr + gone.stderr).not.to.include(KEY);
  });

  it('hides the URL also in what a task says', async () => {
    await project.write({
      'leak/etl.config.ts': `
        import { dag, defineConfig } from '@oneshot/etl';
        export default defineConfig({ dags: [dag('d', {}, (d) => {
          d.task('t', {}, async ({ log }) => { log('it is ' + process.env.ETL_PING_URL); throw new Error(process.argv.join(' ')); });
        })] });`,
    });
    const args = ['run', 'd', '--config', 'leak/etl.config.ts'];
    const outputs = [
      await project.cli([...args, '--ping', url], env()),
      await project.cli([...args, '--reporter', 'ndjson'], env()),
    ];
    for (const { stdout, stderr } of outputs)
      expect(stdout + stderr)
        .to.include('***')
        .and.not.include(KEY);
    expect(server.requests.map(({ body }) => body).join())
      .to.include('***')
      .and.not.include(KEY);
  });
});
