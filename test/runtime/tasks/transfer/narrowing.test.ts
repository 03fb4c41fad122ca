import { expect } from 'chai';
import { dag } from '../../../../src/runtime/dag/dag.js';
import type { TransferSource } from '../../../../src/runtime/tasks/transfer/transfer-task.js';
import { createDatabase, type TestDatabase } from '../../../support/database.js';
import { runOn } from '../../../support/run.js';

/** Types of the source and of the target, a value that the target keeps, and values that it would change. */
const PAIRS: readonly (readonly [source: string, target: string, kept: string, changed: readonly string[]])[] = [
  ['numeric', 'numeric(10,2)', '1.50', ['1.2345', '-0.001', '0.005']],
  ['numeric(10,4)', 'numeric(10,2)', 'NaN', ['1.2345']],
  ['numeric', 'numeric(5,-2)', '1200', ['1234']],
  ['numeric', 'price', '1.5', ['1.2345']],
  ['price', 'numeric(10,1)', '1.5', ['1.25']],
  ['numeric[]', 'numeric(10,2)[]', '{1.5,NULL}', ['{1.5,1.234}']],
  ['timestamp', 'timestamp(0)', '2026-05-01 10:00:00', ['2026-05-01 10:00:00.6']],
  ['timestamptz', 'timestamptz(3)', '2026-05-01 10:00:00.123+00', ['2026-05-01 10:00:00.1234+00']],
  ['timestamptz', 'timestamp(0)', '2026-05-01 10:00:00+00', ['2026-05-01 10:00:00.5+00']],
  ['time', 'time(1)', '10:00:00.1', ['10:00:00.15']],
  ['timetz', 'timetz(0)', '10:00:00+05', ['10:00:00.5+05']],
  ['interval', 'interval(0)', '1 day 00:00:01', ['1 day 00:00:01.5']],
  ['interval', 'interval year to month', '1 year 2 mons', ['1 year 2 mons 3 days']],
  ['text', 'varchar(3)', 'abc', ['abc ', 'abcd']],
  ['varchar(10)', 'varchar(3)', '  a', ['a      ']],
  ['text', 'char(3)', 'ab', ['ab ']],
  ['char(10)', 'char(3)', 'ab', ['abcd']],
  ['text', 'name', 'a', ['a'.repeat(64)]],
  ['text', '"char"', 'a', ['ab']],
  ['text', 'numeric(10,2)', '1.5', ['1.234']],
  ['text', 'timestamp(0)', '2026-05-01 10:00', ['2026-05-01 10:00:00.6']],
  ['int8', 'float8', '9007199254740992', ['9007199254740993', '-9007199254740993']],
  ['numeric', 'float8', '0.1', ['12345678901234567890.5']],
  ['int4', 'float4', '16777216', ['16777217']],
  ['float8', 'float4', '0.1', ['0.123456789']],
  ['float8', 'numeric(10,2)', '0.25', ['0.1234']],
  ['timestamp', 'date', '2026-05-01', ['2026-05-01 10:00']],
  ['timestamptz', 'date', '2026-05-01 00:00+00', ['2026-05-01 00:00+02']],
  ['timetz', 'time', '10:00+00', ['10:00+05']],
  ['numeric', 'money', '1.25', ['1.234']],
  ['int8[]', 'float8[]', '{1,NULL}', ['{9007199254740993}']],
  ['float8[]', 'money[]', '{1.25}', ['{1,1.234}']],
  ['text[]', 'varchar(2)[]', '{ab}', ['{"ab "}']],
  ['text[]', 'numeric(10,2)[]', '{1.25}', ['{1.234}']],
  ['int4', 'oid', '5', ['-1']],
]; // prettier-ignore

describe('a transfer to a narrower type', () => {
  let from: TestDatabase;
  let to: TestDatabase;
  before(async () => {
    [from, to] = await Promise.all([createDatabase(), createDatabase()]);
    for (const db of [from, to]) await db.query('create domain price as numeric(10,2)');
    await from.query('set TimeZone to UTC');
    await to.query('set TimeZone to UTC');
  });
  after(() => Promise.all([from.drop(), to.drop()]));

  async function transfer(options: Partial<TransferSource>) {
    const graph = dag('d', { defaults: { conn: 'to' } }, (d) => {
      d.transfer('t', { from: 'from', into: 'w', mode: 'append', ...options });
    });
    return (await runOn({ from: from.url, to: to.url }, graph)).tasks[0];
  }

  for (const [source, target, kept, changed] of PAIRS) {
    it(`from ${source} to ${target} keeps ${kept}, and refuses ${changed.join(' and ').slice(0, 60)}`, async () => {
      await from.query(`drop table if exists v; create table v (id int, v ${source})`);
      await from.query(`insert into v values (1, $1::text::${source}), (2, null)`, [kept]);
      await to.query(`drop table if exists w; create table w (id int, v ${target})`);
      expect((await transfer({ table: 'v' }))?.error).to.equal(undefined);
      const [stored] = await to.query('select v::text from w where id = 1');
      const [read] = await from.query(
        `select v::text${target === 'price' ? '::price' : `::${target}`}::text as v from v where id = 1`,
      );
      expect(stored).to.deep.equal(read);
      expect(await to.query('select v from w where id = 2')).to.deep.equal([{ v: null }]);
      for (const value of changed) {
        await to.query('truncate w');
        await from.query(`update v set v = $1::text::${source} where id = 1`, [value]);
        for (const options of [{ table: 'v' }, { query: 'select * from v' }]) {
          const task = await transfer(options);
          expect(task?.error, value).to.include({ code: 'ETL-3532' });
          expect(task?.error?.message).to.equal('table "w" would change a value of column "v"');
          expect(await to.query('select id from w')).to.deep.equal([]);
        }
      }
    });
  }

  it('names the types, and how to let PostgreSQL round', async () => {
    await from.query(
      'drop table if exists v; create table v (id int, v numeric(10,4)); insert into v values (1, 1.2345)',
    );
    await to.query('drop table if exists w; create table w (id int, v numeric(10,2))');
    const error = (await transfer({ table: 'v' }))?.error;
    expect(error?.why).to.equal('the column is numeric(10,4) in "from", but numeric(10,2) in the table');
    expect(error?.fix).to.include('select …, "v"::numeric(10,2) as "v"');
    expect((await transfer({ query: 'select id, "v"::numeric(10,2) as "v" from v' }))?.error).to.equal(
      undefined,
    );
    expect(await to.query('select v from w')).to.deep.equal([{ v: '1.23' }]);
  });

  it('reads constants, and leaves other errors of the query as they are', async () => {
    await to.query('drop table if exists w; create table w (id int, v numeric(10,2))');
    expect((await transfer({ query: 'select 1 as id, 1.50 as v' }))?.error).to.equal(undefined);
    expect((await transfer({ query: `select 1 as id, 1.234 as v` }))?.error).to.include({ code: 'ETL-3532' });
    const task = await transfer({
      query: `select 1 as id, (1 / (i - 1))::numeric as v from generate_series(1, 1) i`,
    });
    expect(task?.error?.why).to.include('division by zero');
  });
});
