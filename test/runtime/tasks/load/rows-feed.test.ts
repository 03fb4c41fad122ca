import { expect } from 'chai';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import type { LoadSource } from '../../../../src/runtime/tasks/load/load-input.js';
import { openWorkbench, type Workbench } from './workbench.js';

describe('a load whose rows are parsed in the process', () => {
  let bench: Workbench;
  before(async () => (bench = await openWorkbench()));
  after(() => bench[Symbol.asyncDispose]());
  beforeEach(async () => {
    await bench.db.query('drop table if exists t, made, bad');
    await bench.db.query('create table t (id int primary key, a text, j json, tags int[])');
  });
  const rows = () => bench.db.query('select id, a from t order by id');
  const two = [
    { id: 1, a: 'x' },
    { id: 2, a: null },
  ];

  const sources: readonly [
    title: string,
    file: string,
    text: string | Buffer,
    source: Partial<LoadSource>,
  ][] = [
    ['NDJSON', 'in.ndjson', '{"id":1,"a":"x"}\n{"a":null,"id":2}\n', {}],
    ['NDJSON with an unknown extension', 'in.log', '{"id":1,"a":"x"}\n{"id":2}\n', { format: 'ndjson' }],
    ['compressed CSV', 'in.csv.gz', gzipSync('id,a\n1,x\n2,\n'), {}],
    ['compressed NDJSON', 'in.ndjson.gz', gzipSync('{"id":1,"a":"x"}\n{"id":2}\n'), {}],
    ['an array of rows', 'in.csv', '', { from: two }],
    ['a stream of objects', 'in.csv', '', { from: () => Readable.from(two) }],
    ['a stream of bytes', 'in.csv', '', { from: () => Readable.from(['id,a\n1', ',x\n2,\n']) }],
    ['an async generator of rows', 'in.csv', '', { from: () => generated(two) }],
    [
      'transformed CSV',
      'in.csv',
      'no,a\n1,x\n7,y\n2,\n',
      { transform: ({ no, a }) => (no === '7' ? undefined : { id: no, a }) },
    ],
    ['the files of a glob', 'in/a.csv', 'id,a\n1,x\n2,\n', { from: 'in/*.csv' }],
  ];
  for (const [title, name, text, source] of sources) {
    it(`loads ${title}`, async () => {
      await bench.write({ [name]: text });
      const { task, result } = await bench.load({ from: name, ...source });
      expect(task?.error).to.equal(undefined);
      expect(await rows()).to.deep.equal(two);
      expect(result).to.include({ rows: 2, inserted: 2, files: 1 });
    });
  }

  it('leaves out a column that only a transform adds, with `discard`', async () => {
    await bench.write({ 'in.csv': 'no,a\n1,x\n7,y\n2,\n' });
    const { task } = await bench.load({
      schema: 'discard',
      transform: ({ no, a }) => (no === '7' ? undefined : { id: no, a, more: 1 }),
    });
    expect(task?.error).to.equal(undefined);
    expect(await rows()).to.deep.equal(two);
  });

  it('writes an array as JSON or as a PostgreSQL array, depending on the type of the column', async () => {
    const { task } = await bench.load({ from: [{ id: 1, a: 'x', j: [1, { b: null }], tags: [1, 2] }] });
    expect(task?.error).to.equal(undefined);
    expect(await bench.db.query('select j, tags from t')).to.deep.equal([
      { j: [1, { b: null }], tags: [1, 2] },
    ]);
  });

  it('creates the table with the types of the data, with `create`', async () => {
    const csv =
      'id,price,on,at,zip,ok,none\n1,1.50,2026-01-02,2026-01-02T03:04:05Z,01234,true,\n2,2,2026-01-03,2026-01-02T03:04:05Z,1,false,\n';
    await bench.write({ 'in.csv': csv });
    const { task } = await bench.load({ into: 'made', create: true });
    expect(task?.error).to.equal(undefined);
    const types = await bench.db.query(
      `select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
       where attrelid = 'made'::regclass and attnum > 0 order by attnum`,
    );
    expect(Object.fromEntries(types.map(({ name, type }) => [name, type]))).to.deep.equal({
      id: 'bigint',
      price: 'numeric',
      on: 'date',
      at: 'timestamp with time zone',
      zip: 'text',
      ok: 'boolean',
      none: 'text',
    });
  });

  it('widens a column with `evolve` only if a value does not fit', async () => {
    await bench.write({ 'in.csv': 'id,a\n3000000000,1\n', 'small.csv': 'id,a\n4,1\n' });
    const small = await bench.load({ from: 'small.csv', schema: 'evolve' });
    expect(small.events.filter(({ type }) => type === 'task_log')).to.deep.equal([]);
    const { task, events } = await bench.load({ schema: 'evolve' });
    expect(task?.error).to.equal(undefined);
    expect(events.flatMap((event) => (event.type === 'task_log' ? [event.message] : []))).to.deep.equal([
      'alter table "t" alter column "id" type bigint',
    ]);
  });

  const discarded: readonly [title: string, file: string, text: string][] = [
    ['CSV', 'in.csv', 'b,id,a,c\n9,1,x,8\n9,2,,8\n'],
    ['NDJSON', 'in.ndjson', '{"id":1,"b":9,"a":"x"}\n{"id":2,"c":1}\n'],
  ];
  for (const [title, name, text] of discarded) {
    it(`leaves out columns of ${title} that the table does not have with \`discard\`, and logs their names`, async () => {
      await bench.write({ [name]: text });
      const { task, events } = await bench.load({ from: name, schema: 'discard' });
      expect(task?.error).to.equal(undefined);
      expect(await rows()).to.deep.equal(two);
      expect(events.flatMap((event) => (event.type === 'task_log' ? [event.message] : []))).to.deep.equal([
        'left out columns "b", "c"',
      ]);
    });
  }

  it('creates a table with the types of a Parquet file, and names a column whose type can not fit', async () => {
    const file = parquetWriteBuffer({
      columnData: [
        { name: 'id', data: [1, 2], type: 'INT32' },
        { name: 'a', data: [true, false], type: 'BOOLEAN' },
      ],
    });
    await bench.write({ 'in.parquet': Buffer.from(file) });
    const source = { from: 'in.parquet', into: 'made', create: true } as const;
    const { task } = await bench.load(source);
    expect(task?.error).to.equal(undefined);
    expect(await bench.db.query('select * from made order by id')).to.deep.equal([
      { id: 1, a: true },
      { id: 2, a: false },
    ]);
    await bench.db.query('drop table made; create table made (id int, a int)');
    const again = await bench.load(source);
    expect(again.task?.error?.message).to.equal(
      'column "a" is boolean in the data, but integer in table "made"',
    );
  });

  it('refuses a column whose type can not fit before a row is sent', async () => {
    const { task } = await bench.load({ from: [{ id: true, a: 'x' }] });
    expect(task?.error).to.include({ code: 'ETL-3518' });
    expect(task?.error?.message).to.equal('column "id" is boolean in the data, but integer in table "t"');
  });

  it('puts aside refused rows of NDJSON with their line numbers', async () => {
    await bench.write({ 'in.ndjson': '{"id":1,"a":"x"}\n{"id":1,"a":"a\\nb"}\n{"id":2}\n' });
    const { task, result } = await bench.load({ from: 'in.ndjson', rejects: { max: 1, to: 'bad' } });
    expect(task?.error).to.equal(undefined);
    expect(await rows()).to.deep.equal(two);
    expect(result).to.include({ rows: 2, rejected: 1 });
    expect(await bench.db.query('select line::int, raw from bad')).to.deep.equal([
      { line: 2, raw: '1\ta\\nb' },
    ]);
  });

  it('fails if a trigger of the table leaves out rows', async () => {
    await bench.db.query(
      `create or replace function skip() returns trigger language plpgsql as $$ begin return null; end $$`,
    );
    await bench.db.query(
      'create trigger skip before insert on t for each row when (new.id = 2) execute function skip()',
    );
    const { task } = await bench.load({ from: two });
    expect(task?.error).to.include({ code: 'ETL-3505' });
    expect(task?.error?.message).to.match(/has 2 rows, but the server counted 1$/);
    expect(await rows()).to.deep.equal([]);
  });

  it('names the file and line of the row for which a transform throws', async () => {
    await bench.write({ 'in.csv': 'id,a\n1,x\n2,y\n' });
    const { task } = await bench.load({
      transform: (row) => {
        if (row['a'] === 'y') throw new Error('no y');
        return row;
      },
    });
    expect(task?.error).to.include({ why: 'no y', where: 'in.csv, line 3' });
  });
});

async function* generated<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}
