import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { COMMANDS } from '../src/commands/index.js';
import { EtlCommand } from '../src/command.js';
import type { EtlError } from '../src/errors.js';
import { dag } from '../src/index.js';
import { createProject, ROOT } from './support/cli.js';
import { createDatabase } from './support/database.js';

for (const name of [
  'guarantees',
  'notifications',
  'transfer',
  'unloading',
  'loading',
  'values',
  'library',
  'testing',
  'deploy',
  'connections',
  'one-liners',
]) {
  describe(`docs/${name}.md`, () => {
    it('names only tests that exist', async () => {
      const text = await readFile(join(ROOT, `docs/${name}.md`), 'utf8');
      const named = [...text.matchAll(/\(\s*(test\/[\w./-]+): "([^"]+)"\s*\)/g)];
      expect(named.length).to.be.greaterThan(3);
      for (const [, file = '', title = ''] of named) {
        const source = (await readFile(join(ROOT, file), 'utf8')).replace(/\$\{fault\}/g, 'answer lost');
        expect(
          source.includes(title.replaceAll('\n', ' ').replace(/ +/g, ' ')),
          `${file} has a test "${title}"`,
        ).to.equal(true);
      }
    });
  });
}

describe('docs/orm.md', () => {
  it('has an example with Kysely and Drizzle that runs', async () => {
    const text = await readFile(join(ROOT, 'docs/orm.md'), 'utf8');
    const example = /^```ts run\n([\s\S]*?)^```$/m.exec(text)?.[1] ?? '';
    await using db = await createDatabase();
    await using project = await createProject({ 'etl.config.ts': example });
    await db.query('create table orders (id int primary key, total int)');
    const { code, stderr } = await project.cli(['run', 'shop'], { DATABASE_URL: db.url });
    expect(code, stderr).to.equal(0);
    expect(await db.query('select * from orders')).to.deep.equal([{ id: 1, total: 51 }]);
  });
});

describe('docs/incremental.md', () => {
  let text: string;
  before(async () => (text = await readFile(join(ROOT, 'docs/incremental.md'), 'utf8')));

  /** Returns the code block with this language and name. */
  function block(info: string): string {
    const found = [...text.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].filter(([, name]) => name === info);
    expect(found, `blocks of \`${info}\``).to.have.lengthOf(1);
    return found[0]?.[2] ?? '';
  }

  it('has an example that reads both orders, then the orders that came since, and shows the watermark', async () => {
    await using db = await createDatabase();
    await using project = await createProject({ 'etl.config.ts': block('ts run') });
    await db.query(block('sql setup'));
    const etl = async (...args: string[]) => {
      const { code, stdout, stderr } = await project.cli(args, { DATABASE_URL: db.url });
      expect(code, stderr).to.equal(0);
      return stdout;
    };
    const rowsOf = async () => JSON.parse(await etl('run', 'shop', '--json')).tasks[0].rows;
    expect(await rowsOf()).to.equal(2);
    await db.query(
      `insert into orders values (3, 5); update orders set total = 60, updated_at = now() where id = 1`,
    );
    expect(await rowsOf()).to.equal(2);
    expect(await rowsOf()).to.equal(0);
    const totals = await db.query('select id, total from order_total order by id');
    expect(totals).to.deep.equal([
      { id: 1, total: '60' },
      { id: 2, total: '150' },
      { id: 3, total: '5' },
    ]);
    const value = (await etl('state', 'get', 'shop', 'totals', 'updated_at')).trim();
    const [current = '', history = ''] = block('sql watermarks').split('\n');
    expect((await db.query(current))[0]).to.include({ task_id: 'totals', value });
    expect(await db.query(history)).to.have.lengthOf(3);
  });

  it('has an example that copies all orders from another database, then only new and changed orders', async () => {
    await using db = await createDatabase();
    await using shop = await createDatabase();
    await using project = await createProject({ 'etl.config.ts': block('ts transfer') });
    for (const each of [shop, db]) await each.query(block('sql setup'));
    await db.query('truncate orders');
    for (const rows of [2, 2, 0]) {
      const urls = { DATABASE_URL: db.url, ETL_CONN_SHOP: shop.url };
      const { code, stdout, stderr } = await project.cli(['run', 'mirror', '--json'], urls);
      expect(code, stderr).to.equal(0);
      expect(JSON.parse(stdout).tasks[0].rows).to.equal(rows);
      if (rows > 0)
        await shop.query(`insert into orders values (3, 5) on conflict do nothing;
          update orders set total = 60, updated_at = now() where id = 1 and total <> 60`);
    }
    const orders = 'select * from orders order by id';
    expect(await db.query(orders)).to.deep.equal(await shop.query(orders));
  });

  it('has an example of a task with its own watermark', async () => {
    await using db = await createDatabase();
    await using project = await createProject({ 'etl.config.ts': block('ts session') });
    await db.query('create table contact (name text)');
    for (let i = 0; i < 2; i++) await project.cli(['run', 'crm'], { DATABASE_URL: db.url });
    expect(await db.query('select name from contact')).to.deep.equal([
      { name: 'from page 1' },
      { name: 'from page 2' },
    ]);
  });

  it('names only commands, flags and error codes that exist', async () => {
    const commands = Object.keys(COMMANDS).map((id) => id.replace(':', ' '));
    for (const [, words = ''] of text.matchAll(/etl ((?:state )?[a-z]+)/g))
      expect(commands).to.include(words);
    const own = Object.values(COMMANDS).flatMap((command) => Object.keys(command.flags ?? {}));
    const flags = [...Object.keys(EtlCommand.baseFlags), ...own];
    for (const [, flag] of text.matchAll(/--([a-z][a-z-]+)/g)) expect(flags).to.include(flag);
    const surface = await readFile(join(ROOT, 'test/fixtures/surface.json'), 'utf8');
    for (const [code] of text.matchAll(/ETL-\d{4}/g)) expect(surface).to.include(`"${code}"`);
  });
});

describe('docs/loading.md', () => {
  let text: string;
  before(async () => (text = await readFile(join(ROOT, 'docs/loading.md'), 'utf8')));

  it('has an example that loads, changes and rejects the rows that it says', async () => {
    const [, config = ''] = /^```ts run\n([\s\S]*?)^```$/m.exec(text) ?? [];
    await using db = await createDatabase();
    await using project = await createProject({
      'etl.config.ts': config,
      'in/monday.csv': 'id,total\n1,50\n2,150\n',
      'in/tuesday.csv': 'total,id\n99,2\n1,3\nnonsense,4\n',
    });
    await db.query('create schema staging');
    await db.query('create table staging.orders (id int primary key, total numeric not null)');
    await db.query('insert into staging.orders values (1, 40)');
    const { code, stderr } = await project.cli(['run', 'nightly'], { DATABASE_URL: db.url });
    expect(code, stderr).to.equal(0);
    expect(stderr).to.include('2 new, 1 changed, 2 rejected');
    expect(await db.query('select file, line::int from staging.rejects order by line')).to.deep.equal([
      { file: 'in/tuesday.csv', line: 2 },
      { file: 'in/tuesday.csv', line: 4 },
    ]);
  });

  it('names every option', () => {
    for (const option of [...optionsOf('load', {}), ...optionsOf('load', { csv: { nonsense: 1 } })])
      expect(text).to.include(`\`${option}\``);
  });
});

/** Returns the options that the error about an unknown option names, without the options of all tasks. */
function optionsOf(kind: 'load', options: object): readonly string[] {
  const common = namedBy(() => dag('d', {}, (d) => void d.sql('s', { nonsense: 1, sql: '' } as object)));
  const own = namedBy(() => dag('d', {}, (d) => void d[kind]('t', { ...options, nonsense: 1 } as never)));
  return own.filter((each) => !common.includes(each));
}

function namedBy(define: () => unknown): readonly string[] {
  try {
    define();
  } catch (error) {
    return ((error as EtlError).fix ?? '').replace('the options are ', '').split(', ');
  }
  throw new Error('an option that does not exist was taken');
}

describe('docs/one-liners.md', () => {
  it('has commands that run in an empty folder as they are typed', async () => {
    const text = await readFile(join(ROOT, 'docs/one-liners.md'), 'utf8');
    const [, lines = ''] = /^```sh run\n([\s\S]*?)^```$/m.exec(text) ?? [];
    await using shop = await createDatabase();
    await using warehouse = await createDatabase();
    await warehouse.query('create table orders (id bigint primary key, total bigint)');
    await using project = await createProject({
      'orders.csv': 'id,total\n1,50\n2,\n3,150\n',
      etl: `#!/bin/sh\nexec '${process.execPath}' '${join(ROOT, 'bin/run.js')}' "$@"\n`,
    });
    await chmod(join(project.directory, 'etl'), 0o755);
    const env = {
      PATH: `${project.directory}:${process.env['PATH']}`,
      HOME: project.directory,
      ETL_CONN_SHOP: shop.url,
      ETL_CONN_WAREHOUSE: warehouse.url,
    };
    const options = { cwd: project.directory, env, timeout: 100_000 };
    const { stdout } = await promisify(execFile)('/bin/sh', ['-ec', lines], options);
    for (const id of ['load.orders', 'sql.', 'unload.out-large.csv-', 'transfer.orders'])
      expect(stdout).to.include(`  ${id}`);
    expect(await readFile(join(project.directory, 'out/large.csv'), 'utf8')).to.equal('id,total\n3,150\n');
    expect(await warehouse.query('select id::int, total::int from orders order by id')).to.deep.equal([
      { id: 1, total: 50 },
      { id: 2, total: 0 },
      { id: 3, total: 150 },
    ]);
  });
});

describe('docs/library.md', () => {
  it('has a program that runs a Dag and prints what it shows', async () => {
    const text = await readFile(join(ROOT, 'docs/library.md'), 'utf8');
    const [, code = ''] = /^```ts run\n([\s\S]*?)^```$/m.exec(text) ?? [];
    const [, output] = /^```text run\n([\s\S]*?)^```$/m.exec(text) ?? [];
    await using db = await createDatabase();
    await using project = await createProject({ 'program.ts': code });
    const env = { ...process.env, DATABASE_URL: db.url, TSX_TSCONFIG_PATH: join(ROOT, 'tsconfig.json') };
    const args = ['--import', 'tsx', join(project.directory, 'program.ts')];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT, env, timeout: 60_000 });
    expect(stdout).to.equal(output);
  });
});
