import { expect } from 'chai';
import fc from 'fast-check';
import { recordAt, type CsvSyntax, type LineBreak } from '../../../src/runtime/format/csv-record.js';
import { RecordEnds } from '../../../src/runtime/format/record-ends.js';

/** Returns the ends of the records of a text, in bytes from its beginning. `sizes` are the sizes of the chunks. */
function findEnds(text: string, { quote, escape }: CsvSyntax, sizes: readonly number[]): number[] {
  const finder = new RecordEnds({ quote: quote.charCodeAt(0), escape: escape.charCodeAt(0) });
  const bytes = Buffer.from(text);
  const ends: number[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    const start = at;
    ends.push(...finder.find(bytes.subarray(at, at + size)).map((end) => start + end));
    at += size;
  }
  // A CR at the end of a file is a line break. Only another chunk could tell whether it is CR or CR LF.
  return ends.filter((end) => end < bytes.length);
}

/** Returns the ends that the CSV parser finds. Returns undefined if the parser and COPY refuse the text. */
function parseEnds(text: string, syntax: CsvSyntax): number[] | undefined {
  const ends: number[] = [];
  let eol: LineBreak | undefined;
  for (let at = 0; at < text.length;) {
    const record = recordAt(text, at, { ...syntax, eol, isLast: true });
    if (record === undefined || record.problem !== undefined) return undefined;
    eol ??= record.eol;
    at = record.next;
    ends.push(Buffer.byteLength(text.slice(0, at)));
  }
  return ends.filter((end) => end < Buffer.byteLength(text));
}

const SYNTAXES: readonly CsvSyntax[] = [
  { delimiter: ',', quote: '"', escape: '"', null: '' },
  { delimiter: ',', quote: '"', escape: '\\', null: '' },
  { delimiter: '\t', quote: "'", escape: 'e', null: '' },
];

describe('the ends of records in bytes', () => {
  for (const syntax of SYNTAXES) {
    const { delimiter, quote, escape } = syntax;
    it(`are those that the CSV parser finds, wherever chunks end, with ${JSON.stringify(syntax)}`, () => {
      const sign = fc.constantFrom(delimiter, 'a', 'é', escape);
      const inQuotes = fc.constantFrom(
        'a',
        'é',
        delimiter,
        '\n',
        '\r',
        '\r\n',
        escape + quote,
        escape + escape,
      );
      const field = fc.oneof(
        fc.array(sign, { maxLength: 4 }).map((signs) => signs.join('').replaceAll(quote, '')),
        fc.array(inQuotes, { maxLength: 6 }).map((parts) => `${quote}${parts.join('')}${quote}`),
      );
      const line = fc.array(field, { minLength: 1, maxLength: 3 }).map((fields) => fields.join(delimiter));
      const file = fc
        .tuple(
          fc.array(line, { minLength: 1, maxLength: 8 }),
          fc.constantFrom('\n', '\r\n', '\r'),
          fc.boolean(),
        )
        .map(([lines, eol, isEnded]) => lines.join(eol) + (isEnded ? eol : ''));
      const sizes = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 5 });
      fc.assert(
        fc.property(file, sizes, (text, chunks) => {
          const expected = parseEnds(text, syntax);
          fc.pre(expected !== undefined);
          expect(findEnds(text, syntax, chunks)).to.deep.equal(expected);
        }),
        { numRuns: 1000 },
      );
    });
  }

  it('are at every line break if no quoting is given', () => {
    expect(new RecordEnds(undefined).find(Buffer.from('"a\nb"\nc'))).to.deep.equal([3, 6]);
  });

  it('are at the given line break, even if another kind comes first', () => {
    const finder = new RecordEnds({ quote: 1, escape: 1 }, '\n');
    expect(finder.find(Buffer.from('a\rb\n'))).to.deep.equal([4]);
  });
});
