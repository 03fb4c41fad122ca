import { expect } from 'chai';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { type CliResult, ROOT } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { installPacked } from '../support/packed.js';

const run = promisify(execFile);

/** A password that needs quotes in a URL, and that no file of a new project may contain. */
const PASSWORD = 'p@ss/w:rd %41?#';

type Files = Readonly<Record<string, string>>;
type Variables = Readonly<Record<string, string>>;

/** The folder of a new project, with the packed package installed. */
interface Folder {
  readonly directory: string;
  etl(args: string, env?: Variables): Promise<CliResult>;
  read(path: string): Promise<string>;
  /** Lists the files without those of packages and `.etl`. */
  list(): Promise<readonly string[]>;
}

describe('etl init', function () {
  this.timeout(120_000);
  let db: TestDatabase;
  let root: string;
  let packages: string;
  let role: string;
  /** The fields of a connection of pg, with a password that needs quotes. */
  let server: {
    readonly user: string;
    readonly host: string;
    readonly port: number;
    readonly database: string;
  };
  let url: string;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'etl-init-'));
    const { directory } = await installPacked(root, '');
    packages = join(directory, 'node_modules');
    // The packages that `etl init` names for the embedded database, the models and the type checker.
    for (const name of [
      '@electric-sql/pglite',
      'objection',
      'ajv',
      'fast-uri',
      'db-errors',
      '@types/node',
      'undici-types',
    ])
      await copyPackage(name);
    db = await createDatabase();
    role = `${db.name}_init`;
    await db.query(`create role ${role} login password '${PASSWORD}'`);
    await db.query(
      `grant create on database ${db.name} to ${role}; grant create on schema public to ${role}`,
    );
    const { hostname, port } = new URL(db.url);
    server = { user: role, host: hostname, port: Number(port), database: db.name };
    url = `postgres://${role}:${encodeURIComponent(PASSWORD)}@${hostname}:${port}/${db.name}`;
  });
  after(async () => {
    await rm(root, { recursive: true, force: true });
    await db.query(`drop owned by ${role}; drop role ${role}`);
    await db.drop();
  });

  async function copyPackage(name: string): Promise<void> {
    await mkdir(dirname(join(packages, name)), { recursive: true });
    await cp(join(ROOT, 'node_modules', name), join(packages, name), { recursive: true });
  }

  async function createFolder(files: Files = {}, hasPackages = true): Promise<Folder> {
    const directory = await mkdtemp(join(root, 'new-'));
    if (hasPackages) await symlink(packages, join(directory, 'node_modules'));
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(directory, path)), { recursive: true });
      await writeFile(join(directory, path), text);
    }
    const program = join(packages, '@oneshot/etl/bin/run.js');
    return {
      directory,
      async etl(args, more = {}) {
        const env = {
          PATH: process.env['PATH'],
          HOME: root,
          XDG_CACHE_HOME: join(ROOT, '.etl/test-cache'),
          ...more,
        };
        const words = [program, ...args.split(' ')];
        const ended = run(process.execPath, words, { cwd: directory, env, timeout: 60_000 });
        return ended.then((result) => ({ code: 0, ...result })).catch((error: unknown) => error as CliResult);
      },
      read: (path) => readFile(join(directory, path), 'utf8'),
      async list() {
        const found = await readdir(directory, { recursive: true, withFileTypes: true });
        return found
          .filter((entry) => entry.isFile())
          .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
          .filter((path) => !/^(?:node_modules|\.etl)\b/.test(path))
          .toSorted();
      },
    };
  }

  /** Returns the database of the first run. Fails if the run or the type check of the project fails. */
  async function runAndCheck(folder: Folder, env: Variables): Promise<void> {
    const { code, stderr } = await folder.etl('run shop', env);
    expect(code, stderr).to.equal(0);
    expect(stderr).to.match(/^OK {2}2 ok, 4 rows/m);
    const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
    const checked = run(process.execPath, [tsc, '-p', folder.directory]);
    await checked.catch((error: unknown) => expect.fail((error as { stdout: string }).stdout));
  }

  describe('in an empty folder', () => {
    it('writes a project whose Dag runs in an embedded database and whose types are right', async () => {
      const folder = await createFolder();
      const { code, stdout, stderr } = await folder.etl('init');
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
      const paths = [
        '.env.example',
        '.gitignore',
        'data/orders.csv',
        'etl.config.ts',
        'package.json',
        'tsconfig.json',
      ];
      expect(await folder.list()).to.deep.equal(paths);
      for (const path of paths)
        expect(stdout).to.match(new RegExp(`^created +${path.replace('.', '\\.')}$`, 'm'));
      expect(JSON.parse(await folder.read('package.json'))).to.deep.equal({ private: true, type: 'module' });
      expect(await folder.read('etl.config.ts')).to.match(/^ {2}declare customer: string;$/m);
      await runAndCheck(folder, {});
    });

    it('writes files that only their owner can change, also under the umask 002', async () => {
      const folder = await createFolder();
      const program = join(packages, '@oneshot/etl/bin/run.js');
      await run('sh', ['-c', `umask 000; exec "${process.execPath}" "${program}" init`], {
        cwd: folder.directory,
      });
      const { mode } = await stat(join(folder.directory, 'etl.config.ts'));
      expect((mode & 0o777).toString(8)).to.equal('644');
    });

    it('gives the same result as JSON', async () => {
      const folder = await createFolder();
      const { stdout } = await folder.etl('init --json');
      const { files, database, dag, next } = JSON.parse(stdout);
      expect(files[0]).to.deep.equal({ path: 'package.json', action: 'created' });
      expect(database.kind).to.equal('embedded');
      expect(dag).to.equal('shop');
      expect(next).to.deep.equal([{ command: 'npx etl run shop', purpose: 'run the Dag' }]);
    });
  });

  describe('for a server', () => {
    /** A way to name the server. `files` are there before; `variables` are set in each command. */
    interface Way {
      readonly title: string;
      readonly args?: string;
      readonly files?: () => Files;
      readonly variables?: () => Variables;
    }
    const object = (): string =>
      `{ user: '${server.user}', host: '${server.host}', port: ${server.port}, database: '${server.database}', password: process.env.PGPASS }`;
    const literal = (): string => object().replace('process.env.PGPASS', JSON.stringify(PASSWORD));
    const WAYS: readonly Way[] = [
      { title: 'DATABASE_URL', variables: () => ({ DATABASE_URL: url }) },
      { title: 'DATABASE_URL in .env', files: () => ({ '.env': `DATABASE_URL='${url}'\n` }) },
      { title: 'another variable', args: '--url-from SHOP_URL', variables: () => ({ SHOP_URL: url }) },
      {
        title: 'a CommonJS knexfile with a URL for each environment',
        files: () => ({
          'knexfile.js': `module.exports = { development: { client: 'pg', connection: ${JSON.stringify(url)} } };`,
        }),
      },
      {
        title: 'a knexfile of NODE_ENV with fields and a password in the file',
        files: () => ({
          'package.json': '{ "type": "module" }',
          'knexfile.js': `export default { test: { client: 'postgresql', connection: ${literal()} } };`,
        }),
        variables: () => ({ NODE_ENV: 'test' }),
      },
      {
        title: 'a named environment of a TypeScript knexfile, whose password is in a variable',
        args: '--env staging',
        files: () => ({
          'package.json': '{ "type": "module" }',
          'knexfile.ts': `import type { Knex } from 'knex';
            const config: Record<string, Knex.Config> = { staging: { client: 'pg', connection: ${object()} } };
            export default config;`.replace('process.env.PGPASS', `process.env['PGPASS'] ?? ''`),
        }),
        variables: () => ({ PGPASS: PASSWORD }),
      },
      {
        title: 'the knexfile.ts that `knex init -x ts` writes, with module.exports',
        args: '--env development',
        files: () => ({
          'knexfile.ts': `import type { Knex } from 'knex';
            const config: { [key: string]: Knex.Config } = { development: { client: 'pg', connection: ${literal()} } };
            module.exports = config;`,
        }),
      },
      {
        title: 'a knexfile with one configuration and a connection string, in another folder',
        args: '--knexfile db/knexfile.mjs',
        files: () => ({
          'db/knexfile.mjs': `export default { client: 'pg', connection: { connectionString: ${JSON.stringify(url)} } };`,
        }),
      },
      {
        title: 'a knexfile that exports a function',
        files: () => ({
          'knexfile.mjs': `export default async () => ({ development: { client: 'pg', connection: ${JSON.stringify(url)} } });`,
        }),
      },
    ];
    for (const { title, args = '', files, variables } of WAYS)
      it(`writes a project that runs there, and no password: ${title}`, async () => {
        const before = files?.() ?? {};
        const folder = await createFolder(before);
        const env = variables?.() ?? {};
        const { code, stdout, stderr } = await folder.etl(`init ${args}`.trim(), env);
        expect(code, stderr).to.equal(0);
        const texts = [stdout, stderr];
        for (const path of await folder.list()) if (!(path in before)) texts.push(await folder.read(path));
        for (const secret of [PASSWORD, encodeURIComponent(PASSWORD)])
          expect(texts.join('\n')).to.not.include(secret);
        await db.query('drop schema if exists etl cascade; drop table if exists etl_example_orders');
        await runAndCheck(folder, env);
        const rows = await db.query('select count(*)::int as rows from etl_example_orders');
        expect(rows).to.deep.equal([{ rows: 4 }]);
      });

    it('leaves a knexfile of another database aside and says so, and refuses it if it is named', async () => {
      const knexfile = `export default { development: { client: 'mysql2', connection: 'mysql://a:secret-word@b/c' } };`;
      const folder = await createFolder({ 'knexfile.mjs': knexfile });
      const named = await folder.etl('init --knexfile knexfile.mjs');
      expect(named.code).to.equal(2);
      expect(named.stderr)
        .to.match(/^ETL-2020 .*knexfile\.mjs/)
        .and.to.include('its client is "mysql2"');
      expect(await folder.list()).to.deep.equal(['knexfile.mjs']);
      const { code, stdout } = await folder.etl('init');
      expect(code).to.equal(0);
      expect(stdout).to.match(/^note: knexfile\.mjs is not used: its client is "mysql2"/m);
      expect(stdout).to.match(/^database: an embedded/m);
    });

    it('does not show a URL that somebody gives instead of the name of a variable', async () => {
      const folder = await createFolder();
      const { code, stderr } = await folder.etl(`init --url-from ${url}`);
      expect(code).to.equal(2);
      expect(stderr)
        .to.match(/^ETL-2001 /)
        .and.to.not.include(encodeURIComponent(PASSWORD));
    });
  });

  describe('in a project that has files', () => {
    it('overwrites nothing, and changes nothing when it is run again', async () => {
      const files = {
        'etl.config.mjs': 'export default { dags: [] };',
        'data/orders.csv': 'id\n1\n',
        'tsconfig.json': '{}',
        '.env.example': 'A=1',
        '.gitignore': '# mine\r\nnode_modules\r\n.env*',
        'package.json': '{\n\t"name": "mine",\n\t"dependencies": {\n\t\t"a": "1"\n\t}\n}\n',
      };
      const folder = await createFolder(files);
      const { code, stdout } = await folder.etl('init');
      expect(code).to.equal(0);
      const { '.gitignore': gitignore, 'package.json': manifest, ...kept } = files;
      for (const [path, text] of Object.entries(kept)) expect(await folder.read(path), path).to.equal(text);
      expect(await folder.read('.gitignore')).to.equal(`${gitignore}\r\n.etl/\r\n`);
      expect(await folder.read('package.json')).to.equal(manifest.replace('{\n', '{\n\t"type": "module",\n'));
      expect(await folder.list()).to.deep.equal(Object.keys(files).toSorted());
      expect(stdout)
        .to.match(/^kept +etl\.config\.mjs$/m)
        .and.to.match(/^added lines to +\.gitignore +\.etl\/$/m);
      const again = await folder.etl('init');
      expect(again.stdout).to.not.match(/^(?:created|added)/m);
      expect(await folder.read('package.json')).to.equal(manifest.replace('{\n', '{\n\t"type": "module",\n'));
    });

    it('keeps its own files and does not follow links that lead nowhere', async () => {
      const folder = await createFolder();
      await symlink('/none/of/these', join(folder.directory, 'tsconfig.json'));
      const { code, stdout } = await folder.etl('init');
      expect(code).to.equal(0);
      expect(stdout).to.match(/^kept +tsconfig\.json$/m);
    });

    const TYPES: readonly (readonly [title: string, files: Files, config: string, manifest: string])[] = [
      ['an empty package.json', { 'package.json': '{}' }, 'etl.config.ts', '{\n  "type": "module"\n}\n'],
      [
        'a package.json that npm has written',
        { 'package.json': '{\n  "dependencies": {}\n}\n' },
        'etl.config.ts',
        '{\n  "type": "module",\n  "dependencies": {}\n}\n',
      ],
      [
        'ES modules without a type',
        { 'package.json': '{ "name": "a" }', 'a.js': 'export {};' },
        'etl.config.ts',
        '{\n  "type": "module",\n  "name": "a" }',
      ],
      ['a type', { 'package.json': '{"type":"module"}' }, 'etl.config.ts', '{"type":"module"}'],
      [
        'CommonJS by its type',
        { 'package.json': '{"type":"commonjs"}' },
        'etl.config.mts',
        '{"type":"commonjs"}',
      ],
      ['CommonJS code', { 'package.json': '{}', 'src/a.js': 'module.exports = 1;' }, 'etl.config.mts', '{}'],
      [
        'TypeScript that is compiled to CommonJS',
        { 'package.json': '{}', 'src/a.ts': '' },
        'etl.config.mts',
        '{}',
      ],
    ];
    for (const [title, files, config, manifest] of TYPES)
      it(`does not change how the code of the project is read: ${title}`, async () => {
        const folder = await createFolder(files);
        const { code, stderr } = await folder.etl('init');
        expect(code, stderr).to.equal(0);
        expect(await folder.list()).to.include(config);
        expect(await folder.read('package.json')).to.equal(manifest);
        expect((await folder.etl('list')).stdout).to.match(/^shop\b/m);
      });

    it('names the file that it can not write, and keeps the others', async () => {
      const folder = await createFolder({ data: 'a file in the place of the folder' });
      const { code, stderr } = await folder.etl('init');
      expect(code).to.equal(2);
      expect(stderr).to.match(/^ETL-2019 .*data\/orders\.csv/);
      expect(await folder.read('data')).to.equal('a file in the place of the folder');
    });
  });

  const MANAGERS: readonly (readonly [title: string, files: Files, install: string, start: string])[] = [
    ['no lockfile', {}, 'npm i -D @electric-sql/pglite', 'npx etl run shop'],
    ['npm', { 'package-lock.json': '{}' }, 'npm i -D @electric-sql/pglite', 'npx etl run shop'],
    ['pnpm', { 'pnpm-lock.yaml': '' }, 'pnpm add -D @electric-sql/pglite', 'pnpm exec etl run shop'],
    ['yarn 1', { 'yarn.lock': '' }, 'yarn add -D @electric-sql/pglite', 'yarn exec etl -- run shop'],
    ['bun', { 'bun.lock': '{}' }, 'bun add -d @electric-sql/pglite', 'bun x etl run shop'],
    [
      'the field packageManager',
      { 'package.json': '{ "packageManager": "pnpm@10.1.0" }' },
      'pnpm add -D @electric-sql/pglite',
      'pnpm exec etl run shop',
    ],
  ];
  for (const [title, files, install, start] of MANAGERS)
    it(`names the commands of the package manager that the project uses: ${title}`, async () => {
      const folder = await createFolder(files, false);
      const { next } = JSON.parse((await folder.etl('init --json')).stdout);
      const commands = next.map(({ command }: { command: string }) => command);
      expect(commands.slice(1)).to.deep.equal([install, start]);
      expect(commands[0]).to.match(/@oneshot\/etl$/);
    });

  describe('on a terminal', () => {
    /**
     * Runs `etl init` on a pseudo-terminal of util-linux's `script`, and sends each answer when its question has been
     * printed.
     */
    async function ask(
      folder: Folder,
      answers: readonly (readonly [question: RegExp, keys: string])[],
      args = '',
    ): Promise<{ code: number | null; shown: string }> {
      const program = join(packages, '@oneshot/etl/bin/run.js');
      // A new pseudo-terminal has no width, and the question would have one letter a line.
      const command = `stty cols 120 rows 40; "${process.execPath}" "${program}" init ${args}`;
      const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
        cwd: folder.directory,
        env: { PATH: process.env['PATH'], HOME: root, TERM: 'xterm', SHELL: '/bin/sh', SHOP_URL: url },
        timeout: 60_000,
      });
      let shown = '';
      const left = [...answers];
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        shown += text;
        const [next] = left;
        if (next === undefined || !next[0].test(shown)) return;
        left.shift();
        child.stdin.write(next[1]);
      });
      const [code] = (await once(child, 'close')) as [number | null];
      child.stdin.end();
      return { code, shown };
    }
    const DOWN = '\u001b[B';

    it('asks where the database is, and takes the first answer with Enter', async () => {
      const folder = await createFolder();
      const { code, shown } = await ask(folder, [[/Where is the database\?[\s\S]*another server/, '\r']]);
      expect(code, shown).to.equal(0);
      expect(await folder.read('etl.config.ts')).to.include(`'pglite:.etl/db'`);
    });

    it('asks for the variable of another server', async () => {
      const folder = await createFolder();
      const { code, shown } = await ask(folder, [
        [/Where is the database\?[\s\S]*another server/, `${DOWN}\r`],
        [/Which variable has the URL\?/, 'SHOP_URL\r'],
      ]);
      expect(code, shown).to.equal(0);
      expect(shown).to.not.include(encodeURIComponent(PASSWORD));
      expect(await folder.read('etl.config.ts')).to.include(`process.env['SHOP_URL']`);
    });

    it('writes nothing and exits with 130 after Ctrl-C', async () => {
      const folder = await createFolder();
      const { code, shown } = await ask(folder, [[/Where is the database\?[\s\S]*another server/, '\u0003']]);
      expect(code, shown).to.equal(130);
      expect(shown).to.include('cancelled: nothing was written');
      expect(await folder.list()).to.deep.equal([]);
    });

    for (const args of ['--yes', '--embedded', '--url-from SHOP_URL'])
      it(`asks nothing with ${args}`, async () => {
        const folder = await createFolder();
        const { code, shown } = await ask(folder, [], args);
        expect(code, shown).to.equal(0);
        expect(shown).to.not.include('Where is the database');
      });
  });
});
