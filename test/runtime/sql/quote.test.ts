import { expect } from 'chai';
import * as fc from 'fast-check';
import pg from 'pg';
import { EtlError } from '../../../src/errors.js';
import { quoteIdentifier, quoteLiteral, quoteTable } from '../../../src/runtime/sql/quote.js';
import { readTokens } from '../../../src/runtime/sql/scan.js';
import { copyOptions, parseCsvFormat } from '../../../src/runtime/tasks/load/csv-format.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';

describe('quoteIdentifier', () => {
  const rows: readonly [string, string | RegExp][] = [
    ['a', '"a"'],
    ['a.b', '"a.b"'],
    ['x as y', '"x as y"'],
    ['a[1] or b', '"a[1] or b"'],
    ['*', '"*"'],
    ['"; drop table t; --', '"""; drop table t; --"'],
    ['é'.repeat(31), `"${'é'.repeat(31)}"`],
    ['', /empty/],
    ['a\0b', /NUL/],
    ['\ud800', /surrogate/],
    ['a'.repeat(64), /64 bytes/],
    ['é'.repeat(32), /64 bytes/],
  ];
  for (const [name, expected] of rows) {
    it(`${typeof expected === 'string' ? 'quotes' : 'refuses'} ${JSON.stringify(name).slice(0, 30)}`, () => {
      if (typeof expected === 'string') expect(quoteIdentifier(name)).to.equal(expected);
      else
        expect(() => quoteIdentifier(name))
          .to.throw(EtlError)
          .that.includes({ code: 'ETL-3008' })
          .and.has.property('why')
          .that.matches(expected);
    });
  }

  it('returns one quoted token that means the name, or throws', () => {
    const name = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 70 }),
      fc.string({ unit: fc.constantFrom('"', 'a', '.', '\0', "'", '\\') }),
    );
    fc.assert(
      fc.property(name, (text) => {
        try {
          const quoted = quoteIdentifier(text);
          expect([...readTokens(quoted)]).to.deep.equal([{ kind: 'quoted', start: 0, end: quoted.length }]);
          expect(quoted.slice(1, -1).replaceAll('""', '"')).to.equal(text);
        } catch (error) {
          expect(error).to.be.instanceOf(EtlError);
        }
      }),
    );
  });
});

describe('quoteTable', () => {
  const rows: readonly [string, string | undefined][] = [
    ['orders', '"orders"'],
    ['staging.orders', '"staging"."orders"'],
    ['Staging.ORDERS_2', '"staging"."orders_2"'],
    ['"Weird".t', '"Weird"."t"'],
    ['"a.b"."c""d"', '"a.b"."c""d"'],
    ['étÉ', '"étÉ"'],
    ['a$1', '"a$1"'],
    ['"x; y"', '"x; y"'],
    ['', undefined],
    ['.', undefined],
    ['a.', undefined],
    ['.a', undefined],
    ['a..b', undefined],
    ['a.b.c', undefined],
    ['a b', undefined],
    ['a b.c', undefined],
    ['order-items', undefined],
    ['1a', undefined],
    [' a', undefined],
    ['a\n', undefined],
    ['"a', undefined],
    ['"a"b', undefined],
    ['""', undefined],
    ['a; drop table t', undefined],
    ['a as b', undefined],
    ['a\0', undefined],
    [`"a\0"`, undefined],
    ['a'.repeat(64), undefined],
    ['"'.repeat(1_000_000), undefined],
  ];
  for (const [table, expected] of rows) {
    it(`${expected === undefined ? 'refuses' : 'quotes'} ${JSON.stringify(table).slice(0, 30)}`, () => {
      if (expected !== undefined) expect(quoteTable(table)).to.equal(expected);
      else
        expect(() => quoteTable(table))
          .to.throw(EtlError)
          .with.property('code', 'ETL-3008');
    });
  }
});

describe('quoteLiteral', () => {
  let db: TestDatabase;

  before(async () => {
    db = await createDatabase();
  });
  after(() => db.drop());

  const text = fc.string({ unit: fc.constantFrom("'", '\\', '"', 'a', '\n', '$', 'é', '😀', ' ', 'E') });

  it('returns the same as escapeLiteral of pg', () => {
    fc.assert(
      fc.property(text, (each) => {
        expect(quoteLiteral(each)).to.equal(pg.escapeLiteral(each));
      }),
    );
  });

  for (const isStandard of ['on', 'off']) {
    it(`writes a constant that the server reads as the same text with standard_conforming_strings ${isStandard}`, async () => {
      const texts = fc.sample(text, 100);
      const client = new pg.Client({ connectionString: db.url });
      await client.connect();
      try {
        await client.query(`set standard_conforming_strings = ${isStandard}`);
        const { rows } = await client.query<{ texts: string[] }>(
          `select array[${texts.map(quoteLiteral).join(', ')}]::text[] as texts`,
        );
        expect(rows).to.deep.equal([{ texts }]);
      } finally {
        await client.end();
      }
    });
  }

  it('writes the options of a COPY that reads a CSV file', () => {
    const format = parseCsvFormat({ delimiter: '\\', quote: "'", null: 'N', encoding: 'latin1' });
    expect(copyOptions(format, true)).to.equal(
      "format csv, header true, delimiter  E'\\\\', quote '''', escape '''', null 'N', encoding 'LATIN1'",
    );
  });
});
