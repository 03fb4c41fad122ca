import { expect } from 'chai';
import { mkdtemp, rm, writeFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { dag } from '../../../src/runtime/dag/dag.js';
import { ROOT } from '../../support/cli.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

describe('a sql task', () => {
  let db: TestDatabase;
  let root: string;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (a text, b int)');
    await mkdir(join(ROOT, '.etl/test'), { recursive: true });
    root = await mkdtemp(join(ROOT, '.etl/test/sql-'));
  });
  after(async () => {
    await rm(root, { recursive: true });
    await db.drop();
  });
  beforeEach(() => db.query('truncate t'));

  type SqlOptions = Parameters<Parameters<Parameters<typeof dag>[2]>[0]['sql']>[1];
  const run = (options: SqlOptions, params: unknown = {}) =>
    runOn(
      { db: db.url },
      dag('d', { defaults: { conn: 'db' } }, (d) => void d.sql('s', options)),
      { root, params },
    );
  const rows = () => db.query('select a, b from t order by a, b');

  it('runs a text with many statements', async () => {
    const { tasks } = await run({
      sql: `insert into t values ('x', 1); insert into t values ('y', 2), ('z', 3)`,
    });
    expect(tasks[0]).to.include({ state: 'success', rows: 3 });
  });

  it('runs a list of statements in order, with bound values', async () => {
    await run({
      sql: [
        { text: 'insert into t values ($1, $2)', values: [`it's; drop table t`, 1] },
        'update t set b = b + 1',
      ],
    });
    expect(await rows()).to.deep.equal([{ a: `it's; drop table t`, b: 2 }]);
  });

  it('runs the SQL that a function returns', async () => {
    await run({ sql: ({ run: { taskId } }) => ({ text: 'insert into t values ($1, 1)', values: [taskId] }) });
    expect(await rows()).to.deep.equal([{ a: 's', b: 1 }]);
  });

  it('binds the names in a file to macros, params and values, but not in quotes, comments and casts', async () => {
    await writeFile(
      join(root, 'fill.sql'),
      `-- it's a comment; with :nothing
       insert into t values (:task_id || ':task_id', :minimum::int);
       insert into t select $$a;b$$, n from generate_series(1, :count) as n;`,
    );
    const { tasks } = await run({ file: 'fill.sql', values: () => ({ count: 2 }) }, { minimum: '7' });
    expect(tasks[0]?.error).to.equal(undefined);
    expect(await rows()).to.deep.equal([
      { a: 'a;b', b: 1 },
      { a: 'a;b', b: 2 },
      { a: 's:task_id', b: 7 },
    ]);
  });

  it('fails for a name in a file that has no value, and suggests the nearest name', async () => {
    await writeFile(join(root, 'wrong.sql'), 'select :minimun');
    const { tasks } = await run({ file: 'wrong.sql' }, { minimum: 1 });
    expect(tasks[0]?.error?.message).to.match(/minimun.*minimum/);
  });

  it('fails if the SQL file does not exist', async () => {
    const { tasks } = await run({ file: 'none.sql' });
    expect(tasks[0]?.error?.message).to.equal(`the SQL file "none.sql" can't be read`);
  });

  const failures: readonly [
    title: string,
    sql: string | Buffer,
    code: string,
    where: RegExp,
    message: RegExp,
  ][] = [
    [
      'an undefined column',
      'select 1;\n\nselect\n  nope,\n 1',
      'ETL-3001',
      /^f\.sql:4:3\n {2}nope,\n {2}\^/m,
      /nope/,
    ],
    [
      'an undefined column after names and emoji',
      `insert into t values (:task_id, 1);\nselect :task_id, '😀', :task_id, nope`,
      'ETL-3001',
      /^f\.sql:2:33\nselect :task_id, '😀', :task_id, nope\n {32}\^/m,
      /nope/,
    ],
    ['a violated constraint', 'select 1;\n insert into u values (1)', 'ETL-3001', /^f\.sql:2:2$/m, /unique/],
    ['a division by zero', '\nselect 1/0', 'ETL-3001', /^f\.sql:2:1$/m, /division/],
    ['a syntax error', 'select 1;\nselectt 2', 'ETL-3001', /^f\.sql:2:1$/m, /syntax/],
    ['an incomplete statement', 'select 1;\nselect (', 'ETL-3001', /^f\.sql:2:9$/m, /syntax/],
    [
      'a name without a value',
      'select 1;\nselect :nope',
      'ETL-3003',
      /^f\.sql:2:8\nselect :nope\n {7}\^$/,
      /:nope/,
    ],
    ["psql's quoted variable", "select :'task_id'", 'ETL-3003', /^f\.sql:1:8$/m, /psql/],
    ['a quote that does not end', "select 1;\nselect 'a", 'ETL-3002', /^f\.sql:2:8$/m, /does not end/],
    [
      'Latin-1 bytes',
      Buffer.from("select 1;\nselect 'Müller'", 'latin1'),
      'ETL-3009',
      /^f\.sql:2$/,
      /not UTF-8/,
    ],
    ['UTF-16', Buffer.from('\ufeffselect 1', 'utf16le'), 'ETL-3009', /^f\.sql:1$/, /not UTF-8/],
    ['a NUL character', 'select 1;\nselect \0', 'ETL-3002', /^f\.sql:2:8$/m, /NUL/],
    ...[
      '\\i other.sql',
      '\\set x 5',
      "\\copy t from 'f.csv'",
      '\\restrict abc',
      '\\connect other',
      '\\gset',
      '\\unknown',
      'select 1 \\gset',
      "copy t from stdin;\nit's\t1\n\\.",
      'COPY t (a, b) FROM STDIN WITH (FORMAT csv)',
      'copy t to stdout',
      'copy (select 1) to stdout',
      'copy (select stdin from stdout) to stdout (format csv)',
      'begin',
      'begin transaction',
      'commit',
      'end',
      'rollback',
      'abort',
      'start transaction',
      'commit and chain',
      `prepare transaction 'x'`,
      `commit prepared 'x'`,
    ].map((sql): (typeof failures)[number] => [
      JSON.stringify(sql),
      `select 1;\n${sql}`,
      'ETL-3010',
      /^f\.sql:2:\d+$/m,
      /can't run in a task$/,
    ]),
  ];
  for (const [title, sql, code, where, message] of failures) {
    it(`names the file, the line and the column of ${title} in a file`, async () => {
      await db.query('drop table if exists u; create table u (x int primary key); insert into u values (1)');
      await writeFile(join(root, 'f.sql'), sql);
      const { tasks } = await run({ file: 'f.sql' });
      const error = tasks[0]?.error;
      expect(error?.code).to.equal(code);
      expect(error?.where).to.match(where);
      expect(error?.message).to.match(message);
      expect(await rows()).to.deep.equal([]);
    });
  }

  it('runs what only looks like a command of psql, a COPY with the client or an end of the transaction', async () => {
    await writeFile(
      join(root, 'fine.sql'),
      `savepoint a; insert into t values ('lost', 0); rollback to a; rollback to savepoint a; release a;
       prepare begin as select 1; execute begin; deallocate begin;
       create temp table stdout (stdin text); insert into stdout values ('\\i x'), (E'\\\\');
       do $$ begin perform 1; end $$;
       insert into t select stdin, 1 from stdout; -- \\set x`,
    );
    const { tasks } = await run({ file: 'fine.sql' });
    expect(tasks[0]?.error).to.equal(undefined);
    expect(await rows()).to.have.length(2);
  });

  for (const sql of [
    'copy t to stdout',
    'copy t from stdin',
    `insert into t values ('x', 1); copy t to stdout`,
  ]) {
    it(`refuses ${sql} in code, because nobody moves its rows`, async () => {
      const { tasks } = await run({ sql });
      expect(tasks[0]?.error?.code).to.equal('ETL-3544');
      expect(await rows()).to.deep.equal([]);
    });
  }

  for (const sql of [
    'vacuum t',
    'create index concurrently on t (a)',
    'create database x',
    'drop database x',
  ]) {
    it(`says where ${sql} can run`, async () => {
      const { tasks } = await run({ sql });
      expect(tasks[0]?.error?.why).to.equal('SQLSTATE 25001, not possible in a transaction');
      expect(tasks[0]?.error?.fix).to.match(/`d\.task` on a client of your own/);
    });
  }

  it('stores nothing if the last statement fails, and shows the failed statement', async () => {
    const { tasks } = await run({
      sql: [`insert into t values ('x', 1)`, `insert into t values ('y', 'nonsense')`],
    });
    const { where, rowData } = tasks[0]?.error ?? {};
    expect(where).to.match(
      /written at \S+sql-task\.test\.ts:\d+:\d+\ninsert into t values \('…', '…'\)\n {27}\^$/,
    );
    expect(rowData).to.include(`statement: insert into t values ('y', 'nonsense')`);
    expect(await rows()).to.deep.equal([]);
  });
});
