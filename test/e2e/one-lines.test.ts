import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { chmod, open, readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BIN, createProject, ROOT, type CliResult, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

describe('commands without a config', () => {
  let db: TestDatabase;
  let project: Project;
  before(async () => (db = await createDatabase()));
  after(() => db.drop());
  beforeEach(async () => {
    await db.query('drop schema if exists etl cascade; drop schema public cascade; create schema public');
    project = await createProject({
      'orders.csv': 'id,total\n1,50\n2,150\n',
      'bin/etl': `#!/bin/sh\nexec '${process.execPath}' '${BIN}' "$@"\n`,
    });
    await chmod(join(project.directory, 'bin/etl'), 0o755);
  });
  afterEach(() => project[Symbol.asyncDispose]());

  const shop = (): string => `shop=${db.url}`;
  const password = (): string => new URL(db.url).password;

  /** Types a line into a shell, in the folder of the project. */
  function type(line: string, env: Readonly<Record<string, string>> = {}): Promise<CliResult> {
    const PATH = `${join(project.directory, 'bin')}:${process.env['PATH']}`;
    const all = { HOME: project.directory, XDG_CACHE_HOME: join(ROOT, '.etl/test-cache'), ...env, PATH };
    return new Promise((resolve) => {
      execFile('/bin/sh', ['-c', line], { cwd: project.directory, env: all }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
      );
    });
  }

  /** Types a line that must exit 0. Returns its stderr. */
  async function succeed(line: string): Promise<string> {
    const { code, stderr } = await type(line, { ETL_CONN_SHOP: db.url });
    expect(code, stderr).to.equal(0);
    return stderr;
  }

  it('load a file by merge, and record the run as one of load.<table>', async () => {
    const words = ['load', 'orders.csv', '--into', 'orders', '--mode', 'merge', '--key', 'id', '--create'];
    const first = await project.cli([...words, '--conn', shop(), '--json']);
    expect(first.code, first.stderr).to.equal(0);
    expect(JSON.parse(first.stdout)).to.include({ dag: 'load.orders', state: 'success' });
    await project.write({ 'orders.csv': 'id,total\n2,151\n3,7\n' });
    const second = await project.cli([...words, '--conn', shop(), '--json']);
    expect(JSON.parse(second.stdout).tasks[0]).to.include({ task: 'load', rows: 2 });
    expect(await db.query('select id::int, total::int from orders order by id')).to.deep.equal([
      { id: 1, total: 50 },
      { id: 2, total: 151 },
      { id: 3, total: 7 },
    ]);
    expect(await db.query('select dag_id, state from etl.run')).to.deep.equal([
      { dag_id: 'load.orders', state: 'success' },
      { dag_id: 'load.orders', state: 'success' },
    ]);
    expect(await readdir(project.directory)).to.have.members(['bin', 'orders.csv', 'package.json']);
  });

  it('load several files, a glob and stdin with the same options as d.load', async () => {
    await db.query('create table t (id int, v text)');
    await project.write({
      'in/a.txt': 'skipped\nid;v\n1;NULL\n',
      'in/b.txt': "skipped\nid;v\n2;'x;y'\n",
      'c.tsv': 'id\tv\n3\tz\n',
    });
    const csv = `--delimiter ';' --quote "'" --null NULL --skip-lines 1`;
    await succeed(`etl load in/a.txt in/b.txt --into t --mode append ${csv} --conn shop`);
    await succeed(`etl load 'in/*.txt' --into t --mode replace ${csv} --conn shop`);
    await succeed(String.raw`etl load - --into t --mode append --delimiter '\t' --conn shop < c.tsv`);
    await succeed(`echo 4,four | etl load - --into t --mode append --no-header --columns id,v --conn shop`);
    await succeed(
      `echo '{"id": 5, "new": 1}' | etl load - --into t --mode append --format ndjson --schema evolve --conn shop`,
    );
    expect(await db.query('select id, v, new::int from t order by id')).to.deep.equal([
      { id: 1, v: null, new: null },
      { id: 2, v: 'x;y', new: null },
      { id: 3, v: 'z', new: null },
      { id: 4, v: 'four', new: null },
      { id: 5, v: null, new: 1 },
    ]);
  });

  it('put aside the rows that do not fit, in a table or a file', async () => {
    await db.query('create table t (id int)');
    await project.write({ 'in.csv': 'id\n1\nx\n' });
    const load = 'etl load in.csv --into t --mode append --conn shop --max-rejects 1';
    await succeed(`${load} --rejects bad`);
    await succeed(`${load} --rejects bad.ndjson`);
    expect(await db.query('select file, line::int, raw from bad')).to.deep.equal([
      { file: 'in.csv', line: 3, raw: 'x' },
    ]);
    expect(await readFile(join(project.directory, 'bad.ndjson'), 'utf8')).to.include('"raw":"x"');
  });

  it('unload a table and a query to files', async () => {
    await db.query(`create table t (id int, v text); insert into t values (1, 'a'), (2, null)`);
    await succeed(`etl unload --table t --to out/t.csv --conn shop --null NULL --delimiter '|'`);
    await succeed(`etl unload --query 'select id from t where id > 1' --to q.ndjson --conn shop`);
    await succeed(`etl unload --table t --to many.csv --partition-rows 1 --conn shop`);
    const read = (name: string) => readFile(join(project.directory, name), 'utf8');
    expect(await read('out/t.csv')).to.equal('id|v\n1|a\n2|NULL\n');
    expect(JSON.parse(await read('q.ndjson'))).to.deep.equal({ id: 2 });
    expect((await readdir(project.directory)).filter((name) => name.startsWith('many'))).to.have.lengthOf(2);
    const runs = await db.query<{ dag_id: string }>('select dag_id from etl.run order by started_at');
    const [first, ...others] = runs.map(({ dag_id: id }) => id);
    // A path with directories is no ID of a Dag, so a part of its hash tells it apart.
    expect(first).to.match(/^unload\.out-t\.csv-[0-9a-f]{8}$/);
    expect(others).to.deep.equal(['unload.q.ndjson', 'unload.many.csv']);
  });

  it('copy rows of another database', async () => {
    await using crm = await createDatabase();
    await crm.query(
      `create table contact (id int primary key, name text); insert into contact values (1, 'a')`,
    );
    await db.query('create table contact (id int primary key, name text)');
    const from = `--from 'crm=${crm.url}'`;
    await succeed(`etl transfer ${from} --table contact --mode replace --conn shop`);
    await crm.query(`update contact set name = 'b'`);
    await succeed(
      `etl transfer ${from} --query 'select * from contact' --into contact --mode merge --key id --conn shop`,
    );
    expect(await db.query('select * from contact')).to.deep.equal([{ id: 1, name: 'b' }]);
    expect(await db.query('select distinct dag_id from etl.run')).to.deep.equal([
      { dag_id: 'transfer.contact' },
    ]);
  });

  it('run a statement and a file in one transaction each', async () => {
    await project.write({ 'f.sql': 'insert into t values (:run_id); insert into t values (1 / 0);' });
    await succeed(`etl sql 'create table t (v text)' --conn shop`);
    const { code, stderr } = await type(`etl sql --file f.sql --conn shop`, { ETL_CONN_SHOP: db.url });
    expect(code).to.equal(1);
    expect(stderr).to.include('f.sql:1:').and.include('task of the command line (etl sql)');
    expect(await db.query('select from t')).to.deep.equal([]);
    expect(await db.query('select dag_id from etl.run order by started_at desc limit 1')).to.deep.equal([
      { dag_id: 'sql.f.sql' },
    ]);
  });

  it('print a resume line that works as it is typed, and shows no password and no values', async () => {
    await db.query('create table orders (id int, total int check (total < 100))');
    const failed = await project.cli([
      'load',
      'orders.csv',
      '--into',
      'orders',
      '--mode',
      'append',
      '--conn',
      shop(),
    ]);
    expect(failed.code).to.equal(1);
    expect(failed.stderr).to.include('where task of the command line (etl load)');
    const [, line = ''] = /^resume[^:]*: (.*)$/m.exec(failed.stderr) ?? [];
    expect(line).to.match(/^etl load orders\.csv --into orders --mode append --resume --run-id \S+ --conn /);
    expect(line).to.not.include(password());
    await project.write({ 'orders.csv': 'id,total\n1,50\n' });
    const { code, stderr } = await type(line.replaceAll('<secret>', password()));
    expect(code, stderr).to.equal(0);
    expect(await db.query('select * from orders')).to.deep.equal([{ id: 1, total: 50 }]);
    const sql = await project.cli(['sql', `select 1/0, 'zebra'`, '--conn', shop()]);
    expect(sql.stderr)
      .to.match(/^resume[^:]*: etl sql '<sql>' --resume/m)
      .and.not.include('zebra');
    const shown = await project.cli(['sql', `select 1/0, 'zebra'`, '--conn', shop(), '--show-data']);
    expect(shown.stderr).to.match(/^resume[^:]*: etl sql 'select 1\/0, '\\''zebra'\\''' --resume/m);
  });

  it('exit 75 while another run of the same table is running, and load each row once after a kill -9', async () => {
    await db.query('create table orders (id int, total int)');
    const path = join(project.directory, 'pipe.csv');
    await promisify(execFile)('mkfifo', [path]);
    const words = ['load', 'pipe.csv', '--into', 'orders', '--mode', 'append', '--conn', shop()];
    const { child, ended } = project.start([...words, '--run-id', 'killed']);
    // The open returns when the load, which has the lock, opens the other end of the pipe.
    const pipe = await open(path, 'w');
    const other = ['load', 'orders.csv', '--into', 'orders', '--mode', 'append', '--conn', shop()];
    const refused = await project.cli(other);
    expect(refused.code, refused.stderr).to.equal(75);
    expect(refused.stderr).to.include('ETL-7501 "load.orders" is already running: run killed');
    expect((await project.cli([...other, '--overlap', 'skip'])).code).to.equal(0);
    child.kill('SIGKILL');
    await ended;
    await pipe.close();
    await rm(path);
    await db.leftSessions();
    const runs = await project.cli(['runs', '--conn', shop(), '--json']);
    expect(JSON.parse(runs.stdout)[0], runs.stderr).to.include({ run_id: 'killed', state: 'crashed' });

    await project.write({ 'pipe.csv': 'id,total\n1,50\n' });
    for (let i = 0; i < 2; i++) {
      const { code, stderr } = await project.cli([...words, '--resume', '--run-id', 'killed']);
      expect(code, stderr).to.equal(0);
    }
    expect(await db.query('select * from orders')).to.deep.equal([{ id: 1, total: 50 }]);
  });

  it('load stdin only once in a run that a scheduler repeats with --or-resume', async () => {
    await db.query('create table orders (id int, total int)');
    const line =
      'etl load - --into orders --mode append --conn shop --run-id 2026-11-28 --or-resume < orders.csv';
    for (let i = 0; i < 2; i++) await succeed(line);
    expect(await db.query('select count(*)::int from orders')).to.deep.equal([{ count: 2 }]);
  });

  it('say that stdin is used up, and what the first attempt has failed with, if a retry needs it again', async () => {
    await db.query('create table orders (id int, total int check (total < 100))');
    await project.write({
      'etl.config.ts': `import { defineConfig } from '@oneshot/etl';
        export default defineConfig({ defaults: { retryOn: ['23514'], backoff: { initial: 1 } } });`,
    });
    const line = 'etl load - --into orders --mode append --conn shop --retries 1 < orders.csv';
    const { code, stderr } = await type(line, { ETL_CONN_SHOP: db.url });
    expect(code).to.equal(1);
    expect(stderr).to.include('orders_total_check').and.include("ETL-3553 stdin can't be read a second time");
    expect(await db.query('select from orders')).to.deep.equal([]);
  });

  it('say where a relative path starts if a file is missing', async () => {
    await project.write({ 'etl.config.ts': 'export default {};', 'sub/file': '' });
    const { code, stderr } = await type('cd sub && etl load ../sub/none.csv --into t --mode append', {
      DATABASE_URL: db.url,
    });
    expect(code).to.equal(1);
    expect(stderr).to.include("the directory of the Dag's config file, else at the working directory");
  });

  it('are the way to resume their runs, and etl run says so', async () => {
    await project.write({ 'etl.config.ts': 'export default {};' });
    const { code, stderr } = await project.cli(['run', 'load.orders', '--resume']);
    expect(code, stderr).to.equal(2);
    expect(stderr).to.include('ETL-2002').and.include('repeat the command `etl load …` with --resume');
  });

  it('list and show past runs in the ledger of --conn, without a config', async () => {
    await succeed(`etl sql 'select 1' --conn shop --run-id first`);
    const { stdout } = await type('etl runs --conn shop', { ETL_CONN_SHOP: db.url });
    expect(stdout).to.match(/✔ first {2}sql\.[0-9a-f]{12} {2}success/);
    const shown = await project.cli(['show', 'first', '--conn', shop(), '--json']);
    expect(JSON.parse(shown.stdout).tasks[0], shown.stderr).to.include({ task: 'sql' });
    const without = await project.cli(['runs']);
    expect(without.code).to.equal(2);
    expect(without.stderr).to.include('ETL-2101');
  });

  it('use the connections, the ledger and the defaults of a config, if there is one', async () => {
    await project.write({
      'etl.config.ts': `import { defineConfig } from '@oneshot/etl';
        export default defineConfig({ connections: { mine: process.env['MINE'] }, defaults: { conn: 'mine' },
          ledger: { schema: 'bookkeeping' } });`,
      '.env': `MINE=${db.url}`,
      'sub/orders.csv': 'id,total\n9,9\n',
    });
    await chmod(join(project.directory, '.env'), 0o600);
    await succeed('cd sub && etl load orders.csv --into orders --mode append --create');
    expect(await db.query('select id::int from orders')).to.deep.equal([{ id: 9 }]);
    expect(await db.query('select dag_id from bookkeeping.run')).to.deep.equal([{ dag_id: 'load.orders' }]);
    await db.query('drop schema bookkeeping cascade');
  });

  for (const { title, words, says } of [
    { title: 'no input', words: ['load', '--into', 't', '--mode', 'append'], says: 'missing 1 required arg' },
    { title: 'no --into', words: ['load', 'a.csv', '--mode', 'append'], says: 'missing required flag into' },
    { title: 'an unknown mode', words: ['load', 'a.csv', '--into', 't', '--mode', 'upsert'], says: '--mode' },
    {
      title: 'a merge without a key',
      words: ['load', 'a.csv', '--into', 't', '--mode', 'merge'],
      says: '--mode merge needs --key',
    },
    {
      title: 'a key without a merge',
      words: ['load', 'a.csv', '--into', 't', '--mode', 'append', '--key', 'id'],
      says: 'need --mode merge',
    },
    {
      title: 'a name that is no table',
      words: ['load', 'a.csv', '--into', 'a b', '--mode', 'append'],
      says: '--into: expected a table',
    },
    {
      title: 'stdin beside a file',
      words: ['load', '-', 'a.csv', '--into', 't', '--mode', 'append'],
      says: "stdin (-) can't be loaded together",
    },
    {
      title: 'a wrong CSV option',
      words: ['load', 'a.csv', '--into', 't', '--mode', 'append', '--delimiter', 'ab'],
      says: '`csv.delimiter` must be one ASCII character',
    },
    {
      title: '--rejects without --max-rejects',
      words: ['load', 'a.csv', '--into', 't', '--mode', 'append', '--rejects', 'b'],
      says: '--max-rejects',
    },
    {
      title: 'no rows to unload',
      words: ['unload', '--to', 'a.csv'],
      says: 'does not say which rows to unload',
    },
    {
      title: 'a table and a query',
      words: ['unload', '--to', 'a.csv', '--table', 't', '--query', 'select 1'],
      says: '--query',
    },
    {
      title: 'an unknown format',
      words: ['unload', '--to', 'a.xlsx', '--table', 't'],
      says: 'the command line (etl unload)',
    },
    {
      title: 'stdout as the file',
      words: ['unload', '--to', '-', '--table', 't'],
      says: "--to can't be stdout",
    },
    {
      title: 'a query without a table to write',
      words: ['transfer', '--from', 'crm', '--query', 'select 1', '--mode', 'append'],
      says: '--query needs --into',
    },
    { title: 'no statement', words: ['sql'], says: 'either a statement or --file' },
    {
      title: 'a statement and a file',
      words: ['sql', 'select 1', '--file', 'f.sql'],
      says: 'either a statement or --file',
    },
    {
      title: 'a connection that is not defined',
      words: ['sql', 'select 1', '--conn', 'nowhere'],
      says: 'connection "nowhere" is not defined',
    },
    {
      title: 'a URL without an ID',
      words: ['sql', 'select 1', '--conn', 'postgres://me:hidden@db/shop?a=b'],
      says: 'not of the form id or id=url',
    },
    { title: 'a flag of etl run', words: ['sql', 'select 1', '--param', 'a=b'], says: '--param' },
    {
      title: 'a wrong run ID',
      words: ['sql', 'select 1', '--run-id', '/', '--conn', 'x=pglite::memory:'],
      says: 'see etl sql --help',
    },
  ]) {
    it(`exit 2 for ${title}`, async () => {
      const { code, stderr } = await project.cli(words);
      expect(code, stderr).to.equal(2);
      expect(stderr.toLowerCase()).to.include(says.toLowerCase()).and.not.include('hidden');
    });
  }
});
