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

  it('stores nothing if the last statement fails, and shows the failed statement', async () => {
    const { tasks } = await run({
      sql: [`insert into t values ('x', 1)`, `insert into t values ('y', 'nonsense')`],
    });
    expect(tasks[0]?.error?.where).to.match(/insert into t values \('y', 'nonsense'\)\n\s+\^/);
    expect(await rows()).to.deep.equal([]);
  });
});
