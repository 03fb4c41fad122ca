import { expect } from 'chai';
import { existsSync } from 'node:fs';
import { chmod, mkdir, realpath, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { cli, createProject, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

/** The config, the modules that it imports, and the other files that it names. All paths are relative. */
const FILES = {
  'real/etl.config.ts': `
    import { dag, defineConfig } from '@oneshot/etl';
    import { dirname } from 'node:path';
    import { fileURLToPath } from 'node:url';
    import { place } from './place.js';
    import { again } from './linked/other.js';
    const places = [place, again, dirname(fileURLToPath(import.meta.url)), import.meta.dirname];
    export default defineConfig({
      dags: [dag('d', { defaults: { conn: 'db' } }, (d) => {
        const file = d.sql('file', { file: 'insert.sql' });
        const load = d.load('load', { needs: [file], from: 'in.csv', into: 't', mode: 'append' });
        d.session('places', { needs: [load] }, async ({ session }) =>
          void (await session('t').insert([...places, process.env.FROM_ENV, globalThis.times].map((v) => ({ v })))));
      })],
    });`,
  'real/place.ts': `
    globalThis.times = (globalThis.times ?? 0) + 1;
    export const place: string = import.meta.dirname;`,
  'real/insert.sql': "insert into t values ('sql')",
  'real/in.csv': 'v\ncsv\n',
  'real/.env': 'FROM_ENV=real',
  'real/package.json': '{ "type": "module" }',
  'elsewhere/other.ts': `export { place as again } from '../real/place.js';`,
  'elsewhere/package.json': '{ "type": "module" }',
  // Decoys beside the link: each of them would be wrong.
  'link/place.ts': "export const place: string = 'beside the link';",
  'link/insert.sql': "insert into t values ('beside the link')",
  'link/.env': 'FROM_ENV=link',
  'link/package.json': '{ "type": "module" }',
};

describe('a config behind a symbolic link', () => {
  let db: TestDatabase;
  let project: Project;

  before(async () => {
    db = await createDatabase();
    await db.query('create table t (v text)');
    project = await createProject(FILES);
    const { directory } = project;
    await symlink(join(directory, 'elsewhere'), join(directory, 'real/linked'));
    await symlink('../real/etl.config.ts', join(directory, 'link/etl.config.ts'));
    await symlink('real', join(directory, 'current'));
    await mkdir(join(directory, 'chain'));
    await symlink('../link/etl.config.ts', join(directory, 'chain/jobs.ts'));
  });
  beforeEach(() => db.query('truncate t; drop schema if exists etl cascade'));
  after(async () => {
    await project[Symbol.asyncDispose]();
    await db.drop();
  });

  for (const [title, config] of [
    ['a link to the file', 'link/etl.config.ts'],
    ['a link to a link, under another name', 'chain/jobs.ts'],
    ['a linked directory', 'current/etl.config.ts'],
    ['no link', 'real/etl.config.ts'],
  ]) {
    it(`has its imports, files, variables and cache beside the file itself, by ${title}`, async () => {
      const { code, stderr } = await project.cli(['run', 'd', '--config', config ?? ''], {
        ETL_CONN_DB: db.url,
      });
      expect(code, stderr).to.equal(0);
      const real = await realpath(join(project.directory, 'real'));
      const values = (await db.query<{ v: string }>('select v from t')).map(({ v }) => v);
      // The module that two paths lead to has run once, so the last value is 1.
      expect(values).to.deep.equal(['sql', 'csv', real, real, real, real, 'real', '1']);
      expect(existsSync(join(real, '.etl/cache/config'))).to.equal(true);
      expect(existsSync(join(project.directory, 'link/.etl'))).to.equal(false);
    });
  }

  it('is found by the search, and refused if other users can write to the file itself', async () => {
    const real = join(project.directory, 'real/etl.config.ts');
    const args = { cwd: join(project.directory, 'link') };
    expect((await cli(['list'], args)).stdout).to.include('file');
    await chmod(real, 0o666);
    const { code, stderr } = await cli(['list'], args);
    await chmod(real, 0o644);
    expect(code).to.equal(2);
    expect(stderr).to.match(/^ETL-2102 .*etl\.config\.ts was refused/);
  });
});
