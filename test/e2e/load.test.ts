import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createProject, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { copyEmbeddedDatabase } from '../support/embedded.js';

describe('etl run of a load', () => {
  let db: TestDatabase;
  let project: Project;
  before(async () => {
    db = await createDatabase();
    project = await createProject({});
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await db.drop();
  });

  const config = (options: string): string => `
    import { dag, defineConfig } from '@oneshot/etl';
    export default defineConfig({ dags: [
      dag('d', { defaults: { conn: 'default' } }, (d) => {
        d.load('l', { from: 'in.csv', into: 't', ${options} });
      }),
    ] });`;
  const etl = (...args: string[]) => project.cli(args, { DATABASE_URL: db.url });

  it('decodes files in other encodings', async () => {
    for (const [encoding, bytes] of [
      ['windows-1252', Buffer.from('id,a\n1,\x80 \xfc\n', 'latin1')],
      ['euc-kr', Buffer.from('69642c610a312c8141b0a10a', 'hex')],
      ['utf-16le', Buffer.from('\ufeffid,a\n1,€\n', 'utf16le')],
    ] as const) {
      await db.query('drop table if exists t; create table t (id int, a text)');
      await project.write({
        'etl.config.ts': config(`mode: 'append', transform: (row) => row, csv: { encoding: '${encoding}' }`),
      });
      await writeFile(join(project.directory, 'in.csv'), bytes);
      const { code, stderr } = await etl('run', 'd');
      expect(code, stderr).to.equal(0);
      const expected = { 'windows-1252': '€ ü', 'euc-kr': '갂가', 'utf-16le': '€' }[encoding];
      expect(await db.query('select a from t')).to.deep.equal([{ a: expected }]);
    }
  });

  for (const mode of [
    `mode: 'append'`,
    `mode: 'merge', key: ['id']`,
    `mode: 'append', rejects: { max: 5, to: 'bad' }`,
  ]) {
    it(`stores each row once after a kill and a resume: ${mode}`, async () => {
      await db.query('drop table if exists t');
      await db.query('create table t (id int primary key, a text)');
      await project.write({ 'etl.config.ts': config(mode) });
      const path = join(project.directory, 'in.csv');
      const rows = Array.from({ length: 30_000 }, (_, i) => `${i},some text of the row\n`);
      // A named pipe in place of the file, so that the test decides how much can be read.
      await rm(path, { force: true });
      await promisify(execFile)('mkfifo', [path]);
      const { child, ended } = project.start(['run', 'd', '--run-id', 'killed'], { DATABASE_URL: db.url });
      const pipe = await open(path, 'w');
      await pipe.writeFile(`id,a\n${rows.slice(0, 20_000).join('')}`);
      while (!(await isMidway(db))) await turn();
      child.kill('SIGKILL');
      await ended;
      await pipe.close();
      await db.leftSessions();
      expect(await db.query('select from t')).to.deep.equal([]);

      await rm(path);
      await project.write({ 'in.csv': `id,a\n${rows.join('')}` });
      const { code, stderr } = await etl('run', 'd', '--resume', '--run-id', 'killed');
      expect(code, stderr).to.equal(0);
      expect(await db.query('select count(*)::int, count(distinct id)::int as ids from t')).to.deep.equal([
        { count: 30_000, ids: 30_000 },
      ]);
      expect(await db.query(`select rows::int from etl.task where run_id = 'killed'`)).to.deep.equal([
        { rows: 30_000 },
      ]);
      await db.query('drop schema etl cascade');
    });
  }

  it('shows the number of rejected rows in its report and in its JSON', async () => {
    await db.query('drop table if exists t');
    await db.query('create table t (id int primary key)');
    await project.write({
      'etl.config.ts': config(`mode: 'append', rejects: { max: 5, to: 'bad' }`),
      'in.csv': 'id\n1\nx\ny\n',
    });
    const { code, stdout, stderr } = await etl('run', 'd', '--json');
    expect(code, stderr).to.equal(0);
    expect(stderr)
      .to.match(/^ ✔ l {2}1 row {2}2 rejected {2}/m)
      .and.match(/^OK {2}1 ok, 1 row, 2 rejected, /m);
    expect(JSON.parse(stdout).tasks[0]).to.include({ rows: 1, rejected: 2 });
    await db.query('drop schema etl cascade');
  });

  it('merges and puts aside refused rows in the embedded database', async () => {
    const made = config(`create: true, mode: 'merge', key: ['id'], rejects: { max: 5, to: 'bad' }`);
    await project.write({ 'etl.config.ts': made, 'in.csv': 'id,a\n1,x\n2,y\n1,z\n' });
    await copyEmbeddedDatabase(join(project.directory, 'data'));
    const run = () => project.cli(['run', 'd', '--json', '--conn', 'default=pglite:data']);
    const first = await run();
    expect(first.code, first.stderr).to.equal(0);
    expect(JSON.parse(first.stdout).tasks[0]).to.include({ rows: 2, rejected: 1 });
    await project.write({ 'in.csv': 'id,a\n1,x\n2,other\n3,new\n' });
    const second = await run();
    expect(second.code, second.stderr).to.equal(0);
    expect(JSON.parse(second.stdout).tasks[0]).to.include({ rows: 2 });
  });
});

/** Returns true if an open transaction has rows: in a running COPY, or between two of its batches with savepoints. */
async function isMidway(db: TestDatabase): Promise<boolean> {
  const found = await db.query(
    `select from pg_stat_progress_copy where datname = $1 and tuples_processed > 0
     union all select from pg_stat_activity where datname = $1 and query like 'release savepoint etl_rows%'`,
    [db.name],
  );
  return found.length > 0;
}
