import { expect } from 'chai';
import fc from 'fast-check';
import { EtlError } from '../../../src/errors.js';
import { buildJson, ExactNumber } from '../../../src/runtime/postgres/exact-number.js';
import { parseExact } from '../../../src/runtime/format/exact-json.js';
import { NdjsonParser } from '../../../src/runtime/format/ndjson.js';

function parse(pieces: readonly string[]) {
  const parser = new NdjsonParser('in.ndjson');
  const batches = [...pieces.map((piece) => parser.push(piece)), parser.end()];
  return batches.flatMap((batch) =>
    batch.rows.map((row, index) => [Number(/line (\d+)$/.exec(batch.locateRow(index))?.[1]), row]),
  );
}

describe('the NDJSON parser', () => {
  const text = '{"a":1}\n\n{"a":"x\\ny"}\r\n  \n{"a":{"b":[1]}}';
  const rows = [[1, { a: 1 }], [3, { a: 'x\ny' }], [5, { a: { b: [1] } }]]; // prettier-ignore
  it('reads one row a line and skips empty lines', () => expect(parse([text])).to.deep.equal(rows));
  it('reads the same rows wherever the text is cut', () => expect(parse(text.split(''))).to.deep.equal(rows));

  for (const line of ['{"a":', '[1]', '1', 'null', '{"a":1} x']) {
    it(`refuses ${line} and names the line`, () => {
      expect(() => parse([`{}\n\n${line}\n`]))
        .to.throw(EtlError)
        .that.includes({ code: 'ETL-3556', where: 'in.ndjson, line 3' });
    });
  }
});

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
