import { expect } from 'chai';
import { parquetWriteFile } from 'hyparquet-writer';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EtlError } from '../../../src/errors.js';
import { encodeRows } from '../../../src/runtime/format/encoded-rows.js';
import { openInput } from '../../../src/runtime/input/open-input.js';
import { ROOT } from '../../support/cli.js';

type Written = Parameters<typeof parquetWriteFile>[0];

describe('openParquet', () => {
  let folder: string;
  before(async () => (folder = await mkdtemp(join(tmpdir(), 'etl-parquet-'))));
  after(() => rm(folder, { recursive: true }));

  /** Reads a file to its end, or until it has read `enough` rows. */
  async function read(from: string, root = folder, enough = Infinity) {
    for await (const input of openInput(from, { root, signal: new AbortController().signal })) {
      const rows = await encodeRows(input);
      const parts: Buffer[] = [];
      let lines = 0;
      for await (const chunk of rows?.chunks(new Map(), false) ?? []) {
        parts.push(chunk);
        for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++;
        if (lines >= enough) break;
      }
      return { columns: rows?.columns.map(({ type }) => type), text: Buffer.concat(parts).toString() };
    }
    throw new Error('there is no input');
  }

  async function readWritten(column: Written['columnData'][number], schema?: Written['schema']) {
    const filename = join(folder, 'one.parquet');
    parquetWriteFile({ filename, columnData: [column], ...(schema ? { schema } : {}) });
    const { columns, text } = await read('one.parquet');
    return { type: columns?.[0], values: text.split('\n').slice(0, -1) };
  }

  const root = (child: object): Written['schema'] => [
    { name: 'root', num_children: 1 },
    { name: 'a', repetition_type: 'OPTIONAL', ...child },
  ];
  const cases: readonly [title: string, data: unknown[], schema: Written['schema'] | undefined, type: string, values: string[]][] = [
    ['whole numbers of 64 bits', [9007199254740993n, null], undefined, 'bigint', ['9007199254740993', '\\N']],
    ['whole numbers of 32 bits', [1, -2], root({ type: 'INT32' }), 'integer', ['1', '-2']],
    ['doubles', [0.1, Number.NaN], root({ type: 'DOUBLE' }), 'double precision', ['0.1', 'NaN']],
    ['text', ['a\tb', 'é', null], undefined, 'text', ['a\\tb', 'é', '\\N']],
    ['booleans', [true, false, null], undefined, 'boolean', ['true', 'false', '\\N']],
    ['bytes', [new Uint8Array([0, 255])], root({ type: 'BYTE_ARRAY' }), 'bytea', ['\\\\x00ff']],
    // The writer stores bigints and numbers as they are.
    ['decimals', [1234567890123456789n, -5n, 0n], root({ type: 'INT64', converted_type: 'DECIMAL', precision: 19, scale: 4 }), 'numeric(19,4)', ['123456789012345.6789', '-0.0005', '0.0000']],
    ['microseconds', [1704067200123456n, -1n], root({ type: 'INT64', logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' } }), 'timestamp with time zone', ['2024-01-01T00:00:00.123456Z', '1969-12-31T23:59:59.999999Z']],
    ['nanoseconds', [1704067200123456789n, -9000000000000000001n], root({ type: 'INT64', logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: false, unit: 'NANOS' } }), 'timestamp without time zone', ['2024-01-01T00:00:00.123456789', '1684-10-19T07:59:59.999999999']],
    ['milliseconds', [1704067200120n], root({ type: 'INT64', logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: false, unit: 'MILLIS' } }), 'timestamp without time zone', ['2024-01-01T00:00:00.120']],
    ['dates', [19782, -1, 2932897, -800000], root({ type: 'INT32', converted_type: 'DATE' }), 'date', ['2024-02-29', '1969-12-31', '10000-01-01', '0222-09-04 BC']],
    ['times', [3723000001n], root({ type: 'INT64', logical_type: { type: 'TIME', isAdjustedToUTC: false, unit: 'MICROS' } }), 'time without time zone', ['01:02:03.000001']],
    ['objects', [{ n: 1 }], root({ type: 'BYTE_ARRAY', converted_type: 'JSON' }), 'jsonb', ['{"n":1}']],
  ]; // prettier-ignore
  for (const [title, data, schema, type, values] of cases) {
    it(`reads ${title}`, async () => {
      expect(await readWritten({ name: 'a', data }, schema)).to.deep.equal({ type, values });
    });
  }

  const nested: readonly [title: string, data: unknown[], schema: object[], type: string, values: string[]][] = [
    ['lists', [[1n, null], [], null], [{ name: 'a', repetition_type: 'OPTIONAL', converted_type: 'LIST', num_children: 1 }, { name: 'list', repetition_type: 'REPEATED', num_children: 1 }, { name: 'element', repetition_type: 'OPTIONAL', type: 'INT64' }], 'bigint[]', ['{1,NULL}', '{}', '\\N']],
    ['structs', [{ n: 9007199254740993n, d: 150n }, null], [{ name: 'a', repetition_type: 'OPTIONAL', num_children: 2 }, { name: 'n', repetition_type: 'OPTIONAL', type: 'INT64' }, { name: 'd', repetition_type: 'OPTIONAL', type: 'INT64', converted_type: 'DECIMAL', precision: 10, scale: 2 }], 'jsonb', ['{"n":9007199254740993,"d":1.50}', '\\N']],
  ]; // prettier-ignore
  for (const [title, data, schema, type, values] of nested) {
    it(`reads ${title}`, async () => {
      const whole = [{ name: 'root', num_children: 1 }, ...schema] as NonNullable<Written['schema']>;
      expect(await readWritten({ name: 'a', data }, whole)).to.deep.equal({ type, values });
    });
  }

  it('reads all row groups of a file', async () => {
    const filename = join(folder, 'groups.parquet');
    parquetWriteFile({ filename, columnData: [{ name: 'a', data: [1, 2, 3, 4, 5] }], rowGroupSize: 2 });
    const { text } = await read('groups.parquet');
    expect(text).to.equal('1\n2\n3\n4\n5\n');
  });

  it('reads several row groups of a real file, which has 272,727 rows in a row group', async () => {
    const name = 'node_modules/vega-datasets/data/flights-3m.parquet';
    const enough = 3 * 272_727;
    const { columns, text } = await read(name, ROOT, enough);
    expect(columns).to.deep.equal(['timestamp without time zone', 'bigint', 'bigint', 'text', 'text']);
    const lines = text.split('\n').slice(0, -1);
    expect(lines).to.have.lengthOf.at.least(enough);
    expect(lines[0]).to.equal('2001-01-01T00:01:00\t33\t2176\tLAS\tPHL');
    const isRow = /^2001-\d\d-\d\dT\d\d:\d\d:00\t-?\d+\t\d+\t[A-Z]{3}\t[A-Z]{3}$/;
    expect(lines.find((line) => !isRow.test(line))).to.equal(undefined);
  });

  it('refuses a file that is not Parquet', async () => {
    await writeFile(join(folder, 'not.parquet'), 'a,b\n1,2\n');
    const error = await read('not.parquet').catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(EtlError).that.includes({ code: 'ETL-3557' });
  });
});
