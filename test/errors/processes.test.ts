import { expect } from 'chai';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createProject } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { MessageSnapshot } from './message-snapshot.js';

describe('the message of a process that is disturbed', () => {
  const snapshot = new MessageSnapshot('processes');
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
  });
  after(() => db.drop());

  const bodies: readonly [code: string, args: string, body: string][] = [
    [
      'ETL-3006',
      '',
      `void Promise.reject(new Error('nobody awaits this')); await new Promise((resolve) => setImmediate(resolve));`,
    ],
    [
      'ETL-3302',
      '',
      `process.kill(process.pid, 'SIGTERM'); await new Promise((resolve) => signal.addEventListener('abort', resolve));`,
    ],
    [
      'ETL-3303',
      '--timeout 3s',
      'await new Promise((resolve) => signal.addEventListener("abort", resolve));',
    ],
    ['ETL-3304', '--max-block 1s', 'for (;;);'],
  ];
  for (const [code, args, body] of bodies) {
    it(`${code} is reported by etl run d ${args}`, async () => {
      await using project = await createProject({
        'etl.config.ts': `import { dag, defineConfig } from '@oneshot/etl';
          export default defineConfig({ dags: [dag('d', { defaults: { conn: 'db' } }, (d) => {
            d.task('slow', {}, async ({ signal }) => { ${body} });
          })] });`,
      });
      const { code: exit, stderr } = await project.cli(['run', 'd', ...args.split(' ').filter(Boolean)], {
        ETL_CONN_DB: db.url,
      });
      expect(exit).to.not.equal(0);
      const [, message = ''] = new RegExp(`^ *(${code} [^]*?)(?=\\n(?:\\S|$))`, 'm').exec(`${stderr}\n`) ?? [
        stderr,
        stderr,
      ];
      snapshot.add(code, message, { project: project.directory });
    });
  }

  it('ETL-2021 is reported on a version of Node.js that is too old', async () => {
    await using project = await createProject({
      'old.cjs': `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.19.0' } });`,
    });
    const { code, stderr } = await project.cli(['list'], { NODE_OPTIONS: '--require=./old.cjs' });
    expect(code).to.equal(2);
    snapshot.add('ETL-2021', stderr.replace(process.execPath, '/usr/bin/node'), {
      project: project.directory,
    });
  });

  it('ETL-2211 and ETL-7502 are reported for an embedded database', async () => {
    await using project = await createProject({
      'etl.config.ts': `import { dag, defineConfig } from '@oneshot/etl';
        export default defineConfig({ dags: [dag('d', { defaults: { conn: 'db' } }, (d) => { d.sql('a', { sql: 'select 1' }) })] });`,
      'data.lock': 'not a lock',
    });
    const env = { ETL_CONN_DB: 'pglite:data' };
    const locked = await project.cli(['run', 'd'], env);
    snapshot.add('ETL-7502', locked.stderr, { project: project.directory });
    const module = join(project.directory, 'node_modules/@electric-sql/pglite');
    await mkdir(join(module, 'dist'), { recursive: true });
    await writeFile(join(module, 'package.json'), '{"version":"0.3.15","main":"dist/index.cjs"}');
    await writeFile(join(module, 'dist/index.cjs'), '');
    await rm(join(project.directory, 'data.lock'));
    const old = await project.cli(['run', 'd'], env);
    snapshot.add('ETL-2211', old.stderr, { project: project.directory });
  });

  it('is the message of the snapshot', () => snapshot.compare());
});
