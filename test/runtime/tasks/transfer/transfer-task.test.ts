import { expect } from 'chai';
import { join } from 'node:path';
import { dag } from '../../../../src/runtime/dag/dag.js';
import type { TransferSource } from '../../../../src/runtime/tasks/transfer/transfer-task.js';
import { createProject } from '../../../support/cli.js';
import { createDatabase, type TestDatabase } from '../../../support/database.js';
import { copyEmbeddedDatabase } from '../../../support/embedded.js';
import { runOn } from '../../../support/run.js';
import { tableOfValues, VALUES } from '../../values.js';

describe('a transfer task', () => {
  let from: TestDatabase;
  let to: TestDatabase;
  before(async () => {
    [from, to] = await Promise.all([createDatabase({ mayLeak: true }), createDatabase({ mayLeak: true })]);
    await from.query(`create table item (id int primary key, name varchar(20), at timestamptz);
      insert into item select i, 'name ' || i, timestamptz '2020-01-01 00:00:00+00' + i * interval '1 hour'
      from generate_series(1, 5000) i`);
  });
  after(() => Promise.all([from.drop(), to.drop()]));
  beforeEach(() =>
    to.query(`drop table if exists item; create table item (at timestamptz, name text, id int primary key)`),
  );

  type Options = Partial<TransferSource> & { readonly conn?: string };
  async function transfer(options: Options, urls: Record<string, string> = {}) {
    const graph = dag('d', { defaults: { conn: 'to' } }, (d) => {
      d.transfer('t', { from: 'from', into: 'item', mode: 'append', ...options });
    });
    const { tasks } = await runOn({ from: from.url, to: to.url, ...urls }, graph);
    expect(await from.leftSessions()).to.deep.equal([]);
    return tasks[0];
  }
  const items = (db: TestDatabase) => db.query('select id, name, at from item order by id');
  const result = async () =>
    (await to.query<{ result: object }>('select result from etl.task order by committed_at desc limit 1'))[0]
      ?.result;

  it('copies a table and matches its columns by name', async () => {
    const task = await transfer({ table: 'item' });
    expect(task?.error).to.equal(undefined);
    expect(task?.rows).to.equal(5000);
    expect(await items(to)).to.deep.equal(await items(from));
    expect(await result()).to.deep.include({ rows: 5000, inserted: 5000, updated: 0, deleted: 0 });
  });

  const queries: readonly [title: string, query: NonNullable<TransferSource['query']>][] = [
    ['a query', 'select name, id from item where id <= 10 -- the first;'],
    [
      'a query with values',
      { text: 'select name, id from item where id <= $1 and name <> $2', values: [10, "it's $1"] },
    ],
    [
      'a query from a function of the context',
      ({ params }) => `select name, id from item where id <= ${String((params as { n?: number }).n ?? 10)}`,
    ],
  ];
  for (const [title, query] of queries) {
    it(`copies the rows of ${title}`, async () => {
      const task = await transfer({ query });
      expect(task?.error).to.equal(undefined);
      expect(
        await to.query('select count(*)::int as n, max(id) as max, count(at)::int as at from item'),
      ).to.deep.equal([{ n: 10, max: 10, at: 0 }]);
    });
  }

  it('replaces the rows of the table', async () => {
    await to.query(`insert into item (id) values (1), (9999)`);
    expect((await transfer({ table: 'item', mode: 'replace' }))?.error).to.equal(undefined);
    expect(await items(to)).to.deep.equal(await items(from));
  });

  it('merges by a key, and deletes missing rows with `deleteMissing`', async () => {
    await to.query(`insert into item (id, name) values (1, 'other'), (9999, 'old')`);
    const merge = { table: 'item', mode: 'merge', key: ['id'], deleteMissing: true } as const;
    expect((await transfer(merge))?.error).to.equal(undefined);
    expect(await items(to)).to.deep.equal(await items(from));
    expect(await result()).to.deep.include({ rows: 5000, inserted: 4999, updated: 1, deleted: 1 });
  });

  it('reads a view, a partitioned table, and a table with its inheriting tables', async () => {
    await from.query(`create view seen as select * from item;
      create table parted (like item) partition by range (id);
      create table part partition of parted for values from (0) to (100000); insert into parted select * from item;
      create table parent (like item); create table child () inherits (parent); insert into child select * from item`);
    for (const table of ['seen', 'parted', 'parent']) {
      await to.query('truncate item');
      expect((await transfer({ table }))?.rows, table).to.equal(5000);
    }
  });

  it('leaves out a column that is generated on both sides, and copies a column that is generated only in `from`', async () => {
    const computed = 'create table made (id int, twice int generated always as (id * 2) stored)';
    await from.query(`${computed}; insert into made values (1)`);
    await to.query(`${computed}; create table kept (id int, twice int)`);
    for (const into of ['made', 'kept']) {
      expect((await transfer({ table: 'made', into }))?.error).to.equal(undefined);
      expect(await to.query(`select * from ${into}`)).to.deep.equal([{ id: 1, twice: 2 }]);
    }
  });

  const wrong: readonly [title: string, options: Options, code: string, what: RegExp][] = [
    [
      'a column that the table does not have',
      { query: 'select id, 1 as nme from item' },
      'ETL-3513',
      /"nme"; did you mean "name"/,
    ],
    [
      'a query without a column that the table needs',
      { query: 'select name from item' },
      'ETL-3514',
      /no column "id"/,
    ],
    [
      'two columns with the same name',
      { query: 'select id, id from item' },
      'ETL-3531',
      /two columns of the query are named "id"/,
    ],
    ['a value too many', { query: { text: 'select 1 as id', values: [1] } }, 'ETL-3602', /no parameters/],
    ['two queries', { query: 'select 1 as id; select 2 as id' }, 'ETL-3602', /^expected one query, got 2$/],
    ['a table to write that does not exist', { table: 'item', into: 'none' }, 'ETL-3511', /no table none/],
    ['a table to read that does not exist', { table: 'none' }, 'ETL-3511', /no table none/],
  ];
  for (const [title, options, code, what] of wrong) {
    it(`refuses ${title} before a row is sent`, async () => {
      await to.query(`insert into item (id) values (7)`);
      const task = await transfer({ mode: 'replace', ...options });
      expect(task?.error).to.include({ code });
      expect(task?.error?.message).to.match(what);
      expect(await to.query('select id from item')).to.deep.equal([{ id: 7 }]);
    });
  }

  it('can not write to the database `from`', async () => {
    await from.query('create sequence s');
    expect((await transfer({ query: `select nextval('s')::int as id` }))?.error?.why).to.include('25006');
  });

  it('stores nothing if the server refuses a row', async () => {
    const task = await transfer({
      query: `select id, null::timestamptz as at from item union all select 1, null`,
    });
    expect(task?.error?.why).to.include('23505');
    expect(await items(to)).to.deep.equal([]);
  });

  it('stores nothing if the query fails after some rows, and shows the error of the query', async () => {
    const task = await transfer({
      query: `select id / (4000 - id) * 0 + id as id from item order by item.id`,
    });
    expect(task?.error?.why).to.include('division by zero');
    expect(await items(to)).to.deep.equal([]);
  });

  it('stores nothing if the connection to `from` is lost', async () => {
    const task = await transfer({
      query: `select id from item where id < 4000 or pg_terminate_backend(pg_backend_pid())`,
    });
    expect(task?.state).to.equal('failed');
    expect(await items(to)).to.deep.equal([]);
  });

  it('reads all rows in one snapshot', async () => {
    const graph = dag('d', { defaults: { conn: 'to' } }, (d) => {
      d.transfer('t', {
        from: 'from',
        into: 'item',
        mode: 'append',
        query: `select i as id from generate_series(1, (select count(*)::int from item)) i`,
      });
    });
    expect((await runOn({ from: from.url, to: to.url }, graph)).outcome('t')).to.equal('success');
    expect(await to.query('select count(*)::int as n from item')).to.deep.equal([{ n: 5000 }]);
  });

  /** Settings of the database `from` that would change values in the text format. */
  const SETTINGS = [
    `DateStyle to 'SQL, DMY'`,
    `IntervalStyle to 'sql_standard'`,
    'extra_float_digits to 0',
    `bytea_output to 'escape'`,
  ];
  for (const zone of ['UTC', 'America/New_York', 'Asia/Kolkata', 'Pacific/Apia']) {
    it(`copies every value unchanged, in both formats, whatever the settings of the databases: ${zone}`, async () => {
      const { name } = from;
      for (const setting of [...SETTINGS, `TimeZone to '${zone}'`])
        await from.query(`alter database ${name} set ${setting}`);
      try {
        await from.query(
          `drop table if exists v; drop type if exists mood cascade; ${tableOfValues('v')}; create type mood as enum ('ok'); alter table v add mood mood`,
        );
        await to.query(
          `drop table if exists v, w; drop type if exists mood cascade; create type spacer as enum (); drop type spacer; create type mood as enum ('ok')`,
        );
        const columns = VALUES.map(([type], i) => `c${i} ${type}`).join(', ');
        await to.query(`create table v (${columns}, mood mood); create table w (${columns})`);
        const list = VALUES.map((_, i) => `c${i}`).join(', ');
        // The enum and regclass make the transfer use the text format.
        expect((await transfer({ table: 'v', into: 'v' }))?.error).to.equal(undefined);
        const binary = VALUES.flatMap(([type], i) => (type === 'regclass' ? [] : [`c${i}`])).join(', ');
        expect((await transfer({ query: `select ${binary} from v`, into: 'w' }))?.error).to.equal(undefined);
        const shown = async (db: TestDatabase, table: string, names: string) => {
          await db.query(
            `set DateStyle to 'ISO'; set IntervalStyle to 'postgres'; set TimeZone to 'UTC'; set extra_float_digits to 3; set bytea_output to 'hex'`,
          );
          return db.query(
            `select row_to_json(t)::text, t::text as record from (select ${names} from ${table}) t order by 1`,
          );
        };
        expect(await shown(to, 'v', list)).to.deep.equal(await shown(from, 'v', list));
        expect(await shown(to, 'w', binary)).to.deep.equal(await shown(from, 'v', binary));
      } finally {
        await from.query(`alter database ${name} reset all`);
      }
    });
  }

  it('converts between types with and without a time zone in UTC, whatever the zones of the databases are', async () => {
    await from.query(`alter database ${from.name} set TimeZone to 'Asia/Tokyo'`);
    await to.query(`alter database ${to.name} set TimeZone to 'America/New_York'`);
    try {
      await from.query(
        `drop table if exists z; create table z as select i as id, timestamptz '2026-05-01 22:00:00.5+00' + i * interval '91 days' as at from generate_series(1, 3) i`,
      );
      const conversions: readonly (readonly [source: string, target: string, expected: string])[] = [
        ['at', 'timestamp', `at at time zone 'UTC'`],
        [`at at time zone 'UTC'`, 'timestamptz', 'at'],
        [`(at at time zone 'UTC')::date`, 'timestamptz', `(at at time zone 'UTC')::date::timestamp at time zone 'UTC'`],
        ['at', 'text', `to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.FM') || trim(trailing '0' from to_char(at at time zone 'UTC', 'US')) || '+00'`],
        ['at::text', 'timestamptz', 'at'],
        ['array[at]', 'timestamp[]', `array[at at time zone 'UTC']`],
        ['tstzrange(at, null)', 'text', `'["' || to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.FM') || trim(trailing '0' from to_char(at at time zone 'UTC', 'US')) || '+00",)'`],
      ];
      for (const [source, target, wanted] of conversions) {
        await to.query(`drop table if exists z; create table z (id int primary key, v ${target})`);
        const task = await transfer({ query: `select id, ${source} as v from z`, into: 'z' });
        expect(task?.error, source).to.equal(undefined);
        const expected = await from.query(`select id, (${wanted})::${target}::text as v from z order by id`);
        await to.query(`set TimeZone to 'UTC'`);
        await from.query(`set TimeZone to 'UTC'`);
        expect(await to.query('select id, v::text from z order by id'), `${source} as ${target}`).to.deep.equal(
          await from.query(`select id, (${wanted})::${target}::text as v from z order by id`),
        );
        expect(expected.length).to.equal(3);
      }
    } finally {
      await from.query(`alter database ${from.name} reset all`);
      await to.query(`alter database ${to.name} reset all; reset TimeZone`);
    }
  }); // prettier-ignore

  it('copies to and from the embedded database', async () => {
    await using project = await createProject({});
    const directory = join(project.directory, 'data');
    await copyEmbeddedDatabase(directory);
    const pglite = `pglite:${directory}`;
    const graph = dag('d', { defaults: { conn: 'lite' } }, (d) => {
      const made = d.sql('make', {
        sql: 'create table item (id int primary key, name text, at timestamptz)',
      });
      const there = d.transfer('there', {
        needs: [made],
        from: 'from',
        table: 'item',
        into: 'item',
        mode: 'append',
      });
      d.transfer('back', {
        needs: [there],
        conn: 'to',
        from: 'lite',
        table: 'item',
        into: 'item',
        mode: 'append',
      });
    });
    const { outcome, tasks } = await runOn({ from: from.url, to: to.url, lite: pglite }, graph, {
      concurrency: 1,
    });
    expect(
      [outcome('there'), outcome('back')],
      tasks.map(({ error }) => error?.message).join(),
    ).to.deep.equal(['success', 'success']);
    expect(await items(to)).to.deep.equal(await items(from));
  });

  const undefinable: readonly [options: object, what: string][] = [
    [{}, 'a transfer task needs either `query` or `table`'],
    [{ table: 'a', query: 'select 1' }, 'a transfer task needs either `query` or `table`'],
    [{ table: 'a', mode: 'merge' }, 'a merge needs a `key`'],
    [{ table: 'a', mode: 'merge', key: [] }, 'a merge needs a `key`'],
    [{ table: 'a', key: ['id'] }, '`key` and `deleteMissing` need `mode: "merge"`'],
  ];
  for (const [options, what] of undefinable) {
    it(`can't be defined with the options ${JSON.stringify(options)}`, () => {
      const define = () =>
        dag('d', {}, (d) => void d.transfer('t', { from: 'a', into: 'b', mode: 'append', ...options }));
      expect(define).to.throw(what);
    });
  }
});
