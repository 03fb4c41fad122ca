import { readColumnNames } from '../../format/csv-rows.js';
import { recordAt } from '../../format/csv-record.js';
import { createDecoder } from '../../format/decode.js';
import { RecordEnds } from '../../format/record-ends.js';
import { EtlError } from '../../../errors.js';
import { type Header, NO_HEADER } from './feed.js';
import { readQuoting, type CsvFormat } from './csv-format.js';

/** The header must end within this many bytes. */
const HEADER_LIMIT_BYTES = 1024 * 1024;

/** The beginning of a CSV file that is not empty. */
export interface FileStart {
  /** The column names: those of `csv.columns` if it is set, otherwise those of the header. */
  readonly names: readonly string[];
  /** The bytes that were read so far, the header included. */
  readonly bytes: Buffer;
  /** True if `bytes` is the whole file. */
  readonly isAll: boolean;
  readonly header: Header;
}

/**
 * Reads chunks until they hold the header and at least `minBytes` bytes, or until the file ends. Returns undefined if the
 * file is empty. `file` is its name for messages.
 *
 * Throws `EtlError` ETL-3502 if the header does not end, and ETL-3503 if the header has an empty name or a name twice,
 * or is not in the encoding of the file.
 */
export async function readStart(
  chunks: AsyncIterator<Buffer>,
  file: string,
  format: CsvFormat,
  minBytes: number,
): Promise<FileStart | undefined> {
  const read: Buffer[] = [];
  for (let [size, isAll] = [0, false]; ;) {
    const next = await chunks.next();
    if (next.done === true) isAll = true;
    else read.push(next.value);
    size += next.done === true ? 0 : next.value.length;
    if (isAll && size === 0) return undefined;
    if (!isAll && size < Math.max(1, minBytes)) continue;
    // The header may still be incomplete. Then the next chunk is read, and the header is parsed again from its beginning.
    const start = parseStart(Buffer.concat(read), isAll, file, format);
    if (start !== undefined) return start;
    if (isAll || size > HEADER_LIMIT_BYTES) {
      throw new EtlError('ETL-3502', {
        what: `the first line of "${file}" does not end`,
        why: isAll ? 'a quote is opened and not closed' : 'it is longer than 1 MiB',
        fix: 'write the column names on the first line, or set `csv.header` to false and list the names in `csv.columns`',
      });
    }
  }
}

/**
 * Parses the header. `isAll` is true if `bytes` is the whole file: then the end of the file also ends the header. Returns
 * undefined if the header does not end within `bytes`, for example because of a quote that is not closed. Throws `EtlError`
 * ETL-3503 if the header has an empty name or a name twice, or is not in the encoding of the file.
 */
function parseStart(bytes: Buffer, isAll: boolean, file: string, format: CsvFormat): FileStart | undefined {
  const { columns } = format;
  if (!format.header)
    return { names: columns ?? [], bytes, isAll, header: { ...NO_HEADER, lines: format.skipLines } };
  const ends = new RecordEnds(readQuoting(format));
  const [end] = ends.find(bytes);
  if (end === undefined && !isAll) return undefined;
  const header = bytes.subarray(0, end);
  const text = decodeHeader(header, format, file);
  const record = recordAt(text, 0, { ...format, eol: undefined, isLast: true });
  if (record === undefined || record.problem !== undefined) return undefined;
  const names = columns ?? readColumnNames(record.fields, file);
  return {
    names,
    bytes,
    isAll,
    header: { bytes: header.length, lines: format.skipLines + record.breaks + 1, eol: ends.eol },
  };
}

/** Decodes the bytes of the header. Throws `EtlError` ETL-3503 if they are not in the encoding of the file. */
function decodeHeader(line: Buffer, format: CsvFormat, file: string): string {
  try {
    const decoder = createDecoder(file, format.encoding);
    return decoder.decode(line) + decoder.end();
  } catch (error) {
    throw new EtlError('ETL-3503', {
      what: `the header of "${file}" is not in the encoding ${format.encoding.name}`,
      fix: 'set `csv.encoding` to the encoding of the file',
      cause: error,
    });
  }
}
