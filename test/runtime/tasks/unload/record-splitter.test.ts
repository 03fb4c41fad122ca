import { expect } from 'chai';
import fc from 'fast-check';
import type { Partition } from '../../../../src/runtime/tasks/unload/layout.js';
import { RecordSplitter, type Framing } from '../../../../src/runtime/tasks/unload/record-splitter.js';

const CSV: Framing = { delimiter: 44, quote: 34, hasHeader: true };

/** Splits a text that comes in chunks of these sizes. Returns the content of each file. */
function splitText(text: string, sizes: readonly number[], partition: Partition, framing = CSV) {
  const splitter = new RecordSplitter(framing, partition);
  const parts: { value: string | null; text: string }[] = [];
  const bytes = Buffer.from(text);
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = Math.max(1, sizes[i % Math.max(1, sizes.length)] ?? 1);
    for (const piece of splitter.take(bytes.subarray(at, at + size))) {
      if (piece.part !== undefined) parts.push({ value: piece.part.value, text: '' });
      const last = parts.at(-1);
      if (last !== undefined) last.text += piece.bytes.toString();
    }
    at += size;
  }
  return { parts, rows: splitter.rows, header: splitter.header.toString() };
}

const field = fc
  .array(fc.constantFrom('a', ',', '"', '\n', '\r\n', 'é'), { maxLength: 6 })
  .map((all) => all.join(''));
const quoted = field.map((text) => `"${text.replaceAll('"', '""')}"`);
const record = fc.tuple(quoted, fc.constantFrom('1', '', 'x')).map((fields) => `${fields.join(',')}\n`);
const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 });

describe('the record splitter', () => {
  it('splits records by number, whatever characters they hold and however they are chunked', () => {
    fc.assert(
      fc.property(fc.array(record), fc.integer({ min: 1, max: 5 }), sizes, (records, rows, chunks) => {
        const found = splitText(`h,k\n${records.join('')}`, chunks, { rows });
        const expected: string[] = [];
        for (let i = 0; i < records.length; i += rows) expected.push(records.slice(i, i + rows).join(''));
        expect(found.parts.map(({ text }) => text)).to.deep.equal(expected);
        expect(found).to.include({ rows: records.length, header: 'h,k\n' });
      }),
    );
  });

  it('splits records by size, and puts a larger record alone into a file', () => {
    fc.assert(
      fc.property(fc.array(record), fc.integer({ min: 1, max: 60 }), sizes, (records, bytes, chunks) => {
        const { parts } = splitText(`h,k\n${records.join('')}`, chunks, { bytes });
        expect(parts.map(({ text }) => text).join('')).to.equal(records.join(''));
        for (const { text } of parts)
          expect(Buffer.byteLength(text) <= bytes || records.includes(text), text).to.equal(true);
      }),
    );
  });

  it('splits records by the key in their first field, and removes the key', () => {
    const groups = fc.uniqueArray(
      fc.tuple(fc.option(fc.string({ unit: 'binary' })), fc.array(record, { minLength: 1 })),
      {
        selector: ([value]) => value,
      },
    );
    fc.assert(
      fc.property(groups, sizes, fc.boolean(), (all, chunks, isQuoted) => {
        const encodeKey = (value: string | null) =>
          value === null ? 'n' : `v${Buffer.from(value).toString('hex')}`;
        const lines = all.flatMap(([value, records]) =>
          records.map((each) => `${isQuoted ? `"${encodeKey(value)}"` : encodeKey(value)},${each}`),
        );
        const found = splitText(`key,h,k\n${lines.join('')}`, chunks, { by: 'k' });
        expect(found.parts).to.deep.equal(all.map(([value, records]) => ({ value, text: records.join('') })));
        expect(found.header).to.equal(lines.length > 0 ? 'h,k\n' : found.header);
      }),
    );
  });
});
