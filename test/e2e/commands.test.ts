import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { COMMANDS } from '../../src/commands/index.js';
import { BIN, createProject, ROOT, type CliResult, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

const CONFIG = `
  import { dag, defineConfig } from '@oneshot/etl';
  const monthly = { description: 'The report', schedule: '0 2 1 * *', startDate: '2020-08-01', defaults: { conn: 'shop' } };
  export default defineConfig({
    dags: [
      dag('monthly', monthly, (d) => {
        const load = d.load('load-orders', { from: 'orders.csv', into: 'orders', mode: 'append' });
        const sum = d.sql('sum', { needs: { load }, sql: 'select 1' });
        d.task('mail', { needs: [load, sum] }, async () => null);
      }),
      dag('single', {}, (d) => { d.task('one', {}, async () => null); }),
    ],
    connections: { shop: process.env['SHOP_URL'] },
  });`;

describe('the commands that run nothing', () => {
  let db: TestDatabase;
  let project: Project;

  before(async () => {
    db = await createDatabase();
    project = await createProject({ 'etl.config.ts': CONFIG });
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await db.drop();
  });
  afterEach(async () => expect(await db.leftSessions()).to.deep.equal([]));

  /** Calls `etl`. The connection "shop" is the database of this test. */
  async function etl(args: string, env: Readonly<Record<string, string>> = {}): Promise<CliResult> {
    return project.cli(args.split(' ').filter(Boolean), { SHOP_URL: db.url, ...env });
  }

  const REFUSED = 'postgres://me:secret-word@127.0.0.1:1/shop';
  const masked = () => db.url.replace(/:[^:@/]+@/, ':***@');

  describe('etl list', () => {
    it('shows each Dag, the interval of its next run, and its tasks in columns', async () => {
      const { code, stdout, stderr } = await etl('list');
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
      expect(stdout.replaceAll(/\d{4}-\d\d-01 02:00/g, '<tick>')).to.equal(
        [
          'monthly  The report  schedule 0 2 1 * * UTC',
          '  next run covers [<tick>, <tick>) UTC',
          ' load-orders  load  shop',
          ' sum          sql   shop                 needs load-orders',
          ' mail         task  -     at least once  needs load-orders, sum',
          '',
          'single',
          ' one  task  -  at least once',
          '',
        ].join('\n'),
      );
    });

    it('prints the Dags and tasks as JSON with --json', async () => {
      const { code, stdout } = await etl('list --json');
      const [monthly, single] = JSON.parse(stdout);
      expect(code).to.equal(0);
      expect(monthly).to.include({ dag: 'monthly', schedule: '0 2 1 * *', timezone: 'UTC' });
      expect(Object.keys(monthly.last_interval)).to.deep.equal(['start', 'end']);
      expect(monthly.tasks[1]).to.deep.equal({
        task: 'sum',
        kind: 'sql',
        conn: 'shop',
        needs: ['load-orders'],
        runs: 'exactly once',
      });
      expect(single).to.deep.equal({
        dag: 'single',
        tasks: [{ task: 'one', kind: 'task', needs: [], runs: 'at least once' }],
      });
    });

    it('works if the value of a connection is missing', async () => {
      expect((await etl('list', { SHOP_URL: '' })).code).to.equal(0);
    });

    it('says that the config defines no Dags', async () => {
      await using empty = await createProject({ 'etl.config.json': '{}' });
      const { code, stdout, stderr } = await empty.cli(['list']);
      expect({ code, stdout }).to.deep.equal({ code: 0, stdout: '' });
      expect(stderr).to.equal('etl.config.json defines no Dags\n');
      expect((await empty.cli(['list', '--json'])).stdout).to.equal('[]\n');
    });
  });

  describe('etl check', () => {
    it('shows a mark for the config, each Dag and each connection that a Dag uses', async () => {
      const { code, stdout, stderr } = await etl('check');
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
      const [config, monthly, single, shop] = stdout.split('\n');
      expect([config, monthly, single]).to.deep.equal([
        '✔  etl.config.ts',
        '✔  monthly  3 tasks',
        '✔  single  1 task',
      ]);
      expect(shop).to.match(/^✔ {2}shop {2}postgres:\/\/\S+ {2}PostgreSQL [\d.]+.* {2}no TLS {2}[\d.]+ ms$/);
    });

    it('exits 2, like every command, for a Dag whose tasks would be added too late or not at all', async () => {
      const definitions = {
        'ETL-2308': "async (d) => { await readFile('package.json'); d.sql('a', { sql: 'select 1' }); }",
        'ETL-2309': '(d) => {}',
        'ETL-2302': "(d) => { d.sql('a', { needs: [new Map().get('b')!], sql: 'select 1' }); }",
      };
      for (const [code, define] of Object.entries(definitions)) {
        await using wrong = await createProject({
          'etl.config.ts': `
            import { readFile } from 'node:fs/promises';
            import { dag, defineConfig } from '@oneshot/etl';
            export default defineConfig({ dags: [dag('x', { defaults: { conn: 'shop' } }, ${define})] });`,
        });
        for (const args of [['check'], ['list'], ['run', 'x']]) {
          const result = await wrong.cli(args, { ETL_CONN_SHOP: db.url });
          expect(result, args.join(' ')).to.include({ code: 2, stdout: '' });
          expect(result.stderr)
            .to.match(new RegExp(`^${code} `))
            .and.match(/etl\.config\.ts:4:\d+/);
        }
      }
    });

    it('warns of a merge that does not set the cursor of an incremental task in another Dag', async () => {
      await db.query(`create table trap (id int primary key, updated_at timestamptz not null default now());
        create table fine (id int primary key, updated_at timestamptz not null)`);
      await using trap = await createProject({
        'etl.config.ts': `
          import { dag, defineConfig } from '@oneshot/etl';
          const read = (table: string) => (d: any) => void d.sql('read-' + table, {
            incremental: { table, cursor: 'updated_at' }, sql: () => 'select 1' });
          const write = (into: string) => (d: any) => void d.load('write', {
            from: 'in.csv', into, mode: 'merge', key: ['id'] });
          const on = { defaults: { conn: 'shop' } };
          export default defineConfig({ dags: [dag('a', on, read('trap')), dag('b', on, write('public.trap')),
            dag('c', on, read('fine')), dag('e', on, write('fine'))] });`,
      });
      const { code, stdout, stderr } = await trap.cli(['check'], { ETL_CONN_SHOP: db.url });
      expect(code, stderr).to.equal(0);
      expect(stdout.match(/^warning: .*$/gm)).to.have.length(1);
      expect(stdout).to.match(/task "read-trap" never reads.*\ncreate function/);
      const json = await trap.cli(['check', '--json'], { ETL_CONN_SHOP: db.url });
      expect(JSON.parse(json.stdout).warnings).to.have.length(1);
    });

    it('exits 69 if a server does not answer, with the table on stdout and the reason on stderr', async () => {
      const { code, stdout, stderr } = await etl('check', { SHOP_URL: REFUSED });
      expect(code).to.equal(69);
      expect(stdout).to.include('✖  shop  postgres://me:***@127.0.0.1:1/shop  ETL-1001\n');
      expect(stderr).to.match(
        /^ETL-1001 connection "shop" could not connect to 127\.0\.0\.1:1 \(ECONNREFUSED\)/,
      );
    });

    it('prints the Dags and connections as JSON with --json', async () => {
      const good = JSON.parse((await etl('check --json')).stdout);
      expect(good.dags).to.deep.equal([
        { dag: 'monthly', tasks: 3, errors: [] },
        { dag: 'single', tasks: 1, errors: [] },
      ]);
      expect(good.connections).to.have.lengthOf(1);
      expect(good.connections[0]).to.include({ id: 'shop', place: masked(), ok: true, tls: false });
      const { code, stdout } = await etl('check --json', { SHOP_URL: REFUSED });
      const bad = JSON.parse(stdout);
      expect(code).to.equal(69);
      expect(bad.connections[0]).to.include({ id: 'shop', ok: false });
      expect(bad.connections[0].error).to.include({
        code: 'ETL-1001',
        where: 'connections.shop in etl.config.ts',
      });
    });

    it('opens the home connection of a Dag that has no task with a connection', async () => {
      await using recorded = await createProject({
        'etl.config.ts': `
          import { dag, defineConfig } from '@oneshot/etl';
          const mail = dag('mail', { defaults: { conn: 'shop' } }, (d) => { d.task('send', {}, async () => null); });
          export default defineConfig({ dags: [mail], connections: { shop: process.env['SHOP_URL'] } });`,
      });
      const good = await recorded.cli(['check', '--json'], { SHOP_URL: db.url });
      expect(JSON.parse(good.stdout).connections.map(({ id }: { id: string }) => id)).to.deep.equal(['shop']);
      const { code, stderr } = await recorded.cli(['check'], { SHOP_URL: REFUSED });
      expect({ code, first: stderr.split(' ')[0] }).to.deep.equal({ code: 69, first: 'ETL-1001' });
    });

    const wrong: readonly [title: string, args: string, env: Record<string, string>, code: string][] = [
      ['a connection whose value is empty', 'check', { SHOP_URL: '' }, 'ETL-2201'],
      ['a malformed connection', 'check --conn shop=secret-word', {}, 'ETL-2201'],
      ['a connection of an unknown type', 'check --conn shop=mysql://u:secret-word@h', {}, 'ETL-2205'],
      ['a config file that does not exist', 'check --config nope.ts', {}, 'ETL-2101'],
    ];
    for (const [title, args, env, code] of wrong) {
      it(`exits 2 for ${title}, in text and in JSON`, async () => {
        const { code: exitCode, stdout, stderr } = await etl(`${args} --json`, env);
        expect(exitCode, stderr).to.equal(2);
        expect(stderr).to.match(new RegExp(`^${code} `));
        expect(JSON.parse(stdout).error).to.have.property('code', code);
        expect(stdout + stderr).to.not.include('secret-word');
      });
    }
  });

  it('etl check exits 2 for a connection whose variable is not set, and names the declaration in the config', async () => {
    const { code, stderr } = await project.cli(['check']);
    expect(code).to.equal(2);
    expect(stderr).to.match(/^ETL-2202 connection "shop" has no value: the variable [A-Z_]+ is not set$/m);
    expect(stderr).to.include('connections.shop in etl.config.ts takes its value from SHOP_URL');
  });

  describe('etl connections list', () => {
    it('shows where each connection is defined, and no password', async () => {
      const files = { 'etl.config.ts': CONFIG, '.env': 'ETL_CONN_FILED=postgres://u:secret-word@h/filed' };
      await using other = await createProject(files);
      const env = {
        SHOP_URL: REFUSED,
        ETL_CONN_OURS: 'postgres://u:secret-word@h/ours',
        AIRFLOW_CONN_FLOW: '{"conn_type": "postgres", "host": "h", "login": "u", "password": "secret-word"}',
        DATABASE_URL: 'postgres://u:secret-word@h/default',
      };
      const args = ['connections', 'list', '--conn', 'flag=postgres://u:secret-word@h/flag'];
      const { code, stdout, stderr } = await other.cli(args, env);
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
      expect(stdout).to.equal(
        [
          'ID       TYPE      PLACE                               SOURCE',
          'default  postgres  postgres://u:***@h/default          DATABASE_URL',
          'filed    postgres  postgres://u:***@h/filed            ETL_CONN_FILED in .env',
          'flag     postgres  postgres://u:***@h/flag             --conn',
          'flow     postgres  postgres://u:***@h                  AIRFLOW_CONN_FLOW',
          'ours     postgres  postgres://u:***@h/ours             ETL_CONN_OURS',
          'shop     postgres  postgres://me:***@127.0.0.1:1/shop  connections.shop in etl.config.ts',
          '',
        ].join('\n'),
      );
      const json = await other.cli([...args, '--json'], env);
      expect(json.stdout).to.not.include('secret-word');
      expect(JSON.parse(json.stdout)[0]).to.deep.equal({
        id: 'default',
        scheme: 'postgres',
        place: 'postgres://u:***@h/default',
        source: 'DATABASE_URL',
      });
    });

    it('shows only IDs that begin with the prefix, in upper or lower case', async () => {
      const env = { ETL_CONN_MY_A: 'postgres://h/a', ETL_CONN_MYXB: 'postgres://h/b' };
      const { stdout } = await etl('connections list MY_ --json', env);
      expect(JSON.parse(stdout).map(({ id }: { id: string }) => id)).to.deep.equal(['my_a']);
    });

    it('says that no ID begins with the prefix', async () => {
      const { code, stdout, stderr } = await etl('connections list nope');
      expect({ code, stdout, stderr }).to.deep.equal({
        code: 0,
        stdout: '',
        stderr: 'no connection begins with "nope"\n',
      });
      expect((await etl('connections list nope --json')).stdout).to.equal('[]\n');
    });

    it('lists a malformed connection with the reason, and exits 2', async () => {
      const { code, stdout, stderr } = await etl('connections list --conn bad=secret-word');
      expect(code).to.equal(2);
      expect(stdout).to.match(/^bad {3}- {9}- .* --conn$/m);
      expect(stderr).to.equal(
        `connection "bad" can't be used: --conn, column 1: the value does not start with scheme://\n`,
      );
      const json = JSON.parse((await etl('connections list bad --json --conn bad=secret-word')).stdout);
      expect(json).to.deep.equal([
        { id: 'bad', source: '--conn', error: '--conn, column 1: the value does not start with scheme://' },
      ]);
    });
  });

  describe('etl connections test', () => {
    it('opens one connection by its ID in upper or lower case', async () => {
      const { code, stdout, stderr } = await etl('connections test SHOP');
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
      expect(stdout).to.match(/^✔ {2}shop {2}\S+ {2}PostgreSQL [\d.]+.* ms\n$/);
      expect(stdout).to.include(masked());
    });

    it('opens all connections, and exits 69 if a server does not answer', async () => {
      const { code, stdout, stderr } = await etl('connections test', { ETL_CONN_DEAD: REFUSED });
      expect(code).to.equal(69);
      expect(stdout).to.match(/^✖ {2}dead .* ETL-1001\n✔ {2}shop /);
      expect(stderr).to.include('ETL-1001 connection "dead" could not connect');
      const json = await etl('connections test --json', { ETL_CONN_DEAD: REFUSED });
      expect(json.code).to.equal(69);
      expect(JSON.parse(json.stdout).map(({ id, ok }: Tried) => [id, ok])).to.deep.equal([
        ['dead', false],
        ['shop', true],
      ]);
      expect(stdout + stderr + json.stdout + json.stderr).to.not.include('secret-word');
    });

    it('exits 2 and not 69 if one connection is malformed and the server of another does not answer', async () => {
      const { code, stdout } = await etl('connections test --conn bad=bad', { ETL_CONN_DEAD: REFUSED });
      expect(code).to.equal(2);
      expect(stdout).to.match(/^✖ {2}bad {3}- .* ETL-2201\n✖ {2}dead .* ETL-1001\n✔ {2}shop /);
    });

    it('exits 2 for a connection that is not defined, and suggests the nearest ID', async () => {
      const { code, stdout, stderr } = await etl('connections test shopp --json');
      expect(code).to.equal(2);
      expect(stderr).to.match(/^ETL-2202 connection "shopp" is not defined; did you mean "shop"\?/);
      expect(JSON.parse(stdout).error).to.have.property('code', 'ETL-2202');
    });
  });

  describe('the help', () => {
    const calls = [
      '',
      'help',
      '--help',
      'help run',
      'run --help',
      'help connections',
      'connections',
      'help connections list',
    ];
    for (const call of calls) {
      it(`is shown by "etl ${call}", on stdout`, async () => {
        const { code, stdout, stderr } = await etl(call);
        expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
        expect(stdout).to.match(/^USAGE$/m);
        expect(stdout).to.not.match(/undefined|\[object|<%/);
      });
    }

    it('names every command and the arguments of a command', async () => {
      const pages = await Promise.all(
        ['help', 'help connections', 'help ledger', 'help state'].map((call) => etl(call)),
      );
      const stdout = pages.map((page) => page.stdout).join('');
      for (const id of Object.keys(COMMANDS)) {
        expect(stdout).to.match(new RegExp(`^ {2}${id.replace(':', ' ')} {2}`, 'm'));
      }
      expect((await etl('help run')).stdout).to.match(/\$ etl run \[DAG\] /);
    });
  });

  describe('a wrong call', () => {
    const calls: readonly [args: string, first: RegExp, fix: RegExp][] = [
      ['lst', /^ETL-2003 there is no command "lst"; did you mean "list"\?/, /the commands are check, /],
      ['connection list', /^ETL-2003 .*; did you mean "connections list"\?/, /the commands are check, /],
      ['connections lst', /^ETL-2003 .*; did you mean "connections list"\?/, /the commands are check, /],
      ['help lst', /^ETL-2003 there is no command "lst"; did you mean "list"\?/, /the commands are check, /],
      ['list extra', /^ETL-2001 unexpected argument: extra/, /see etl list --help/],
      ['connections list a b', /^ETL-2001 unexpected argument: b/, /see etl connections list --help/],
      ['list --nope', /^ETL-2001 nonexistent flag: --nope/, /see etl list --help/],
      [
        'run',
        /^ETL-2001 the command line does not name the Dag to run\n {2}why {3}the Dags of \S+ are monthly, single/,
        /etl run /,
      ],
      [
        'run x -c x',
        /^ETL-2001 parsing --concurrency\n {2}why {3}expected an integer but received: x/,
        /see etl run/,
      ],
      ['--config=x list', /^ETL-2001 the flag --config stands before the command/, /etl <command> --config/],
      [
        'check --conn x',
        /^ETL-2001 --conn number 1 is not of the form id=url/,
        /write for example --conn shop=/,
      ],
    ];
    for (const [args, first, fix] of calls) {
      it(`exits 2 and says how to call the command: etl ${args}`, async () => {
        const { code, stdout, stderr } = await etl(args);
        expect({ code, stdout }, stderr).to.deep.equal({ code: 2, stdout: '' });
        expect(stderr).to.match(first);
        expect(/^ {2}do {4}(.*)$/m.exec(stderr)?.[1], stderr).to.match(fix);
        expect(stderr).to.not.match(/Note:|Alternatively|^ {4}at /m);
        const json = await etl(`${args} --json`);
        expect(json.code).to.equal(2);
        expect(JSON.parse(json.stdout).error.code).to.equal(stderr.slice(0, 8));
      });
    }

    const SECRET = 'postgres://u:secret-word@h/d';
    for (const args of [
      '',
      '--conn=a=',
      'list ',
      'help ',
      'run x ',
      'connections test ',
      'connections list a ',
    ]) {
      it(`shows no password of a URL in the wrong position: etl ${args}postgres://…`, async () => {
        const { code, stdout, stderr } = await etl(`${args}${SECRET} --json`);
        expect(code).to.equal(2);
        expect(stdout + stderr).to.match(/ETL-2\d{3}/);
        expect(stdout + stderr).to.not.include('secret-word');
      });
    }

    it('is not suggested by a message: each command that a message names exists', async () => {
      const files = (await readdir(join(ROOT, 'src'), { recursive: true })).filter((name) =>
        name.endsWith('.ts'),
      );
      const known = Object.keys(COMMANDS).flatMap((id) => id.split(':').slice(0, 1));
      for (const file of files) {
        const text = await readFile(join(ROOT, 'src', file), 'utf8');
        for (const [, command] of text.matchAll(/`etl ([a-z]+)/g)) expect(known, file).to.include(command);
      }
    });
  });

  describe('the output', () => {
    /** The output for so many tasks is larger than the buffer of a pipe. */
    const MANY = 4_000;
    let large: Project;

    before(async () => {
      const tasks = `for (let i = 0; i < ${MANY}; i++) d.task('task-' + i, {}, async () => null);`;
      large = await createProject({
        'etl.config.ts': `import { dag, defineConfig } from '@oneshot/etl';
          export default defineConfig({ dags: [dag('large', {}, (d) => { ${tasks} })] });`,
      });
    });
    after(() => large[Symbol.asyncDispose]());

    async function shell(script: string): Promise<CliResult> {
      const etlCommand = `"${process.execPath}" "${BIN}"`;
      const child = execFile('/bin/sh', ['-c', script.replaceAll('etl ', `${etlCommand} `)], {
        cwd: large.directory,
        env: { PATH: process.env['PATH'], HOME: large.directory },
        timeout: 100_000,
        maxBuffer: 2 ** 24,
      });
      let [stdout, stderr] = ['', ''];
      child.stdout?.on('data', (text: string) => (stdout += text));
      child.stderr?.on('data', (text: string) => (stderr += text));
      const [code] = await once(child, 'close');
      return { code, stdout, stderr };
    }

    it('goes through a pipe completely if it is larger than the pipe', async () => {
      const { code, stdout } = await shell('etl list --json | cat');
      expect(code).to.equal(0);
      expect(stdout.length).to.be.above(300_000);
      expect(JSON.parse(stdout)[0].tasks).to.have.lengthOf(MANY);
    });

    const cut: readonly [call: string, reader: string][] = [
      ['etl list', 'head -1'],
      ['etl list --json', 'head -1'],
      ['etl list', 'true'],
      ['etl help run', 'true'],
      ['etl connections list --conn a=postgres://h', 'true'],
    ];
    for (const [call, reader] of cut) {
      it(`is no failure if the reader closes the pipe early: ${call} | ${reader}`, async () => {
        const { code, stdout, stderr } = await shell(`{ ${call}; echo "exit code $?" >&2; } | ${reader}`);
        expect({ code, stderr }).to.deep.equal({ code: 0, stderr: 'exit code 0\n' });
        expect(stdout).to.match(reader === 'true' ? /^$/ : /^.+\n$/);
      });
    }

    if (existsSync('/dev/full'))
      it('reports on stderr that a full disk lost the rest', async () => {
        for (const call of ['etl list', 'etl list --json', 'etl connections list --conn a=postgres://h']) {
          const { stderr } = await shell(`${call} > /dev/full`);
          expect(stderr).to.match(
            /^etl: stdout can't be written \(ENOSPC: .*\); the rest of the output is lost\n$/,
          );
        }
      });
  });
});

/** A connection in the JSON of `etl connections test`. */
interface Tried {
  readonly id: string;
  readonly ok: boolean;
}
