import { EtlError } from '../../../errors.js';
import { UTF8 } from '../../format/encodings.js';
import { transcode } from '../../format/transcode.js';
import type { InputFile } from '../../input/input.js';
import { type CsvFormat, NO_QUOTE } from './csv-format.js';

/** A CSV file, and the format in which its chunks are. */
export interface CsvFile {
  readonly file: InputFile;
  readonly csv: CsvFormat;
}

/**
 * Returns a CSV file without the lines before its header, and with quotes that COPY accepts. `isServer` says whether the
 * server reads the file: a file whose encoding the server does not decode as this program does becomes UTF-8. With
 * `keepsInvalid`, invalid bytes stay for the server, which refuses their rows. Otherwise they are an error.
 *
 * Reading throws `EtlError` ETL-3502 if the file has fewer lines than `csv.skipLines`, but is not empty.
 */
export function prepareCsvFile(
  { file, csv }: CsvFile,
  { isServer, keepsInvalid }: { readonly isServer: boolean; readonly keepsInvalid: boolean },
): CsvFile {
  const { encoding, skipLines, hasQuotes } = csv;
  // Bytes can be lines and quotes only in an encoding that contains ASCII.
  const mustBeAscii = isServer || skipLines > 0 || !hasQuotes;
  const isForeign = mustBeAscii && encoding.server === undefined;
  if (!isForeign && skipLines === 0 && hasQuotes) return { file, csv };
  const { name } = file;
  const readChunks = (): AsyncIterable<Buffer> => {
    let chunks = file.chunks();
    if (isForeign) chunks = transcode(chunks, { name, encoding, keepsInvalid });
    if (skipLines > 0) chunks = dropLines(chunks, skipLines, name);
    return hasQuotes ? chunks : quoteSigns(chunks);
  };
  return { file: { name, chunks: readChunks }, csv: isForeign ? { ...csv, encoding: UTF8 } : csv };
}

const LF = 0x0a;
const CR = 0x0d;

/**
 * Yields the chunks without the first lines. A line ends with LF, CR LF or CR. Throws ETL-3502 if there are fewer lines,
 * except for an empty file.
 */
async function* dropLines(
  chunks: AsyncIterable<Buffer>,
  lines: number,
  name: string,
): AsyncGenerator<Buffer> {
  let left = lines;
  let isEmpty = true;
  /** Whether the last byte was the CR of a line: an LF after it belongs to this line. */
  let isAfterCr = false;
  for await (const chunk of chunks) {
    isEmpty &&= chunk.length === 0;
    let at = 0;
    for (; at < chunk.length && (left > 0 || isAfterCr); at++) {
      const byte = chunk[at];
      const isSecond = isAfterCr && byte === LF;
      if (!isSecond && left === 0) break;
      if (!isSecond && (byte === LF || byte === CR)) left--;
      isAfterCr = byte === CR;
    }
    if (at === chunk.length) continue;
    isAfterCr = false;
    yield chunk.subarray(at);
  }
  if (left === 0 || isEmpty) return;
  throw new EtlError('ETL-3502', {
    what: `"${name}" has fewer than ${lines} lines, which \`csv.skipLines\` leaves out`,
    fix: 'correct `csv.skipLines`: the number of lines before the header, or before the first row',
  });
}

const SIGN = NO_QUOTE.charCodeAt(0);

/**
 * Yields the chunks with each U+0001 in quotes: a quote before and after one or several of them, each of which is doubled.
 * The quote of the COPY is U+0001, too.
 */
async function* quoteSigns(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  /** Whether the last byte was U+0001: the quote after it is not written yet. */
  let isOpen = false;
  for await (const chunk of chunks) {
    if (!isOpen && !chunk.includes(SIGN)) {
      yield chunk;
      continue;
    }
    const bytes: number[] = [];
    for (const byte of chunk) {
      if (isOpen !== (byte === SIGN)) bytes.push(SIGN);
      isOpen = byte === SIGN;
      bytes.push(...(isOpen ? [SIGN, SIGN] : [byte]));
    }
    yield Buffer.from(bytes);
  }
  if (isOpen) yield Buffer.of(SIGN);
}
