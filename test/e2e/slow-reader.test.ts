import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { BIN, createProject, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { until } from '../runtime/attempt/attempt-project.js';

/** More than a pipe takes without a reader: 64 KiB on Linux. */
const LINES = 4000;
const LINE = 'x'.repeat(100);

describe('a reader that does not read the output of a run', () => {
  let db: TestDatabase;
  let project: Project;
  before(async () => {
    db = await createDatabase({ mayLeak: true });
    project = await createProject({
      'etl.config.ts': `import { dag, defineConfig } from '@oneshot/etl';
        export default defineConfig({ dags: [dag('d', { defaults: { conn: 'db' } }, (d) => {
          const talks = d.task('talks', {}, async () => { for (let i = 0; i < ${LINES}; i++) console.log('${LINE}'); });
          d.task('waits', { needs: [talks], timeout: '1h' }, async ({ signal }) => {
            if (process.env.WAITS) await new Promise((resolve) => signal.addEventListener('abort', resolve));
          });
        })] });`,
    });
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await db.drop();
  });

  /** Starts the run. Nothing reads the pipes of the process until the test does. */
  const start = (runId: string, env: Record<string, string> = {}) =>
    spawn(process.execPath, [BIN, 'run', 'd', '--run-id', runId], {
      cwd: project.directory,
      env: { PATH: process.env['PATH'], HOME: project.directory, ETL_CONN_DB: db.url, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const countLines = (output: string): number => output.split(LINE).length - 1;

  it('does not hold up the run, and gets all output when it reads', async () => {
    const child = start('goes-on');
    const closed = once(child, 'close');
    try {
      await until(db, `select from pg_tables where schemaname = 'etl' and tablename = 'run'`);
      await until(db, `select from etl.run where run_id = 'goes-on' and state = 'success'`);
      expect(countLines(await text(child.stderr))).to.equal(LINES);
      expect(await closed).to.deep.equal([0, null]);
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('does not keep a signal from stopping the run', async () => {
    const child = start('stops', { WAITS: '1' });
    const closed = once(child, 'close');
    try {
      await until(db, `select from etl.task where run_id = 'stops' and task_id = 'talks'`);
      child.kill('SIGTERM');
      await until(db, `select from etl.run where run_id = 'stops' and state = 'failed'`);
      child.stdout.resume();
      child.stderr.resume();
      expect(await closed).to.deep.equal([143, null]);
    } finally {
      child.kill('SIGKILL');
    }
  });
});
