import { expect } from 'chai';
import fc from 'fast-check';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { EtlError } from '../../../src/errors.js';
import { CsvParser } from '../../../src/runtime/format/csv.js';
import type { CsvSyntax } from '../../../src/runtime/format/csv-record.js';
import { RecordEnds } from '../../../src/runtime/format/record-ends.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';

const PLAIN: CsvSyntax = { delimiter: ',', quote: '"', escape: '"', null: '' };

function parse(pieces: readonly string[], syntax: CsvSyntax = PLAIN) {
  const parser = new CsvParser('in.csv', syntax);
  const batches = [...pieces.map((piece) => parser.push(piece)), parser.end()];
  return {
    records: batches.flatMap(({ records }) => records),
    lines: batches.flatMap(({ records, lineOf }) => records.map((_, index) => lineOf(index))),
  };
}

/** Cuts a text at some indexes. */
function cut(text: string, indexes: readonly number[]): string[] {
  const ends = [...indexes.map((index) => index % (text.length + 1)), text.length].toSorted((a, b) => a - b);
  return ends.map((end, i) => text.slice(ends[i - 1] ?? 0, end));
}

describe('the CSV parser', () => {
  const cases: readonly [title: string, text: string, records: (string | null)[][], lines: number[]][] = [
    ['an empty file', '', [], []],
    ['a file without a line break at the end', 'a,b', [['a', 'b']], [1]],
    ['an unquoted empty field as NULL and a quoted one as an empty text', ',""\n', [[null, '']], [1]],
    ['quotes inside a field and doubled quotes', 'x"a,b"y,"say ""hi"""\n', [['xa,by', 'say "hi"']], [1]],
    ['line breaks inside quotes', '"a\nb",1\nc,2\n', [['a\nb', '1'], ['c', '2']], [1, 3]],
    ['lines that end with CR LF', 'a,b\r\n"c\r\n",d\r\ne,f\r\n', [['a', 'b'], ['c\r\n', 'd'], ['e', 'f']], [1, 2, 4]],
    ['lines that end with CR', 'a\rb\r', [['a'], ['b']], [1, 2]],
    ['a line of a backslash and a point, which ends the data in older servers', 'a\n\\.\nb\n', [['a'], ['\\.'], ['b']], [1, 2, 3]],
    ['an empty line as one NULL field', 'a\n\nb\n', [['a'], [null], ['b']], [1, 2, 3]],
  ]; // prettier-ignore
  for (const [title, text, records, lines] of cases) {
    it(`reads ${title}`, () => {
      expect(parse([text])).to.deep.equal({ records, lines });
      expect(parse(text.split(''))).to.deep.equal({ records, lines });
    });
  }

  const wrong: readonly [title: string, text: string, where: string][] = [
    ['a quote that is not closed', 'a\nb,"c\nd\n', 'in.csv, line 2'],
    ['a lone CR after LF', 'a\nb\rc\n', 'in.csv, line 2'],
    ['a lone LF after CR LF', 'a\r\nb\nc\r\n', 'in.csv, line 2'],
    ['a lone LF after a record with quotes', '"a"\r\n"b"\n', 'in.csv, line 2'],
  ];
  for (const [title, text, where] of wrong) {
    it(`refuses ${title}`, () => {
      expect(() => parse([text]))
        .to.throw(EtlError)
        .that.includes({ code: 'ETL-3555', where });
      expect(() => parse(text.split('')))
        .to.throw(EtlError)
        .that.includes({ code: 'ETL-3555', where });
    });
  }

  it('does not parse a long record again with every piece', () => {
    const pieces = ['a,"', ...Array.from({ length: 20_000 }, () => 'x'.repeat(100)), '"\n'];
    const { records } = parse(pieces);
    expect(records.map((fields) => fields.map((field) => field?.length))).to.deep.equal([[1, 2_000_000]]);
  });
});

describe('the CSV parser and COPY', () => {
  let database: TestDatabase;
  let client: pg.Client;
  before(async () => {
    database = await createDatabase();
    client = new pg.Client({ connectionString: database.url });
    await client.connect();
    for (const columns of [1, 2, 3]) {
      const list = ['a', 'b', 'c'].slice(0, columns).map((name) => `${name} text`);
      await client.query(`create table t${columns} (n serial, ${list.join(', ')})`);
    }
  });
  after(async () => {
    await client.end();
    await database.drop();
  });

  /** Copies the text into a table and returns the rows. Returns undefined if COPY refuses the text. */
  async function parseWithCopy(text: string, syntax: CsvSyntax, columns: number) {
    const list = ['a', 'b', 'c'].slice(0, columns).join(', ');
    const quoted = (value: string): string => `E'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
    const options = Object.entries(syntax).map(([name, value]) => `${name} ${quoted(String(value))}`);
    await client.query(`truncate t${columns}`);
    const copy = client.query(
      copyFrom(`copy t${columns} (${list}) from stdin with (format csv, ${options.join(', ')})`),
    );
    try {
      await pipeline(Readable.from(text === '' ? [] : [Buffer.from(text)]), copy);
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error;
      return undefined;
    }
    const { rows } = await client.query({
      text: `select ${list} from t${columns} order by n`,
      rowMode: 'array',
    });
    return rows as (string | null)[][];
  }

  function parseWithParser(pieces: readonly string[], syntax: CsvSyntax, columns: number) {
    try {
      const { records } = parse(pieces, syntax);
      return records.every((fields) => fields.length === columns) ? records : undefined;
    } catch (error) {
      if (!(error instanceof EtlError)) throw error;
      return undefined;
    }
  }

  /** Counts the records that `RecordEnds` finds. */
  function countRecords(pieces: readonly string[], { quote, escape }: CsvSyntax): number {
    const finder = new RecordEnds({ quote: quote.charCodeAt(0), escape: escape.charCodeAt(0) });
    let records = 0;
    let rest = 0;
    for (const piece of pieces) {
      const bytes = Buffer.from(piece);
      const ends = finder.find(bytes);
      const last = ends.at(-1);
      records += ends.length;
      rest = last === undefined ? rest + bytes.length : bytes.length - last;
    }
    return records + (rest > 0 ? 1 : 0);
  }

  const syntaxes: readonly CsvSyntax[] = [
    PLAIN,
    { delimiter: '|', quote: "'", escape: "'", null: 'n' },
    { delimiter: ',', quote: '"', escape: '\\', null: '' },
    { delimiter: '\t', quote: '"', escape: 'e', null: 'ee' },
    { delimiter: ';', quote: '"', escape: '"', null: '\\N' },
  ];
  for (const syntax of syntaxes) {
    it(`read the same, and cut as many records, with ${JSON.stringify(syntax)}`, async () => {
      const { delimiter, quote, escape } = syntax;
      const sign = fc.constantFrom(
        ...new Set([delimiter, quote, quote, escape, 'n', 'e', '\\', '.', 'é', ' ']),
      );
      const field = fc.oneof(
        fc.string({ unit: sign, maxLength: 4 }),
        fc
          .string({ unit: fc.constantFrom('a', delimiter, '\n', '\r', 'é', '\\.'), maxLength: 5 })
          .map((text) => quote + text + quote),
      );
      const file = fc
        .record({
          columns: fc.integer({ min: 1, max: 3 }),
          eol: fc.constantFrom('\n', '\n', '\r\n', '\r'),
          rows: fc.array(fc.array(field, { minLength: 3, maxLength: 3 }), { maxLength: 6 }),
          noise: fc.option(fc.constantFrom('\n', '\r', quote, `a${delimiter}b`), { freq: 6 }),
          isEnded: fc.boolean(),
        })
        .map(({ columns, eol, rows, noise, isEnded }) => ({
          columns,
          text:
            [
              ...rows.map((fields) => fields.slice(0, columns).join(delimiter)),
              ...(noise === null ? [] : [noise]),
            ].join(eol) + (isEnded && rows.length > 0 ? eol : ''),
        }));
      await fc.assert(
        fc.asyncProperty(file, fc.array(fc.nat(), { maxLength: 4 }), async ({ text, columns }, indexes) => {
          const expected = await parseWithCopy(text, syntax, columns);
          expect(parseWithParser([text], syntax, columns)).to.deep.equal(expected);
          expect(parseWithParser(cut(text, indexes), syntax, columns)).to.deep.equal(expected);
          if (expected !== undefined)
            expect(countRecords(cut(text, indexes), syntax)).to.equal(expected.length);
        }),
        { numRuns: 150 },
      );
    });
  }
});
