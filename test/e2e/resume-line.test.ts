import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { BIN, createProject, ROOT, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

/** A config with the Dag "d", whose task fails at first, and writes `value` in a resume. */
const config = (value: string): string => `
  import { dag, defineConfig } from '@oneshot/etl';
  import { existsSync } from 'node:fs';
  export default defineConfig({ dags: [dag('d', { defaults: { conn: 'db' } }, (d) => {
    d.session('s', {}, async ({ session }) => {
      await session('t').insert({ v: '${value}' });
      if (!existsSync(import.meta.dirname + '/repaired')) throw new Error('not yet');
    });
  })] });`;

describe('the line that resumes a run', () => {
  let db: TestDatabase;
  let project: Project;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (v text)');
    project = await createProject({
      'etl.config.ts': config('default'),
      "it's other/etl.config.ts": config('other'),
      'env/etl.config.ts': config('env'),
      'env/.env.night': `ETL_CONN_DB=${db.url}`,
      'elsewhere/file': '',
      'bin/etl': `#!/bin/sh\nexec '${process.execPath}' '${BIN}' "$@"\n`,
    });
    await chmod(join(project.directory, 'bin/etl'), 0o755);
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await db.drop();
  });

  /** Types a line into a shell, in the folder "elsewhere" if it needs no config of the working directory. */
  function type(line: string, folder: string): Promise<{ code: number; output: string }> {
    const env = {
      PATH: `${join(project.directory, 'bin')}:${process.env['PATH']}`,
      HOME: project.directory,
      XDG_CACHE_HOME: join(ROOT, '.etl/test-cache'),
    };
    return new Promise((resolve) => {
      execFile(
        '/bin/sh',
        ['-c', line],
        { cwd: join(project.directory, folder), env },
        (error, stdout, stderr) => {
          resolve({ code: Number(error?.code ?? 0), output: stdout + stderr });
        },
      );
    });
  }

  const password = (): string => new URL(db.url).password;
  for (const { title, args, env, folder, value } of [
    {
      title: '--conn, in the same folder',
      args: () => ['--conn', `db=${db.url}`],
      env: {},
      folder: '.',
      value: 'default',
    },
    {
      title: '--config and --conn, in any folder',
      args: () => ['--config', "it's other/etl.config.ts", '--conn', `db=${db.url}`],
      env: {},
      folder: 'elsewhere',
      value: 'other',
    },
    {
      title: 'ETL_CONFIG and ETL_ENV, in any folder',
      args: () => [],
      env: { ETL_CONFIG: 'env/etl.config.ts', ETL_ENV: 'night' },
      folder: 'elsewhere',
      value: 'env',
    },
  ]) {
    it(`works as it is typed after ${title}, and shows no password`, async () => {
      await db.query('drop schema if exists etl cascade; truncate t');
      const failed = await project.cli(['run', 'd', ...args()], env);
      expect(failed.code, failed.stderr).to.equal(1);
      const [, line = ''] = /^resume after the correction: (.*)$/m.exec(failed.stderr) ?? [];
      expect(line).to.not.include(password());
      await project.write({ repaired: '', "it's other/repaired": '', 'env/repaired': '' });
      const { code, output } = await type(line.replaceAll('<secret>', password()), folder);
      expect(code, output).to.equal(0);
      expect(output).to.match(/resumed: the run failed/);
      expect(await db.query('select v from t')).to.deep.equal([{ v: value }]);
    });
    afterEach(async () => {
      for (const at of ['.', "it's other", 'env']) await type(`rm -f repaired`, at);
    });
  }

  it('has the limits that were given to the run, and the same line is in etl runs', async () => {
    await db.query('drop schema if exists etl cascade');
    const flags = ['--conn', `db=${db.url}`];
    const { stderr } = await project.cli([
      'run',
      'd',
      ...flags,
      '-c',
      '2',
      '--timeout',
      '5m',
      '--fail-fast',
      '--no-show-data',
    ]);
    expect(stderr).to.match(
      /^resume after the correction: etl run d --resume --run-id \S+ --concurrency 2 --timeout 5m --fail-fast --no-show-data --conn /m,
    );
    const { stdout } = await project.cli(['runs', ...flags]);
    expect(stdout).to.match(
      /resume: etl run d --resume --run-id \S+ --conn 'db=postgres:\/\/[^']*<secret>@[^']*'/,
    );
    expect(stdout).to.not.include(password());
  });
});
