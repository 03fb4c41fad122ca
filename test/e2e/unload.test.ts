import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, stat, watch, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import { BIN, createProject, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

const ROWS = 200_000;

/** The server sends row 150,000 only after the test has released the lock. */
const CONFIG = `
  import { dag, defineConfig } from '@oneshot/etl';
  const query = 'select n, case when n = 150000 then pg_advisory_xact_lock_shared(1)::text end as gate from generate_series(1, ${ROWS}) n';
  export default defineConfig({ dags: [
    dag('d', { defaults: { conn: 'db' } }, (d) => { d.unload('u', { query, to: 'out/o.csv' }); }),
  ] });`;

describe('etl run of an unload', () => {
  let db: TestDatabase;
  let project: Project;
  let out: string;
  let holder: Client;
  beforeEach(async () => {
    db = await createDatabase();
    project = await createProject({ 'etl.config.ts': CONFIG });
    out = join(project.directory, 'out');
    await mkdir(out);
    await writeFile(join(out, 'o.csv'), 'of before');
    holder = new Client(db.url);
    await holder.connect();
  });
  afterEach(async () => {
    await holder.end();
    await project[Symbol.asyncDispose]();
    await db.drop();
  });

  const env = () => ({ ETL_CONN_DB: db.url });
  const listTemporary = async () => (await readdir(out)).filter((name) => name.startsWith('.etl-'));
  const expected = `n,gate\n${Array.from({ length: ROWS }, (_, i) => `${i + 1},${i === 149_999 ? '""' : ''}\n`).join('')}`;

  /** Waits until `matches` returns true for the name of an entry in the directory. */
  async function waitForEntry(matches: (name: string) => Promise<boolean>): Promise<void> {
    const watcher = watch(out);
    for (const name of await readdir(out)) if (await matches(name)) return;
    for await (const { filename } of watcher) if (filename !== null && (await matches(filename))) return;
  }
  const waitForRows = () =>
    waitForEntry(async (name) => name.startsWith('.etl-') && (await stat(join(out, name))).size > 100_000);

  it('writes the complete file and removes temporary files after a kill -9 and a resume', async () => {
    await holder.query('select pg_advisory_lock(1)');
    const { child, ended } = project.start(['run', 'd', '--run-id', 'r'], env());
    await waitForRows();
    child.kill('SIGKILL');
    await ended;
    expect(await readFile(join(out, 'o.csv'), 'utf8')).to.equal('of before');
    expect(await listTemporary()).to.have.lengthOf(1);
    await holder.query('select pg_advisory_unlock(1)');
    const { code, stderr } = await project.cli(['run', 'd', '--resume', '--run-id', 'r'], env());
    expect(code, stderr).to.equal(0);
    expect(await readdir(out)).to.deep.equal(['o.csv']);
    expect((await readFile(join(out, 'o.csv'), 'utf8')) === expected).to.equal(true);
  });

  it('replaces the file if the process dies after the file and before the COMMIT', async () => {
    await holder.query('select pg_advisory_lock(1)');
    const { child, ended } = project.start(['run', 'd', '--run-id', 'r'], env());
    await waitForRows();
    // The commit of the task waits for this lock.
    await holder.query('begin; select from etl.lock for update');
    await holder.query('select pg_advisory_unlock(1)');
    await waitForEntry(async (name) => name === 'o.csv' && (await stat(join(out, name))).size > 100_000);
    child.kill('SIGKILL');
    await ended;
    expect((await readFile(join(out, 'o.csv'), 'utf8')) === expected).to.equal(true);
    await holder.query('rollback');
    const { code, stderr } = await project.cli(['run', 'd', '--resume', '--run-id', 'r'], env());
    expect(code, stderr).to.equal(0);
    expect((await readFile(join(out, 'o.csv'), 'utf8')) === expected).to.equal(true);
    expect(await db.query('select state, rows::int from etl.task')).to.deep.equal([
      { state: 'success', rows: ROWS },
    ]);
  });

  it('leaves the old file and no temporary file if it is stopped', async () => {
    await holder.query('select pg_advisory_lock(1)');
    const { child, ended } = project.start(['run', 'd'], env());
    await waitForRows();
    child.kill('SIGTERM');
    expect((await ended).code).to.equal(143);
    expect(await readdir(out)).to.deep.equal(['o.csv']);
    expect(await readFile(join(out, 'o.csv'), 'utf8')).to.equal('of before');
  });

  it('names the file if the file can not grow, and leaves no temporary file', async () => {
    const child = spawn('sh', ['-c', 'ulimit -f 200 && exec "$0" "$@"', process.execPath, BIN, 'run', 'd'], {
      cwd: project.directory,
      env: { PATH: process.env['PATH'], HOME: project.directory, ...env() },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    expect((await once(child, 'close'))[0]).to.equal(1);
    expect(stderr)
      .to.match(/ETL-3601 the file "out\/o.csv" can't be written/)
      .and.match(/EFBIG/);
    expect(await readdir(out)).to.deep.equal(['o.csv']);
    expect(await readFile(join(out, 'o.csv'), 'utf8')).to.equal('of before');
  });

  it('is listed as a task that runs at least once', async () => {
    const { stdout } = await project.cli(['list'], env());
    expect(stdout).to.match(/ u +unload +db +at least once/);
  });
});
