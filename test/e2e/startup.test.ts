import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createProject, ROOT, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

const run = promisify(execFile);

const CONFIG = `
  import { dag, defineConfig } from '@oneshot/etl';
  export default defineConfig({
    dags: [dag('d', { defaults: { conn: 'db' } }, (d) => { d.sql('one', { sql: 'select 1' }); })],
  });`;

/** The packages that every command loads. Each package makes the start slower, so a commit that adds one says why. */
const ANY_COMMAND =
  `@oclif/core ansi-escapes ansi-regex ansi-styles ansis balanced-match brace-expansion clean-stack
  cli-spinners debug ejs emoji-regex escape-string-regexp get-package-type has-flag indent-string
  is-fullwidth-code-point lilconfig minimatch ms string-width strip-ansi supports-color widest-line wordwrap
  wrap-ansi`.split(/\s+/);
const CONFIG_SEARCH = ['cosmiconfig'];
const DATABASE =
  `colorette knex lodash pg pg-connection-string pg-int8 pg-pool pg-protocol pg-types postgres-array
  postgres-bytea postgres-date postgres-interval tarn xtend`.split(/\s+/);

describe('the cache of code that V8 has compiled', () => {
  let project: Project;
  let home: string;
  const kept = (): string => join(home, 'etl');
  const help = (env: Readonly<Record<string, string>> = {}) =>
    project.cli(['--help'], { XDG_CACHE_HOME: home, ...env });

  beforeEach(async () => {
    project = await createProject({});
    home = join(project.directory, 'cache');
  });
  afterEach(() => project[Symbol.asyncDispose]());

  it('is a directory that only this user can enter, with one file for each command', async () => {
    const first = await help();
    const [name = ''] = await readdir(kept());
    expect((await stat(kept())).mode & 0o777).to.equal(0o700);
    expect((await stat(join(kept(), name))).mode & 0o777).to.equal(0o600);
    const { mtimeMs } = await stat(join(kept(), name));
    expect(await help()).to.deep.equal(first);
    expect((await stat(join(kept(), name))).mtimeMs, 'written once').to.equal(mtimeMs);
    await project.cli(['list', '--help'], { XDG_CACHE_HOME: home });
    expect(await readdir(kept())).to.have.lengthOf(2);
  });

  it('is written again if V8 can not use a file of it', async () => {
    const first = await help();
    const [name = ''] = await readdir(kept());
    await writeFile(join(kept(), name), 'no code');
    expect(await help()).to.deep.equal(first);
    expect((await stat(join(kept(), name))).size).to.be.greaterThan(10_000);
  });

  const damages: readonly [title: string, damage: (code: Buffer) => Buffer][] = [
    ['is empty', () => Buffer.alloc(0)],
    ['is full of zeros', (code) => code.fill(0)],
    ['ends with zeros', (code) => code.fill(0, code.length / 2)],
    ['has zeros in its middle', (code) => code.fill(0, code.length / 2, code.length / 2 + 4096)],
    ['is cut in its middle', (code) => code.subarray(0, code.length / 2)],
    ['has lost its last byte', (code) => code.subarray(0, -1)],
    ['has a byte more', (code) => Buffer.concat([code, Buffer.alloc(1)])],
    ...[0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99].map((part): [string, (code: Buffer) => Buffer] => [
      `has other bytes at ${part * 100} % of its length`,
      (code) => {
        const at = Math.floor(code.length * part);
        for (let i = at; i < at + 16; i++) code[i] = 255 - (code[i] ?? 0);
        return code;
      },
    ]),
  ];
  for (const [title, damage] of damages) {
    it(`is written again for a file that ${title}, and the program runs`, async () => {
      const first = await help();
      const [name = ''] = await readdir(kept());
      const { size } = await stat(join(kept(), name));
      const damaged = Buffer.from(damage(await readFile(join(kept(), name))));
      await writeFile(join(kept(), name), damaged);
      expect(await help()).to.deep.equal(first);
      expect((await readFile(join(kept(), name))).equals(damaged)).to.equal(false);
      expect((await stat(join(kept(), name))).size).to.be.greaterThan(size / 2);
    });
  }

  it('is not read from a file that others can write to', async () => {
    const first = await help();
    const [name = ''] = await readdir(kept());
    await chmod(join(kept(), name), 0o666);
    expect(await help()).to.deep.equal(first);
    expect((await stat(join(kept(), name))).mode & 0o777).to.equal(0o600);
  });

  it('is neither read nor written with ETL_NO_CACHE=1', async () => {
    expect(await help({ ETL_NO_CACHE: '1' })).to.include({ code: 0, stderr: '' });
    expect(await readdir(project.directory)).to.not.include('cache');
  });

  for (const { title, mode } of [
    { title: 'others can write to', mode: 0o777 },
    { title: 'a group can read', mode: 0o750 },
  ]) {
    it(`is not written to a directory that ${title}`, async () => {
      await mkdir(kept(), { recursive: true });
      await chmod(kept(), mode);
      expect(await help()).to.include({ code: 0, stderr: '' });
      expect(await readdir(kept())).to.deep.equal([]);
    });
  }

  it('is left out if its directory can not be created', async () => {
    await writeFile(home, 'a file');
    expect(await help()).to.include({ code: 0, stderr: '' });
  });

  it('is not written after a usage error', async () => {
    await project.cli(['rnu'], { XDG_CACHE_HOME: home });
    expect(await readdir(kept())).to.deep.equal([]);
  });
});

describe('the start of a command', () => {
  let db: TestDatabase;
  let project: Project;
  let traced: string;

  before(async () => {
    db = await createDatabase();
    project = await createProject({ 'etl.config.ts': CONFIG });
    traced = await buildTraceableProgram();
    // The first run compiles the config and creates the ledger.
    await listLoadedPackages(['run', 'd']);
  });
  after(async () => {
    await rm(traced, { recursive: true, force: true });
    await project[Symbol.asyncDispose]();
    await db.drop();
  });

  async function listLoadedPackages(args: readonly string[]): Promise<readonly string[]> {
    const out = join(traced, 'modules.txt');
    const env = {
      PATH: process.env['PATH'],
      ETL_NO_CACHE: '',
      XDG_CACHE_HOME: traced,
      MODULES: out,
      ETL_CONN_DB: db.url,
    };
    await run(process.execPath, [join(traced, 'bin/run.js'), ...args], { cwd: project.directory, env });
    const modules = (await readFile(out, 'utf8'))
      .split('\n')
      .filter((name) => !name.endsWith('package.json'));
    const packages = modules.map((name) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(name)?.[1]);
    return [...new Set(packages.filter((name) => name !== undefined))];
  }

  it('loads only oclif for --help', async () => {
    expect(await listLoadedPackages(['--help'])).to.have.members(ANY_COMMAND);
  });

  it('loads the config search for list, but no database driver', async () => {
    expect(await listLoadedPackages(['list'])).to.have.members([...ANY_COMMAND, ...CONFIG_SEARCH]);
  });

  it('loads Knex and the driver for run, but neither a compiler nor Objection', async () => {
    const packages = [...ANY_COMMAND, ...CONFIG_SEARCH, ...DATABASE];
    expect(await listLoadedPackages(['run', 'd'])).to.have.members(packages);
  });
});

/**
 * Builds the program so that it writes the names of all modules that it has loaded to the file MODULES when it ends.
 */
async function buildTraceableProgram(): Promise<string> {
  const folder = await mkdtemp(join(ROOT, '.etl/test/traced-'));
  const dist = join(folder, 'dist');
  const script = `import { bundleProgram } from './scripts/bundle.js'; await bundleProgram(process.argv[1], { minify: false });`;
  await run(process.execPath, ['--input-type=module', '-e', script, dist], { cwd: ROOT });
  for (const part of ['bin', 'package.json'])
    await cp(join(ROOT, part), join(folder, part), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const file = join(dist, 'etl.cjs');
  const code = await readFile(file, 'utf8');
  const traced = instrument(code, [
    [
      /var __commonJS = \(cb, mod\) => function \w+\(\) \{/,
      'if (!mod) loaded.push(__getOwnPropNames(cb)[0]);',
    ],
    // The bundler gives the parameter another name if a package has the name, too.
    [
      /var __esm = \((\w+), res, err\) => function \w+\(\) \{/,
      'if (<name>) loaded.push(__getOwnPropNames(<name>)[0]);',
    ],
    [
      /"use strict";/,
      `const loaded = []; process.on('exit', () => require('node:fs').writeFileSync(process.env.MODULES, loaded.join('\\n')));`,
    ],
  ]);
  await writeFile(file, traced);
  return folder;
}

/**
 * Inserts a statement after each pattern. `<name>` in a statement is the first group of its pattern. If a new bundler writes the code in another form, a pattern does not match
 * and the test fails here.
 */
function instrument(
  code: string,
  statements: readonly (readonly [pattern: RegExp, statement: string])[],
): string {
  return statements.reduce((result, [pattern, statement]) => {
    expect(result).to.match(pattern);
    return result.replace(
      pattern,
      (found, name) => `${found} ${statement.replaceAll('<name>', String(name))}`,
    );
  }, code);
}
