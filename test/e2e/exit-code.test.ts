import { expect } from 'chai';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BIN, createProject, type CliResult, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

/** Returns a config whose Dag "d" has these tasks. */
const config = (tasks: string): string => `
  import { dag, defineConfig } from '@oneshot/etl';
  export default defineConfig({ dags: [dag('d', { defaults: { conn: 'db' } }, (d) => { ${tasks} })] });`;

describe('the exit code and the streams of etl', () => {
  let db: TestDatabase;
  let project: Project;
  before(async () => {
    db = await createDatabase();
    project = await createProject({});
    await db.query('create table t (v text)');
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await db.drop();
  });

  const env = () => ({ ETL_CONN_DB: db.url });
  async function run(tasks: string, args: readonly string[] = []): Promise<CliResult> {
    await project.write({ 'etl.config.ts': config(tasks) });
    return project.cli(['run', 'd', ...args], env());
  }
  const good = `d.sql('a', { sql: "insert into t values ('a')" });`;
  const bad = `d.session('b', {}, async () => { throw new Error('bad row 17'); });`;

  const tricks: readonly [title: string, code: string][] = [
    ['an exit listener that sets exitCode', `process.on('exit', () => { process.exitCode = 0; });`],
    ['an exit listener that calls process.exit', `process.on('exit', () => process.exit(0));`],
    ['an exit listener that calls process.reallyExit', `process.on('exit', () => process.reallyExit(0));`],
    ['an exit listener that throws', `process.on('exit', () => { throw new Error('x'); });`],
    ['a listener that comes first', `process.prependListener('exit', () => process.reallyExit(0));`],
    ['exitCode', `process.exitCode = 0; setInterval(() => { process.exitCode = 0; }, 1);`],
    ['process.exit whose error it ignores', `try { process.exit(0); } catch {}`],
    ['process.reallyExit', `process.reallyExit(0);`],
    [
      'removed listeners',
      `process.removeAllListeners(); process.on('exit', () => { process.exitCode = 0; });`,
    ],
    ['an uncaughtException listener', `process.on('uncaughtException', () => process.exit(0));`],
    ['a beforeExit listener', `process.on('beforeExit', () => process.exit(0));`],
    ['closed streams', `process.stdout.end(); process.stderr.destroy();`],
  ];
  for (const [title, code] of tricks) {
    it(`never exits with 0 if a task fails, also with ${title}`, async () => {
      const result = await run(`d.session('b', {}, async () => { ${code} throw new Error('bad row 17'); });`);
      expect(result.code, result.stderr).to.be.oneOf([1, 70]);
      const inConfig = await run(
        `${code} d.session('b', {}, async () => { throw new Error('bad row 17'); });`,
      );
      expect(inConfig.code, inConfig.stderr).to.be.oneOf([1, 2, 70]);
    });
  }

  it('never exits with 0 if nothing can continue a task', async () => {
    await project.write({
      'etl.config.ts': `import { dag, defineConfig } from '@oneshot/etl';
        export default defineConfig({ dags: [dag('d', {}, (d) => {
          d.task('a', {}, () => new Promise(() => undefined));
        })] });`,
    });
    expect((await project.cli(['run', 'd'])).code).to.equal(70);
  });

  it('shows what a task prints as log lines of the task, and keeps stdout for data', async () => {
    const tasks = `console.log('from the config'); d.session('a', {}, async () => {
      console.log('first %s', 1); process.stdout.write('half '); process.stdout.write(Buffer.from('line\\n')); });`;
    const json = await run(tasks, ['--json']);
    expect(JSON.parse(json.stdout)).to.include({ event: 'run_finished', state: 'success' });
    expect(json.stderr).to.include('from the config\n');
    expect(json.stderr).to.include(' · a: first 1\n · a: half line\n');
    const ndjson = await run(tasks, ['--reporter', 'ndjson']);
    const events = ndjson.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events.filter(({ event }) => event === 'task_log').map(({ message }) => message)).to.deep.equal([
      'first 1',
      'half line',
    ]);
    expect(await run(tasks, ['--quiet'])).to.deep.equal({ code: 0, stdout: '', stderr: '' });
    const failed = await run(tasks + bad, ['--quiet']);
    expect(failed.stderr).to.include('from the config\n').and.to.include(' · a: first 1\n');
    const list = await project.cli(['list', '--json'], env());
    expect(JSON.parse(list.stdout)).to.have.lengthOf(1);
    expect(list.stderr).to.include('from the config\n');
  });

  it('exits 74 if a command can not write its data, and not if a run can not', async () => {
    await project.write({ 'etl.config.ts': config(good) });
    const full = openSync('/dev/full', 'w');
    const exits = async (args: readonly string[]): Promise<number | null> => {
      const child = spawn(process.execPath, [BIN, ...args], {
        cwd: project.directory,
        env: { PATH: process.env['PATH'], HOME: project.directory, ...env() },
        stdio: ['ignore', full, 'ignore'],
      });
      return (await once(child, 'close'))[0] as number | null;
    };
    try {
      await project.cli(['run', 'd'], env());
      for (const args of [
        'list',
        'list --json',
        'runs',
        'runs --json',
        'connections list',
        'ledger sql',
        '--help',
        '--version',
      ])
        expect(await exits(args.split(' ')), args).to.equal(74);
      expect(await exits(['run', 'd', '--json'])).to.equal(0);
      expect(await exits(['show', 'nothing', '--json'])).to.equal(2);
    } finally {
      closeSync(full);
    }
  });

  const pipes: readonly [title: string, options: string][] = [
    ['as it is', ''],
    ['through a transform', 'transform: (row) => row,'],
    ['with compression', `compression: 'gzip',`],
    ['with rejects', `rejects: { max: 1, to: 'bad' },`],
  ];
  for (const [title, options] of pipes) {
    it(`ends the process after a load from a named pipe that nobody writes to, ${title}`, async () => {
      await rm(join(project.directory, 'pipe.csv'), { force: true });
      execFileSync('mkfifo', [join(project.directory, 'pipe.csv')]);
      const result = await run(
        `d.load('l', { from: 'pipe.csv', into: 't', mode: 'append', timeout: '1s', ${options} });`,
      );
      expect(result.code, result.stderr).to.equal(1);
      expect(result.stderr).to.include('ETL-3301');
    });
  }

  it('loads all rows of a named pipe whose writer comes late', async () => {
    const path = join(project.directory, 'late.csv');
    execFileSync('mkfifo', [path]);
    await project.write({
      'etl.config.ts': config(`d.load('l', { from: 'late.csv', into: 't', mode: 'replace' });`),
    });
    const { ended } = project.start(['run', 'd'], env());
    // The writer opens the pipe when the load has opened it.
    const lines = Array.from({ length: 50_000 }, (_, n) => `row ${n}`);
    await writeFile(path, `v\n${lines.join('\n')}\n`);
    const result = await ended;
    expect(result.code, result.stderr).to.equal(0);
    expect(await db.query('select count(distinct v)::int as n from t')).to.deep.equal([{ n: 50_000 }]);
  });
});
