import { expect } from 'chai';
import { EtlError } from '../../../src/errors.js';
import { NdjsonParser } from '../../../src/runtime/format/ndjson.js';

function parse(pieces: readonly string[]) {
  const parser = new NdjsonParser('in.ndjson', 'value');
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
