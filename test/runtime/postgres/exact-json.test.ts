import { expect } from 'chai';
import fc from 'fast-check';
import { parseExact, parseTexts, toWholeText } from '../../../src/runtime/postgres/exact-json.js';
import { buildJson, ExactNumber } from '../../../src/runtime/postgres/exact-number.js';

describe('parseExact', () => {
  it('keeps the digits of numbers', () => {
    const line =
      '{"big":9007199254740993,"small":-1.5,"price":0.1234567890123456789,"huge":1e400,"text":"n12345678901234567890","in":{"n":[18446744073709551616]},"9007199254740993":1,"e":1.50e2}';
    expect(parseExact(line)).to.deep.equal({
      big: 9007199254740993n,
      small: -1.5,
      price: new ExactNumber('0.1234567890123456789'),
      huge: new ExactNumber('1e400'),
      text: 'n12345678901234567890',
      in: { n: [18446744073709551616n] },
      '9007199254740993': 1,
      e: 150,
    });
  });

  it('reads any JSON as JSON.parse does', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.integer({ min: 0, max: 2 }), (value, indent) => {
        const given = JSON.stringify(value, null, indent);
        expect(buildJson(parseExact(given))).to.equal(JSON.stringify(JSON.parse(given)));
      }),
    );
  });

  it('reads numbers that buildJson writes with the same digits', () => {
    const digits = fc
      .tuple(
        fc.constantFrom('', '-'),
        fc.bigInt({ min: 1n, max: 10n ** 40n }),
        fc.option(fc.bigInt({ min: 1n, max: 10n ** 20n })),
      )
      .map(([sign, whole, fraction]) => `${sign}${whole}${fraction === null ? '' : `.${fraction}1`}`);
    expect(buildJson(parseExact(`[1${'0'.repeat(40)}]`))).to.equal(`[1${'0'.repeat(40)}]`);
    fc.assert(
      fc.property(fc.array(digits), fc.string(), (numbers, key) => {
        const given = `{${JSON.stringify(key)}:[${numbers.join(',')}],"s":${JSON.stringify(key)}}`;
        const parsed = buildJson(parseExact(given));
        if (key === 's') return;
        expect(
          numbers.every((number) => parsed.includes(number)),
          `${given} ${parsed}`,
        ).to.equal(true);
      }),
    );
  });
});

/** Numbers in every notation of JSON. */
const numbers = fc
  .tuple(
    fc.constantFrom('', '-'),
    fc.oneof(fc.constant('0'), fc.bigInt({ min: 1n, max: 10n ** 30n }).map(String)),
    fc.oneof(fc.constant(''), fc.stringMatching(/^\.\d{1,20}$/)),
    fc.oneof(fc.constant(''), fc.stringMatching(/^[eE][+-]?\d{1,3}$/)),
  )
  .map((parts) => parts.join(''));

describe('parseTexts', () => {
  it('keeps the text of every number', () => {
    fc.assert(
      fc.property(fc.array(numbers, { maxLength: 5 }), fc.string(), (given, text) => {
        const json = `{"a":[${given.join(',')}],"t":${JSON.stringify(text)}}`;
        expect(buildJson(parseTexts(json))).to.equal(json);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('toWholeText', () => {
  const cases: readonly [given: string, expected: string][] = [
    ['1.0', '1'],
    ['1e3', '1000'],
    ['-12.50e1', '-125'],
    ['0.0', '0'],
    ['-0.00', '0'],
    ['1.5', '1.5'],
    ['1e-3', '1e-3'],
    ['1e400', '1e400'],
    ['9007199254740993.000', '9007199254740993'],
  ];
  for (const [given, expected] of cases)
    it(`writes ${given} as ${expected}`, () => expect(toWholeText(given)).to.equal(expected));
});
