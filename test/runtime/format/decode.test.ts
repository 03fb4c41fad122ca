import { expect } from 'chai';
import fc from 'fast-check';
import { TextDecoder } from 'node:util';
import type { EtlError } from '../../../src/errors.js';
import { createDecoder } from '../../../src/runtime/format/decode.js';
import { type Encoding, findEncoding, UTF8 } from '../../../src/runtime/format/encodings.js';

/** Decodes the bytes in chunks of `size` bytes. Returns the text, or the place of the error. */
function decode(bytes: Buffer, size: number, encoding: Encoding = UTF8): string | undefined {
  const decoder = createDecoder('in.csv', encoding);
  let text = '';
  try {
    for (let at = 0; at < bytes.length; at += size) text += decoder.decode(bytes.subarray(at, at + size));
    return text + decoder.end();
  } catch (error) {
    return (error as EtlError).where;
  }
}

describe('the decoder', () => {
  it('names the first byte of the first invalid character, wherever chunks end', () => {
    const part = fc.constantFrom(
      '61',
      'c3a9',
      'e282ac',
      'f09f9880',
      'c3',
      'e282',
      'f09f98',
      'ff',
      '80',
      'c0af',
      'e08080',
      'eda080',
      'f4908080',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), fc.integer({ min: 1, max: 9 }), (parts, size) => {
        const bytes = Buffer.from(parts.join(''), 'hex');
        // The second implementation: U+FFFD stands where the Encoding Standard finds the first invalid byte.
        const loose = new TextDecoder().decode(bytes);
        const index = loose.indexOf('\ufffd');
        const expected = index === -1 ? loose : `in.csv, at byte ${Buffer.byteLength(loose.slice(0, index))}`;
        expect(decode(bytes, size)).to.equal(expected);
      }),
      { numRuns: 2000 },
    );
  });

  it('names the byte that an encoding with one byte a character does not have', () => {
    const bytes = Buffer.from('abc\x80\x81d', 'latin1');
    for (const size of [1, 2, 100])
      expect(decode(bytes, size, findEncoding('windows-1252'))).to.equal('in.csv, at byte 4');
  });

  it('reads UTF-16 wherever chunks end, and refuses half a pair and half a unit', () => {
    const text = 'a€😀\ud83d\ude01é';
    for (const name of ['utf-16le', 'utf-16be', 'utf-16']) {
      const encoding = findEncoding(name);
      for (const [mark, swap] of [
        ['', name === 'utf-16be'],
        ['\ufeff', name === 'utf-16be'],
        ['\ufeff', name !== 'utf-16le'],
      ] as const) {
        const little = Buffer.from(mark + text, 'utf16le');
        const bytes = swap ? little.swap16() : little;
        for (let size = 1; size < 9; size++) {
          expect(decode(bytes, size, encoding), `${name} ${size}`).to.equal(text);
          expect(decode(bytes.subarray(0, -1), size, encoding)).to.match(/after byte/);
          expect(
            decode(
              Buffer.concat([bytes, swap ? Buffer.from('d83d', 'hex') : Buffer.from('3dd8', 'hex')]),
              size,
              encoding,
            ),
          ).to.match(/after byte/);
        }
      }
    }
  });
});
