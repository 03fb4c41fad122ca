import { expect } from 'chai';
import { parquetMetadata, parquetReadObjects, parquetSchema } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { UnloadProject } from './unload-project.js';

describe('an unload to Parquet', () => {
  let project: UnloadProject;
  before(async () => (project = await UnloadProject.open()));
  after(() => project[Symbol.asyncDispose]());
  beforeEach(() => project.clear());

  const readFile = async (name: string): Promise<ArrayBuffer> => {
    const bytes = await project.bytes(name);
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  };
  const readRows = async (name: string) =>
    parquetReadObjects({ file: await readFile(name), compressors, utf8: false });

  const exact: readonly [sql: string, logical: string, value: unknown][] = [
    ['true', 'BOOLEAN', true],
    ['(-32768)::int2', 'INT32', -32768],
    ['2147483647', 'INT32', 2_147_483_647],
    ['(-9223372036854775808)::int8', 'INT64', -9_223_372_036_854_775_808n],
    ['1.5::float4', 'FLOAT', 1.5],
    ['0.1::float8', 'DOUBLE', 0.1],
    [`'-Infinity'::float8`, 'DOUBLE', -Infinity],
    ['(-12.05)::numeric(10,2)', 'DECIMAL(10,2)', -12.05],
    ['0.05::numeric(38,2)', 'DECIMAL(38,2)', 0.05],
    ['12345678901234567890123456789.123456789::numeric', 'STRING', '12345678901234567890123456789.123456789'],
    [`E'a\\tb\\n\\\\c\\\\N é'`, 'STRING', 'a\tb\n\\c\\N é'],
    [`'\\N'::text`, 'STRING', '\\N'],
    [`''::text`, 'STRING', ''],
    [`date '1969-12-31'`, 'DATE', new Date('1969-12-31T00:00:00Z')],
    [`timestamp '2026-01-02 03:04:05.678901'`, 'TIMESTAMP', new Date('2026-01-02T03:04:05.678Z')],
    [`timestamptz '1890-01-02 03:04:05+01'`, 'TIMESTAMP UTC', new Date('1890-01-02T02:04:05Z')],
    [`'{"b": 1, "a": [true, null]}'::json`, 'JSON', { b: 1, a: [true, null] }],
    [`'{"a": "x"}'::jsonb`, 'JSON', { a: 'x' }],
    [`array['a,b', null, '"']`, 'JSON', ['a,b', null, '"']],
    ['row(1, 2)', 'JSON', { f1: 1, f2: 2 }],
    [`'\\x00ff5c'::bytea`, 'BYTE_ARRAY', Uint8Array.from([0, 255, 92])],
    [`'0190e0a2-7c3b-7def-8abc-0123456789ab'::uuid`, 'UUID', '0190e0a2-7c3b-7def-8abc-0123456789ab'],
    [`interval '1 day'`, 'STRING', '1 day'],
    [`'a'::mood`, 'STRING', 'a'],
    ['5::small', 'INT32', 5],
  ];

  it('keeps the type and the value of each column, and NULL', async () => {
    await project.db.query(`create type mood as enum ('a'); create domain small as int`);
    const columns = exact.map(([sql], i) => `${sql} as c${i}`);
    // A CASE would lose the precision of a numeric.
    const query = `select one.* from generate_series(1, 2) n left join (select ${columns.join(', ')}) one on n = 1`;
    await project.unload({ query, to: 'o.parquet' });
    const types = parquetSchema(parquetMetadata(await readFile('o.parquet'))).children.map(({ element }) => {
      const { type, logical_type: logical } = element;
      if (logical?.type === 'DECIMAL') return `DECIMAL(${element.precision},${element.scale})`;
      if (logical?.type === 'TIMESTAMP') return logical.isAdjustedToUTC ? 'TIMESTAMP UTC' : 'TIMESTAMP';
      return element.converted_type === 'DATE' ? 'DATE' : (logical?.type ?? type);
    });
    expect(types).to.deep.equal(exact.map(([, logical]) => logical));
    const [first, second] = await readRows('o.parquet');
    expect(Object.values(first ?? {})).to.deep.equal(exact.map(([, , value]) => value));
    expect(Object.values(second ?? {})).to.deep.equal(exact.map(() => null));
  });

  it('keeps microseconds, whatever the settings of the session are', async () => {
    await project.db.query(`alter database ${project.db.name} set datestyle = 'German, DMY'`);
    await project.db.query(`alter database ${project.db.name} set timezone = 'Asia/Kathmandu'`);
    await project.unload({ query: `select timestamptz '2026-01-02 03:04:05.678901Z' as t`, to: 'o.parquet' });
    const rows = await parquetReadObjects({
      file: await readFile('o.parquet'),
      parsers: { timestampFromMicroseconds: (micros: bigint) => micros },
    });
    expect(rows).to.deep.equal([{ t: BigInt(Date.UTC(2026, 0, 2, 3, 4, 5)) * 1000n + 678_901n }]);
  });

  it('writes many rows in several row groups', async () => {
    const result = await project.unload({
      query: 'select n, n::text as t from generate_series(1, 120000) n',
      to: 'o.parquet',
    });
    const { row_groups: groups } = parquetMetadata(await readFile('o.parquet'));
    expect(groups.map(({ num_rows }) => Number(num_rows))).to.deep.equal([50_000, 50_000, 20_000]);
    expect(result).to.include({ rows: 120_000 });
    const rows = await readRows('o.parquet');
    expect(rows).to.have.lengthOf(120_000);
    expect(rows.every(({ n, t }, i) => n === i + 1 && t === String(i + 1))).to.equal(true);
  });

  for (const compression of ['none', 'gzip', 'brotli'] as const) {
    it(`compresses its pages with the compression ${compression}`, async () => {
      await project.unload({
        query: `select 'x' || n as a from generate_series(1, 1000) n`,
        to: 'o.parquet',
        compression,
      });
      const [group] = parquetMetadata(await readFile('o.parquet')).row_groups;
      expect(group?.columns[0]?.meta_data?.codec).to.equal(
        { none: 'UNCOMPRESSED', gzip: 'GZIP', brotli: 'BROTLI' }[compression],
      );
      expect((await readRows('o.parquet')).at(-1)).to.deep.equal({ a: 'x1000' });
    });
  }

  it('writes partitions, and writes an empty file for a query without rows', async () => {
    await project.unload({
      query: 'select n % 2 as odd, n from generate_series(1, 4) n',
      to: 'o.parquet',
      partition: { by: 'odd' },
    });
    expect(await readRows('odd=0/o.parquet')).to.deep.equal([
      { odd: 0, n: 2 },
      { odd: 0, n: 4 },
    ]);
    await project.unload({ query: 'select 1 as n where false', to: 'e.parquet' });
    expect(await readRows('e.parquet')).to.deep.equal([]);
  });

  const wrong: readonly [title: string, query: string, code: string][] = [
    ['NaN in a decimal', `select 'NaN'::numeric(5,2) as n`, 'ETL-3606'],
    ['an infinite date', `select 'infinity'::date as d`, 'ETL-3001'],
    ['an infinite timestamp', `select 'infinity'::timestamp as d`, 'ETL-3001'],
  ];
  for (const [title, query, code] of wrong) {
    it(`refuses ${title}, because the type in the file has no such value`, async () => {
      const { tasks } = await project.run({ query, to: 'o.parquet' });
      expect(tasks[0]?.error?.code).to.equal(code);
      expect(await project.files()).to.deep.equal([]);
    });
  }
});
