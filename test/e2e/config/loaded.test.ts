import { expect } from 'chai';
import { chmod, mkdir, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { createProject } from '../../support/cli.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';

interface Way {
  /** The way from the config to the module, for the title. */
  readonly title: string;
  /** The text that imports `value` in the config. */
  readonly code: string;
  /** The module. */
  readonly module: string;
  readonly files: Readonly<Record<string, string>>;
  readonly links?: Readonly<Record<string, string>>;
}

const WAYS: readonly Way[] = [
  {
    title: 'behind an alias',
    code: "import { value } from '@models/value';",
    module: 'src/models/value.ts',
    files: { 'tsconfig.json': '{ "compilerOptions": { "paths": { "@models/*": ["./src/models/*"] } } }' },
  },
  {
    title: 'in a workspace package',
    code: "import { value } from '@org/lib';",
    module: 'packages/lib/value.ts',
    files: {
      'packages/lib/package.json': '{ "name": "@org/lib", "type": "module", "exports": "./index.ts" }',
      'packages/lib/index.ts': "export { value } from './value';",
    },
    links: { 'node_modules/@org/lib': 'packages/lib' },
  },
  {
    title: 'that JavaScript imports',
    code: "import { value } from './middle.mjs';",
    module: 'value.ts',
    files: { 'middle.mjs': "export { value } from './value.ts';" },
  },
  {
    title: 'that a module requires',
    code: "const { value } = require('./middle.cjs');",
    module: 'value.ts',
    files: { 'middle.cjs': "exports.value = require('./value.ts').value;" },
  },
  {
    title: 'with a decorator',
    code: "import { value } from './value.js';",
    module: 'value.ts',
    files: {},
  },
  { title: 'in TSX', code: "import { value } from './value.js';", module: 'value.tsx', files: {} },
];

const createConfig = (code: string): string => `import { dag, defineConfig } from '@oneshot/etl';
${code}
export default defineConfig({ connections: { db: process.env['DB_URL'] }, dags: [dag('d', { defaults: { conn: 'db' } }, (d) => {
  const uses = d.session('uses', {}, async () => value());
  const other = d.session('other', {}, async () => 1);
  d.session('fails', { needs: { uses, other } }, async () => { throw new Error('stop'); });
})] });`;

const createModule = (result: number): string =>
  `const d = (target: unknown, _context: unknown): any => target;
@d class A { static result = ${result}; }
export function value(): number { return A.result; }
`;

describe('etl run', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
  });
  after(() => db.drop());

  for (const { title, code, module, files, links = {} } of WAYS) {
    const all = { 'etl.config.ts': createConfig(code), ...files, [module]: createModule(1) };

    it(`runs a task again after a change of a module ${title}`, async () => {
      await using project = await createProject(all);
      await link(project.directory, links);
      const env = { DB_URL: db.url };
      const id = `r-${title.replaceAll(' ', '-')}`;
      const first = await project.cli(['run', 'd', '--run-id', id], env);
      expect(first.stdout + first.stderr)
        .to.include('2 ok')
        .and.include('stop');
      const second = await project.cli(['run', 'd', '--resume', '--run-id', id], env);
      expect(second.stdout + second.stderr).to.include('2 reused');
      await project.write({ [module]: createModule(2) });
      const third = await project.cli(['run', 'd', '--resume', '--run-id', id], env);
      expect(third.stdout + third.stderr)
        .to.include('1 reused')
        .and.match(/uses.*changed/s);
    });

    it(`refuses a module ${title} if every user can write to it`, async () => {
      await using project = await createProject(all);
      await link(project.directory, links);
      await chmod(join(project.directory, module), 0o666);
      const { code: exitCode, stderr } = await project.cli(['list'], { DB_URL: db.url });
      expect(stderr)
        .to.include('ETL-2102')
        .and.include(`chmod go-w ${join(project.directory, module)}`);
      expect(exitCode).to.equal(2);
    });
  }

  it('runs the Dags of a module that a JSON config names, and again what has changed in it', async () => {
    const dags = (result: number): string => `import { dag } from '@oneshot/etl';
      export const d = dag('d', { defaults: { conn: 'db' } }, (d) => {
        const uses = d.session('uses', {}, async () => ${result});
        d.session('fails', { needs: { uses } }, async () => { throw new Error('stop'); });
      });`;
    await using project = await createProject({
      'etl.config.json': '{ "dags": ["./dags.ts"] }',
      'dags.ts': dags(1),
    });
    const env = { ETL_CONN_DB: db.url };
    await project.cli(['run', 'd', '--run-id', 'named'], env);
    const second = await project.cli(['run', 'd', '--resume', '--run-id', 'named'], env);
    expect(second.stdout + second.stderr)
      .to.include('1 reused')
      .and.include('stop');
    await project.write({ 'dags.ts': dags(2) });
    const third = await project.cli(['run', 'd', '--resume', '--run-id', 'named'], env);
    expect(third.stdout + third.stderr)
      .to.include('0 reused')
      .and.match(/uses.*changed/s);
  });

  for (const name of ['tsconfig.json', 'base.json']) {
    it(`refuses the ${name} of an alias if every user can write to it`, async () => {
      await using project = await createProject({
        'etl.config.ts': createConfig("import { value } from '@/value';"),
        'value.ts': createModule(1),
        'tsconfig.json': '{ "extends": "./base.json" }',
        'base.json': '{ "compilerOptions": { "paths": { "@/*": ["./*"] } } }',
      });
      await chmod(join(project.directory, name), 0o666);
      const { code, stderr } = await project.cli(['list'], { DB_URL: db.url });
      expect(stderr).to.include('ETL-2102').and.include(name);
      expect(code).to.equal(2);
    });
  }

  it('refuses a workspace package if every user can replace the link to it', async () => {
    await using project = await createProject({
      'etl.config.ts': createConfig("import { value } from 'lib';"),
      'packages/lib/package.json': '{ "name": "lib", "type": "module", "exports": "./index.ts" }',
      'packages/lib/index.ts': createModule(1),
    });
    await link(project.directory, { 'node_modules/lib': 'packages/lib' });
    await chmod(join(project.directory, 'node_modules'), 0o777);
    const { code, stderr } = await project.cli(['list'], { DB_URL: db.url });
    expect(stderr).to.include('ETL-2102').and.include('node_modules');
    expect(code).to.equal(2);
  });
});

async function link(directory: string, links: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, target] of Object.entries(links)) {
    const path = join(directory, name);
    await mkdir(dirname(path), { recursive: true });
    await symlink(relative(dirname(path), join(directory, target)), path);
  }
}
