import { EtlError } from '../../../errors.js';

/** From here on a line `\.` is a value in CSV, as in https://www.postgresql.org/docs/18/sql-copy.html. */
export const END_MARK_IS_DATA_VERSION = 180_000;

const MARK = Buffer.from('\\.');
const LF = 0x0a;
const CR = 0x0d;

/**
 * Passes bytes of a CSV file on, for servers to which a line `\.` is the end of the data: they would leave out what
 * follows and not say so. Throws `EtlError` ETL-3504 instead.
 */
export async function* refuseEndMark(chunks: AsyncIterable<Buffer>, name: string): AsyncGenerator<Buffer> {
  // Of a chunk's end, as much as may be the beginning of the mark; at first the line break before the first line.
  let tail: Buffer = Buffer.from([LF]);
  for await (const chunk of chunks) {
    const probe = Buffer.concat([tail, chunk]);
    if (hasEndMark(probe)) throw createEndMarkError(name);
    tail = Buffer.from(probe.subarray(-3));
    yield chunk;
  }
  if (hasEndMark(Buffer.concat([tail, Buffer.from([LF])]))) throw createEndMarkError(name);
}

function hasEndMark(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(MARK); at !== -1; at = bytes.indexOf(MARK, at + 1)) {
    if (isBreak(bytes[at - 1]) && isBreak(bytes[at + 2])) return true;
  }
  return false;
}

function isBreak(byte: number | undefined): boolean {
  return byte === LF || byte === CR;
}

function createEndMarkError(name: string): EtlError {
  return new EtlError('ETL-3504', {
    what: `"${name}" has a line that is only \\.`,
    why: 'before PostgreSQL 18 that ends the data, and the rows after it would be lost',
    fix: 'write the value in quotes: "\\."',
  });
}
