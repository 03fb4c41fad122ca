import { expect } from 'chai';
import fc from 'fast-check';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { EtlError } from '../../../src/errors.js';
import { chooseEncoder, type EncodeOptions, type Row } from '../../../src/runtime/copy/encode.js';
import { ExactNumber } from '../../../src/runtime/postgres/exact-number.js';
import { describeTable } from '../../../src/runtime/table/describe.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';

describe('an encoder of rows for COPY', () => {
  let database: TestDatabase;
  let client: pg.Client;
  before(async () => {
    database = await createDatabase();
    client = new pg.Client({ connectionString: database.url });
    await client.connect();
  });
  after(async () => {
    await client.end();
    await database.drop();
  });

  /** Writes the values into a table with one column of the type, and reads them back. */
  async function stored(type: string, values: readonly unknown[], options?: EncodeOptions) {
    await client.query(`drop table if exists t; create table t (n serial, v ${type})`);
    const rows: Row[] = values.map((v) => ({ v }));
    const table = await describeTable(client, 't');
    const column = table?.columns.find(({ name }) => name === 'v');
    const bytes = chooseEncoder([{ name: 'v', type: column?.value }], options)(rows);
    await pipeline(Readable.from([bytes]), client.query(copyFrom('copy t (v) from stdin')));
    const result = await client.query<{ v: unknown }>('select v from t order by n');
    return result.rows.map(({ v }) => v);
  }

  /** Arbitrary text without NUL, which PostgreSQL can't store. */
  const text = fc
    .string({
      unit: fc.oneof(
        fc.constantFrom('\\', '\t', '\n', '\r', '"', '{', ',', 'N', '.'),
        fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
      ),
    })
    .map((value) => value.replaceAll('\0', ''));
  const date = fc.date({
    min: new Date('0001-01-01T00:00:00Z'),
    max: new Date('9999-12-31T23:59:59.999Z'),
    noInvalidDate: true,
  });
  const json = fc
    .dictionary(fc.string(), fc.jsonValue())
    .filter((value) => !JSON.stringify(value).includes('\\u'));
  const property = <T>(type: string, values: fc.Arbitrary<T>, same = (value: T): unknown => value) =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.option(values), { minLength: 1, maxLength: 20 }), async (given) => {
        expect(await stored(type, given)).to.deep.equal(
          given.map((value) => (value === null ? null : same(value))),
        );
      }),
      { numRuns: 40 },
    );

  it('preserves any text', () => property('text', text));
  it('preserves any double', () => property('float8', fc.double()));
  it('preserves any bigint', () =>
    property('int8', fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), String));
  it('preserves any date to the millisecond', () => property('timestamptz', date));
  it('preserves any bytes', () =>
    property(
      'bytea',
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    ));
  it('preserves any array of text', () => property('text[]', fc.array(fc.option(text))));
  it('preserves any array of arrays', () =>
    property(
      'int[]',
      fc.array(fc.tuple(fc.integer({ max: 9, min: -9 }), fc.constant(null)), { minLength: 1 }),
    ));
  // A numeric of jsonb has no -0.
  const written = (value: object): unknown => JSON.parse(JSON.stringify(value));
  it('preserves any object', () => property('jsonb', json, written));
  it('preserves any boolean', () => property('boolean', fc.boolean()));

  const values: readonly [title: string, type: string, value: unknown, expected: unknown][] = [
    ['undefined as null', 'text', undefined, null],
    ['text that looks like NULL', 'text', '\\N', '\\N'],
    ['text that looks like the end of the data', 'text', '\\.', '\\.'],
    ['an exact number', 'numeric', new ExactNumber('0.1234567890123456789'), '0.1234567890123456789'],
    ['a year before our era', 'text', new Date('-000043-03-15T00:00:00.000Z'), '0044-03-15T00:00:00.000+00:00 BC'],
    ['a year of five digits', 'text', new Date('+012026-03-15T00:00:00.000Z'), '12026-03-15T00:00:00.000+00:00'],
    ['the result of `toPostgres()`', 'text', { toPostgres: () => '1 day' }, '1 day'],
    ['all digits of numbers inside of JSON', 'text', { a: [2n ** 64n, new ExactNumber('1.00000000000000000001')] }, '{"a":[18446744073709551616,1.00000000000000000001]}'],
  ]; // prettier-ignore
  for (const [title, type, value, expected] of values) {
    it(`preserves ${title}`, async () => expect(await stored(type, [value])).to.deep.equal([expected]));
  }

  it('writes an array in a json column as JSON, and a string as JSON text', async () => {
    expect(await stored('jsonb', [[1, 'a'], '{"text": 1}', null])).to.deep.equal([
      [1, 'a'],
      { text: 1 },
      null,
    ]);
  });

  it('writes a string in a json column as a JSON string with `jsonStrings: value`', async () => {
    const options: EncodeOptions = { jsonStrings: 'value' };
    expect(await stored('jsonb', ['1', { a: 1 }, 1n, true], options)).to.deep.equal(['1', { a: 1 }, 1, true]);
  });

  it('writes empty lines if there are no columns', () => {
    expect(chooseEncoder([])([{}, {}]).toString()).to.equal('\n\n');
  });

  const refused: readonly [title: string, value: unknown][] = [
    ['an invalid date', new Date(Number.NaN)],
    ['a Map', new Map([[1, 2]])],
    ['a Set in an object', { a: new Set() }],
    ['a function', () => 1],
    ['a symbol', Symbol('a')],
    ['half of a surrogate pair', 'a\ud800b'],
  ];
  for (const [title, value] of refused) {
    it(`refuses ${title}, and names the column`, () => {
      const encode = chooseEncoder([{ name: 'first' }, { name: 'second' }]);
      expect(() => encode([{ first: 1, second: value }]))
        .to.throw(EtlError, /column "second"/)
        .that.includes({ code: 'ETL-3558' });
    });
  }

  it('refuses an object that contains itself', () => {
    const loop: Record<string, unknown> = {};
    loop['loop'] = loop;
    expect(() => chooseEncoder([{ name: 'a' }])([{ a: loop }])).to.throw(EtlError, /column "a"/);
  });
});
