import { expect } from 'chai';
import fc from 'fast-check';
import { parseExact } from '../../../src/runtime/postgres/exact-json.js';
import { buildJson } from '../../../src/runtime/postgres/exact-number.js';
import { JsonRowReader } from '../../../src/runtime/format/json-row.js';
import { restoreTexts } from '../../../src/runtime/format/row-texts.js';

/** Names that are rare in a test and frequent in an attack, and names that look like whole numbers. */
const name = fc.oneof(
  fc.constantFrom(
    'id',
    'a',
    'price',
    '2024',
    '7',
    '__proto__',
    'constructor',
    'toString',
    'é',
    'a"b',
    'a\\',
    '',
  ),
  fc.string({ maxLength: 3 }),
);
const number = fc.oneof(
  fc.constantFrom('1.50', '-0', '0.0', '1e400', '-1E-7', '20260131.00', '12345678901234567890', '0.0000001'),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
  fc.integer().map(String),
);
const token: fc.Arbitrary<string> = fc.oneof(
  number,
  fc.constantFrom('true', 'false', 'null', '"2026-01-31"', '"\\u00e9\\n"', '"a\\\\"', '{}', '[ ]'),
  fc.string().map((text) => JSON.stringify(text)),
  fc.array(number, { maxLength: 3 }).map((items) => `[${items.join(', ')}]`),
  fc.tuple(fc.string(), number).map(([key, value]) => `{${JSON.stringify(key)} :${value}}`),
);
/** Objects as text, each with the separators that its program writes. */
const object = fc
  .tuple(
    fc.uniqueArray(fc.tuple(name, token), { selector: ([key]) => key, maxLength: 5 }),
    fc.constantFrom([':', ','], [': ', ', '], [' : ', ' , '], [':\t', ',\t']),
  )
  .map(([properties, [colon = '', comma = '']]) => ({
    properties,
    text: `{${properties.map(([key, value]) => `${JSON.stringify(key)}${colon}${value}`).join(comma)}}`,
  }));

describe('the reader of JSON objects', () => {
  it('keeps the text of every number, array and object, whatever rows came before', () => {
    fc.assert(
      fc.property(fc.array(object, { minLength: 1, maxLength: 8 }), (objects) => {
        const reader = new JsonRowReader('text');
        for (const { properties, text } of objects) {
          const row = reader.read(text) ?? {};
          const own = new Map(Object.entries(row).filter(([, value]) => value !== undefined));
          expect([...own.keys()]).to.have.members(properties.map(([key]) => key));
          for (const [key, value] of properties) {
            const written = buildJson(own.get(key));
            expect(value.startsWith('"') ? JSON.parse(written) : written).to.equal(
              value.startsWith('"') ? JSON.parse(value) : value,
            );
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('gives a transform the values of JSON.parse, and restores the texts of those that it leaves', () => {
    fc.assert(
      fc.property(fc.array(object, { minLength: 1, maxLength: 8 }), (objects) => {
        const reader = new JsonRowReader('value');
        for (const { properties, text } of objects) {
          const row = reader.read(text) ?? {};
          expect(Object.keys(row)).to.have.members(properties.map(([key]) => key));
          const [restored = {}] = restoreTexts({
            rows: [{ ...row }],
            texts: [reader.texts],
            locateRow: String,
          });
          for (const [key, value] of properties) {
            const written = buildJson(Object.getOwnPropertyDescriptor(restored, key)?.value);
            // Without a number that JavaScript writes in another way, only spaces and escapes differ.
            const expected = /^[-\d]/.test(value)
              ? value
              : (reader.texts?.find(([own]) => own === key)?.[1] ?? JSON.stringify(JSON.parse(value)));
            expect(written).to.equal(expected);
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('reads what the exact reader reads: a name twice, another order, deep nesting, half of a surrogate pair', () => {
    const deep = fc.tuple(fc.integer({ min: 50, max: 400 }), number);
    const any = fc.oneof(
      token,
      deep.map(([depth, value]) => `${'['.repeat(depth)}${value}${']'.repeat(depth)}`),
      deep.map(([depth, value]) => `${'{"a": '.repeat(depth)}${value}${'}'.repeat(depth)}`),
      fc.constantFrom(
        '"\\ud800"',
        '"\\udc00 1.50, "',
        '["\\ud83d", -0]',
        '"[1.50,"',
        '": 12345678901234567890,"',
      ),
    );
    const key = fc.constantFrom('a', 'b', 'c', '__proto__', 'a"b', '1');
    const separators = fc.constantFrom([':', ','], [': ', ', '], ['  : ', ' ,\t']);
    const text = fc
      .tuple(fc.array(fc.tuple(key, any), { maxLength: 6 }), separators)
      .map(
        ([properties, [colon = '', comma = '']]) =>
          `{${properties.map(([own, value]) => `${JSON.stringify(own)}${colon}${value}`).join(comma)}}`,
      );
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 12 }), (lines) => {
        const [values, texts] = [new JsonRowReader('value'), new JsonRowReader('text')];
        for (const line of lines) {
          const exact = parseExact(line) as object;
          expect(values.read(line)).to.deep.equal(exact);
          const read = Object.entries(texts.read(line) ?? {}).filter(([, value]) => value !== undefined);
          const parsed = read.map(([own, value]) => [own, parseExact(buildJson(value))]);
          expect(Object.fromEntries(parsed)).to.deep.equal(Object.fromEntries(Object.entries(exact)));
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('refuses exactly the texts that JSON.parse refuses, whatever rows came before', () => {
    const broken = fc
      .tuple(fc.array(object, { maxLength: 3 }), object, fc.nat(), fc.constantFrom('', '"', '\\', '0', '-', ',', '}', ' x', '\t', '\0'))
      .map(([others, own, at, part]) => ({ before: [...others, own], text: own.text, at, part }))
      .map(({ before, text, at, part }) => ({
        before,
        text: `${text.slice(0, at % (text.length + 1))}${part}${text.slice((at % (text.length + 1)) + (at % 2))}`,
      })); // prettier-ignore
    const throws = (read: () => unknown): boolean => {
      try {
        read();
        return false;
      } catch {
        return true;
      }
    };
    fc.assert(
      fc.property(broken, fc.constantFrom<'text' | 'value'>('text', 'value'), ({ before, text }, form) => {
        const reader = new JsonRowReader(form);
        // The object itself comes before, so that its names are known.
        for (const { text: one } of before) reader.read(one);
        expect(throws(() => reader.read(text))).to.equal(throws(() => JSON.parse(text)));
      }),
      { numRuns: 5000 },
    );
  });

  it('finds the names in the order of the text', () => {
    const reader = new JsonRowReader('text');
    for (const text of ['{"b":1,"2024":2,"2023":3}', '{"b":1,"7":0}']) reader.read(text);
    expect(reader.names).to.deep.equal(['b', '2024', '2023', '7']);
  });
});
