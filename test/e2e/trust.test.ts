import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createProject, ROOT } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

/** Each file of code prints its own path when it is executed. */
const FILES = {
  'etl.config.ts': `
    import { dag, defineConfig } from '@oneshot/etl';
    import './compiled.ts';
    import './native.mjs';
    import data from './data.json' with { type: 'json' };
    import 'left-pad';
    console.error('executed etl.config.ts', data);
    export default defineConfig({
      connections: { db: 'pglite::memory:' },
      dags: [dag('d', { defaults: { conn: 'db' } }, (d) => { d.sql('a', { file: 'sql/a.sql' }); })],
    });`,
  'compiled.ts': `console.error('executed compiled.ts');`,
  'native.mjs': `
    import './lib/deep.mjs';
    import { createRequire } from 'node:module';
    createRequire(import.meta.url)('./lib/deep.cjs');
    console.error('executed native.mjs');`,
  'lib/deep.mjs': `console.error('executed lib/deep.mjs');`,
  'lib/deep.cjs': `console.error('executed lib/deep.cjs');`,
  'data.json': '{}',
  'node_modules/left-pad/package.json': '{"name":"left-pad","main":"main.js"}',
  'node_modules/left-pad/main.js': `console.error('executed node_modules/left-pad/main.js');`,
  'sql/a.sql': 'select 1;',
  '.env': 'A=1',
};

describe('the files that etl trusts', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
  });
  after(() => db.drop());

  for (const name of Object.keys(FILES)) {
    for (const kind of ['file', 'directory']) {
      it(`are refused before they are used if every user can write to the ${kind}: ${name}`, async () => {
        await using project = await createProject(FILES);
        const changed = kind === 'file' ? join(project.directory, name) : join(project.directory, name, '..');
        await chmod(changed, kind === 'file' ? 0o666 : 0o777);
        const { code, stderr } = await project.cli(['run', 'd'], { ETL_CONN_DB: db.url });
        expect(stderr).to.include('ETL-2102').and.include(`chmod go-w ${changed}`);
        expect(stderr).not.to.include(`executed ${name}`);
        expect(code).to.equal(name === 'sql/a.sql' ? 1 : 2);
      });
    }
  }

  for (const name of ['etl.config.ts', 'compiled.ts', 'native.mjs', 'lib/deep.mjs', 'lib/deep.cjs']) {
    it(`are refused if they are not UTF-8: ${name}`, async () => {
      await using project = await createProject(FILES);
      const text = `const city = 'Zürich'; ${FILES[name as keyof typeof FILES]}`;
      await writeFile(join(project.directory, name), text, 'latin1');
      const { code, stderr } = await project.cli(['list'], { ETL_CONN_DB: db.url });
      expect(code, stderr).to.equal(2);
      expect(stderr)
        .to.match(/^ETL-2102 .* was refused$/m)
        .and.to.match(/the byte 0xfc at offset 15 is not UTF-8/);
      expect(stderr).not.to.include(`executed ${name}`);
    });
  }

  // Only root can start a process as another user.
  if (process.getuid?.() === 0)
    it('may belong to another user, as in an image that copies them with --chown', async () => {
      const image = await mkdtemp(join(tmpdir(), 'etl-image-'));
      try {
        await chmod(image, 0o755);
        for (const name of [
          'bin',
          'dist',
          'package.json',
          'node_modules/jiti',
          'node_modules/@electric-sql/pglite',
        ])
          await cp(join(ROOT, name), join(image, 'etl', name), { recursive: true, dereference: true });
        await using project = await createProject(FILES);
        await cp(project.directory, join(image, 'app'), { recursive: true });
        await chmod(join(image, 'app'), 0o755);
        for (const name of ['', ...(await readdir(join(image, 'app'), { recursive: true }))])
          await chown(join(image, 'app', name), 1234, 1234);
        await mkdir(join(image, 'home'));
        await chown(join(image, 'home'), 4321, 4321);
        const child = spawn(process.execPath, [join(image, 'etl', 'bin/run.js'), 'run', 'd'], {
          cwd: join(image, 'app'),
          env: { PATH: process.env['PATH'], HOME: join(image, 'home'), SHELL: '' },
          uid: 4321,
          gid: 4321,
        });
        let stderr = '';
        child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
        const [code] = await once(child, 'close');
        expect(stderr).to.include('OK  1 ok');
        expect(code).to.equal(0);
      } finally {
        await rm(image, { recursive: true });
      }
    });
});
