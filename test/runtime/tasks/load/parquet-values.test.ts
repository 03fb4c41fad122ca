import { expect } from 'chai';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LoadSource } from '../../../../src/runtime/tasks/load/load-input.js';
import { ROOT } from '../../../support/cli.js';
import { openWorkbench, type Workbench } from './workbench.js';

const FIXTURES = join(ROOT, 'test/fixtures/parquet');

/** The values of each file by column, as PostgreSQL writes them. `make.py` writes them with the files. */
type Expected = Readonly<Record<string, Readonly<Record<string, readonly (string | null)[]>>>>;

describe('a load of a Parquet file', () => {
  let bench: Workbench;
  let expected: Expected;
  before(async () => {
    bench = await openWorkbench();
    expected = JSON.parse(await readFile(join(FIXTURES, 'expected.json'), 'utf8')) as Expected;
    await bench.db.query(`set TimeZone to 'UTC'`);
  });
  after(() => bench[Symbol.asyncDispose]());

  const load = async (name: string, source: Partial<LoadSource> = {}) => {
    await copyFile(join(FIXTURES, `${name}.parquet`), join(bench.root, 'in.parquet'));
    await bench.db.query('drop table if exists t');
    return bench.load({ from: 'in.parquet', create: true, ...source });
  };

  const paths: readonly [title: string, source: Partial<LoadSource>][] = [
    ['as it is', {}],
    ['with a transform', { transform: (row) => row }],
    ['with `rejects`', { rejects: { max: 0, to: 'bad' } }],
  ];
  for (const name of ['nested', 'int96', 'nanoseconds', 'duckdb']) {
    for (const [title, source] of paths) {
      it(`keeps every value of ${name}.parquet, which another program wrote, ${title}`, async () => {
        const { task } = await load(name, source);
        expect(task?.error).to.equal(undefined);
        for (const [column, values] of Object.entries(expected[name] ?? {})) {
          const [row] = await bench.db.query<{ type: string; texts: (string | null)[] }>(
            `select (select format_type(atttypid, atttypmod) from pg_attribute
               where attrelid = 't'::regclass and attname = '${column}') as type,
               array_agg(v::text) as texts from (select "${column}" as v from t order by ctid) as one`,
          );
          const normalize = (text: string | null) => text && (row?.type === 'jsonb' ? sortLike(text) : text);
          expect(row?.texts.map(normalize), `${column} ${row?.type}`).to.deep.equal(values.map(normalize));
        }
      });
    }
  }

  /** JSON text with the properties of each object in order of their names, and with the text of each number. */
  const sortLike = (text: string): string => {
    const marked = text.replaceAll(
      /("(?:[^"\\]|\\.)*")|(-?\d[\d.eE+-]*)/g,
      (_, string: string, number: string) => string ?? `"#${number}"`,
    );
    const sort = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(sort);
      if (typeof value !== 'object' || value === null) return value;
      const entries = Object.entries(value).map(([name, part]) => [name, sort(part)] as const);
      return entries.toSorted(([one], [other]) => (one < other ? -1 : 1));
    };
    return JSON.stringify(sort(JSON.parse(marked)));
  };

  it('gives a column its type of the file, also with a transform', async () => {
    for (const [, source] of paths) {
      await load('nanoseconds', source);
      const rows = await bench.db.query<{ name: string; type: string }>(
        `select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
         where attrelid = 't'::regclass and attnum > 0 order by attnum`,
      );
      expect(rows.map(({ name, type }) => `${name} ${type}`)).to.deep.equal([
        't timestamp without time zone',
        'z timestamp with time zone',
        'c time without time zone',
        'days date[]',
        'none integer',
      ]);
    }
  });

  it('refuses two columns of one name, and a text that is not UTF-8, by name', async () => {
    const twice = await load('twice');
    expect(twice.task?.error).to.include({ code: 'ETL-3503' });
    expect(twice.task?.error?.message).to.include('"a" twice');
    const broken = await load('not-utf8');
    expect(broken.task?.error).to.include({ code: 'ETL-3557' });
  });

  const json = ['null', '"x"', '1.50', '{"a": 1.0, "b":[1e2]}', '[]', 'true'];
  for (const [title, source] of paths) {
    it(`keeps the text of JSON, and its null, ${title}`, async () => {
      const file = parquetWriteBuffer({
        columnData: [{ name: 'j', data: [...json.map((text) => Buffer.from(text)), null] }],
        schema: [
          { name: 'root', num_children: 1 },
          { name: 'j', repetition_type: 'OPTIONAL', type: 'BYTE_ARRAY', logical_type: { type: 'JSON' } },
        ],
      });
      await bench.write({ 'in.parquet': Buffer.from(file) });
      await bench.db.query('drop table if exists t; create table t (j json)');
      const { task } = await bench.load({ from: 'in.parquet', ...source });
      expect(task?.error).to.equal(undefined);
      const rows = await bench.db.query<{ j: string | null }>('select j::text from t');
      expect(rows.map(({ j }) => j)).to.deep.equal([...json, null]);
    });
  }

  it('reads GEOMETRY and GEOGRAPHY as WKB', async () => {
    // The point (1 2), https://www.ogc.org/standard/sfa/
    const point = Buffer.from('0101000000000000000000f03f0000000000000040', 'hex');
    for (const type of ['GEOMETRY', 'GEOGRAPHY'] as const) {
      // hyparquet-writer makes WKB of GeoJSON.
      const file = parquetWriteBuffer({
        columnData: [{ name: 'g', data: [{ type: 'Point', coordinates: [1, 2] }, null] }],
        schema: [
          { name: 'root', num_children: 1 },
          { name: 'g', repetition_type: 'OPTIONAL', type: 'BYTE_ARRAY', logical_type: { type } },
        ],
      });
      await bench.write({ 'in.parquet': Buffer.from(file) });
      await bench.db.query('drop table if exists t');
      expect((await bench.load({ from: 'in.parquet', create: true })).task?.error).to.equal(undefined);
      expect(await bench.db.query(`select encode(g, 'hex') as g from t`)).to.deep.equal([
        { g: point.toString('hex') },
        { g: null },
      ]);
    }
  });
});
