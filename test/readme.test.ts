import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile, mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { COMMANDS } from '../src/commands/index.js';
import { EtlCommand } from '../src/command.js';
import { EXIT } from '../src/errors.js';
import { getSignalExitCode } from '../src/commands/run/guard.js';
import { dag } from '../src/index.js';
import { DagBuilder } from '../src/runtime/dag/dag.js';
import { getEffect } from '../src/runtime/tasks/task-body.js';
import { createProject, ROOT } from './support/cli.js';
import { createDatabase } from './support/database.js';
import { installPackages, pack } from './support/packed.js';

const run = promisify(execFile);

describe('the README', () => {
  let text: string;
  let manifest: { readonly scripts: Record<string, string>; readonly engines: { readonly node: string } };

  before(async () => {
    text = await readFile(join(ROOT, 'README.md'), 'utf8');
    manifest = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  });

  /** Returns the code block with this language and name. */
  function block(info: string): string {
    const found = [...text.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].filter(([, name]) => name === info);
    expect(found, `blocks of \`${info}\``).to.have.lengthOf(1);
    return found[0]?.[2] ?? '';
  }

  /** Returns the rows of the table with this first column, without backquotes. */
  function table(firstColumn: string): string[][] {
    const [, body = ''] = text.split(new RegExp(`^\\| ${firstColumn} +\\|.*\\n\\|[ -|]+\\|\\n`, 'm'));
    const rows = body.slice(0, body.search(/\n(?!\|)/)).split('\n');
    return rows.map((row) =>
      row
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim().replaceAll('`', '')),
    );
  }

  describe('its first example', () => {
    it('loads the orders, counts them with a model, writes the report, and checks the report', async () => {
      await using db = await createDatabase();
      await using project = await createProject({
        'etl.config.ts': block('ts run'),
        'orders.csv': 'id,total\n1,50\n2,150\n3,250\n',
      });
      await db.query('create table orders (id int primary key, total numeric not null)');
      await db.query('insert into orders values (9, 900)');
      await db.query('create table report (made_at timestamptz not null, orders int not null)');
      const { code, stdout, stderr } = await project.cli(['run', 'monthly'], { DATABASE_URL: db.url });
      expect({ code, stdout }, stderr).to.deep.equal({ code: 0, stdout: '' });
      expect(await db.query('select orders from report')).to.deep.equal([{ orders: 2 }]);
      expect(await db.query(`select result from etl.task where task_id = 'count-big'`)).to.deep.equal([
        { result: { orders: 2, of: 3 } },
      ]);
    });

    it('commits no report without orders', async () => {
      await using db = await createDatabase();
      await using project = await createProject({
        'etl.config.ts': block('ts run'),
        'orders.csv': 'id,total\n1,50\n',
      });
      await db.query('create table orders (id int primary key, total numeric not null)');
      await db.query('create table report (made_at timestamptz not null, orders int not null)');
      const { code, stderr } = await project.cli(['run', 'monthly'], { DATABASE_URL: db.url });
      expect(code, stderr).to.equal(3);
      expect(await db.query('select from report')).to.deep.equal([]);
    });

    it('passes the type checker with the strict options of our own code', async () => {
      await using project = await createProject({
        'etl.config.ts': block('ts run'),
        'tsconfig.json': JSON.stringify({
          extends: join(ROOT, 'tsconfig.json'),
          compilerOptions: { types: ['node'] },
          include: ['etl.config.ts'],
          exclude: [],
        }),
      });
      const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
      const checked = run(process.execPath, [tsc, '-p', project.directory]);
      await checked.catch((error: unknown) => expect.fail((error as { stdout: string }).stdout));
    });
  });

  describe('the installation', () => {
    it('takes three commands in an empty folder, which print what the README shows', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'etl-readme-'));
      try {
        const { tarball } = await pack(folder);
        const [install = '', init = '', first = ''] = block('sh install').trim().split('\n');
        const directory = join(folder, 'shop');
        await mkdir(directory);
        expect(install).to.match(/^npm install @oneshot\/etl /);
        const words = install.replace('@oneshot/etl', tarball).split(' ').slice(2);
        await installPackages(directory, words);
        const etl = (command: string): Promise<{ stdout: string; stderr: string }> => {
          const [program, name, ...args] = command.split(' ');
          expect([program, name]).to.deep.equal(['npx', 'etl']);
          const env = { PATH: process.env['PATH'], HOME: folder };
          return run(join(directory, 'node_modules/.bin/etl'), args, {
            cwd: directory,
            env,
            timeout: 60_000,
          });
        };
        expect((await etl(init)).stdout).to.equal(block('text init'));
        expect(shape((await etl(first)).stderr)).to.deep.equal(shape(block('text run')));
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });
  });

  describe('the first look', () => {
    const places: readonly [title: string, options: (place: string) => Start][] = [
      ['in a PostgreSQL inside the process', (place) => ({ args: ['--conn', `warehouse=pglite:${place}`] })],
      ['on a server', (place) => ({ args: [], env: { ETL_CONN_WAREHOUSE: place } })],
    ];
    for (const [title, options] of places) {
      it(`prints the output that the README shows, ${title}`, async () => {
        await using place = title === 'on a server' ? await serverPlace() : await folderPlace();
        const printed = await start(manifest.scripts['start'] ?? '', options(place.url));
        expect(shape(printed)).to.deep.equal(shape(block('text')));
      });
    }

    it('needs one command, which builds the program first', () => {
      expect(block('sh main').trim()).to.equal('npm ci && npm start');
      expect(manifest.scripts['prestart']).to.equal('npm run --silent build');
    });

    it('names the oldest Node that the package allows', () => {
      expect(text).to.include(`Node ${manifest.engines.node.replace('>=', '')} or later`);
    });
  });

  it('names the command for the tests that CI runs', async () => {
    const ci = await readFile(join(ROOT, '.ci/run'), 'utf8');
    expect(ci).to.match(new RegExp(`^${block('sh tests').trim()} `, 'm'));
    expect(manifest.scripts).to.include({ test: 'mocha', pretest: 'npm run --silent build' });
  });

  it('lists every exit code, and no other', () => {
    const codes = table('exit code').flatMap(([cell = '']) => cell.split(', ').map(Number));
    const signals = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map(getSignalExitCode);
    expect(codes).to.deep.equal([...Object.values(EXIT), ...signals]);
  });

  it('lists every kind of task, with exactly once or at least once', () => {
    const rows = table('kind').map(([kind = '', , runs]) => [/^d\.(\w+)\(/.exec(kind)?.[1], runs]);
    const methods = Object.getOwnPropertyNames(DagBuilder.prototype).filter((name) => name !== 'constructor');
    const { tasks } = dag('all', { defaults: { conn: 'db' } }, (d) => {
      d.session('session', {}, async () => null);
      d.sql('sql', { sql: 'select 1' });
      d.load('load', { from: 'a.csv', into: 'a', mode: 'append' });
      d.unload('unload', { table: 'a', to: 'a.csv' });
      d.transfer('transfer', { from: 'other', table: 'a', into: 'a', mode: 'append' });
      d.task('task', {}, async () => null);
    });
    const kinds = tasks.map(({ kind, body }) => [kind, getEffect(body)]);
    expect(rows).to.deep.equal(kinds);
    expect(methods).to.have.members(kinds.map(([kind]) => kind));
  });

  it('names every option of a task', async () => {
    const rows = table('option');
    const { options } = JSON.parse(await readFile(join(ROOT, 'test/fixtures/surface.json'), 'utf8'));
    expect(rows.filter(([, tasks]) => tasks === 'all').map(([name]) => name)).to.have.members(options.task);
    expect(rows.map(([name]) => name)).to.have.members(options.session);
  });

  it('names only flags and commands that exist', () => {
    const own = Object.values(COMMANDS).flatMap((command) => Object.keys(command.flags ?? {}));
    const flags = [...Object.keys(EtlCommand.baseFlags), ...own];
    // The other program that the README calls is the compiler.
    const ours = text.replaceAll('tsc --noEmit', '');
    for (const [, flag] of ours.matchAll(/--([a-z][a-z-]+)/g)) expect(flags).to.include(flag);
    const commands = Object.keys(COMMANDS).map((id) => id.replace(':', ' '));
    for (const [, words = ''] of text.matchAll(/(?:`|bin\/)etl ((?:connections )?[a-z]+)/g)) {
      expect(commands).to.include(words);
    }
  });

  it('has no broken link', () => {
    const links = [...text.matchAll(/\]\(([^)]+)\)/g)].map(([, link = '']) => link);
    const broken = links.filter((link) => !/^https?:/.test(link) && !existsSync(join(ROOT, link)));
    expect(links).to.not.deep.equal([]);
    expect(broken).to.deep.equal([]);
  });
});

interface Start {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs the command of `npm start` without the build. Returns its output on stderr. */
async function start(script: string, { args, env }: Start): Promise<string> {
  const [program, ...words] = script.split(' ');
  expect(program).to.equal('node');
  const child = execFile(process.execPath, [...words, ...args], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], HOME: ROOT, ...env },
    timeout: 100_000,
  });
  let printed = '';
  child.stderr?.on('data', (text: string) => (printed += text));
  const [code] = await once(child, 'close');
  expect(code, printed).to.equal(0);
  return printed;
}

/**
 * Replaces the parts of a run's output that differ from run to run, and sorts the lines, because tasks that run at the
 * same time end in any order.
 */
function shape(printed: string): string[] {
  return printed
    .trimEnd()
    .replaceAll(/\b\d{8}T\d{6}Z-[0-9a-f]{8}\b/g, '<run>')
    .replaceAll(/\b[\d.]+m?s\b/g, '<time>')
    .replaceAll(/\((?:pglite|postgres):.*\)/g, '<place>')
    .split('\n')
    .toSorted((a, b) => (a < b ? -1 : 1));
}

interface StartPlace extends AsyncDisposable {
  readonly url: string;
}

async function serverPlace(): Promise<StartPlace> {
  const db = await createDatabase();
  return { url: db.url, [Symbol.asyncDispose]: () => db.drop() };
}

async function folderPlace(): Promise<StartPlace> {
  const folder = await mkdtemp(join(tmpdir(), 'etl-readme-'));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  return { url: join(folder, 'new/data'), [Symbol.asyncDispose]: remove };
}
