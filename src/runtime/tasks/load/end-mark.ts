import { EtlError } from '../../../errors.js';

/**
 * The first server version (PostgreSQL 18) that reads a line `\.` in a CSV file as a value. Older versions take it for
 * the end of the data. https://www.postgresql.org/docs/18/sql-copy.html
 */
export const END_MARK_IS_DATA_VERSION = 180_000;

/** The end mark `\.`: the two bytes that end the data if they are alone on a line. */
const MARK = Buffer.from('\\.');
/**
 * The number of bytes of a chunk that are searched again together with the next chunk: the line break before an end
 * mark and the two bytes of the mark. The line break after the mark is then in the next chunk.
 */
const TAIL_BYTES = 3;
const LF = 0x0a;
const CR = 0x0d;

/**
 * Yields the chunks of a CSV file unchanged, for servers that take a line `\.` for the end of the data. Such a server
 * ignores all following rows without an error. Throws `EtlError` ETL-3504 if the file has such a line. `name` is the
 * file for the message.
 */
export async function* refuseEndMark(chunks: AsyncIterable<Buffer>, name: string): AsyncGenerator<Buffer> {
  // The last bytes of the chunks before, because a marked line can begin there. Before line 1 it is a line break, so that
  // a mark on line 1 is found too.
  let tail: Buffer = Buffer.from([LF]);
  for await (const chunk of chunks) {
    const probe = Buffer.concat([tail, chunk]);
    if (hasEndMark(probe)) throw createEndMarkError(name);
    tail = Buffer.from(probe.subarray(-TAIL_BYTES));
    yield chunk;
  }
  // The last line of the file may have no line break.
  if (hasEndMark(Buffer.concat([tail, Buffer.from([LF])]))) throw createEndMarkError(name);
}

/** Says whether the bytes have an end mark with a line break before and after the mark. */
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
    what: `"${name}" has a line that holds only \\.`,
    why: 'before PostgreSQL 18 such a line ends the data: the rows after it would be lost',
    fix: 'write the value in quotes: "\\."',
  });
}
