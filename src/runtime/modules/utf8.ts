import { isUtf8 } from 'node:buffer';

/** Returns the offset of the first byte that is not valid UTF-8. Returns undefined if all bytes are valid. */
export function findInvalidUtf8(bytes: Buffer): number | undefined {
  if (isUtf8(bytes)) return undefined;
  // Decoding replaces an invalid byte by U+FFFD, so the first difference is at that byte, or in the same character.
  const again = Buffer.from(bytes.toString('utf8'), 'utf8');
  let at = 0;
  while (bytes[at] === again[at]) at++;
  return at;
}

/**
 * Says where a text stops being UTF-8, and why, for a message. `at` is the result of `findInvalidUtf8`. Example: line 3
 * and `the byte 0xfc begins no character of UTF-8`.
 */
export function describeInvalidUtf8(
  bytes: Buffer,
  at: number,
): { readonly line: number; readonly why: string } {
  const line = bytes.subarray(0, at).toString('latin1').split('\n').length;
  const mark = bytes.toString('hex', 0, 2);
  const why =
    mark === 'fffe' || mark === 'feff'
      ? 'the file begins with the byte order mark of UTF-16'
      : `the byte 0x${bytes.toString('hex', at, at + 1)} at offset ${at} is not UTF-8; the file may be Latin-1 or Windows-1252`;
  return { line, why };
}
