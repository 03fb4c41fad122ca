import { CsvParser } from '../../format/csv.js';
import { createDecoder } from '../../format/decode.js';
import { inferColumns } from '../../format/infer.js';
import { createRowMaker } from '../../format/row-maker.js';
import type { InputFile } from '../../input/input.js';
import { copyOptions, type CsvFormat } from './csv-format.js';
import { refuseEndMark } from './end-mark.js';
import type { DataColumn, Feed } from './feed.js';
import { readStart, type FileStart } from './header.js';

/** How much of a file its types are inferred from. */
const SAMPLE_BYTES = 256 * 1024;

/** How a CSV file is taken. */
export interface CsvFeedOptions {
  readonly format: CsvFormat;
  /** Whether the types of its columns are wanted, which are those of its first rows. */
  readonly isTyped: boolean;
  /** Whether to this server a line `\.` is the end of the data. */
  readonly hasEndMark: boolean;
  /** Takes the file instead, where it wants to: with what was read of it. */
  readonly instead: (columns: readonly string[], file: InputFile) => AsyncGenerator<Feed> | undefined;
}

/** A CSV file as it is: the server parses it. Yields nothing for an empty one, and closes the file. */
export async function* createCsvFeeds(file: InputFile, options: CsvFeedOptions): AsyncGenerator<Feed> {
  const rest = file.chunks()[Symbol.asyncIterator]();
  try {
    const { format, isTyped } = options;
    const start = await readStart(rest, { file: file.name, format, least: isTyped ? SAMPLE_BYTES : 0 });
    if (start === undefined) return;
    const chunks = concatenate(start.bytes, rest);
    const instead = options.instead(start.names, { ...file, chunks: () => chunks });
    if (instead === undefined) yield createCsvFeed(file.name, { start, chunks }, options);
    else yield* instead;
  } finally {
    await rest.return?.();
  }
}

interface OpenFile {
  readonly start: FileStart;
  readonly chunks: AsyncIterable<Buffer>;
}

function createCsvFeed(name: string, { start, chunks }: OpenFile, options: CsvFeedOptions): Feed {
  const { format, isTyped, hasEndMark } = options;
  return {
    name,
    columns: isTyped
      ? inferColumnsFromText(name, start, format)
      : start.names.map((each) => ({ name: each, type: undefined })),
    options: copyOptions(format, format.header),
    chunks: hasEndMark ? refuseEndMark(chunks, name) : chunks,
    records: {
      options: copyOptions(format, false),
      header: start.header,
      quoting: { quote: format.quote.charCodeAt(0), escape: format.escape.charCodeAt(0) },
    },
    sent: () => undefined,
  };
}

/** Of the rows that the beginning of the file holds whole. */
function inferColumnsFromText(
  file: string,
  { bytes, names, isAll }: FileStart,
  format: CsvFormat,
): readonly DataColumn[] {
  const decoder = createDecoder(file, format.encoding);
  const parser = new CsvParser(file, format);
  const whole = parser.push(decoder.decode(bytes)).records;
  const records = isAll ? [...whole, ...parser.end().records] : whole;
  const rows = records.slice(format.header ? 1 : 0).map(createRowMaker(names));
  return inferColumns(rows, { strings: 'text', names }).map(({ name, type }) =>
    type === 'bigint'
      ? { name, type, least: findNarrowestInteger(rows.map((row) => row[name])) }
      : { name, type },
  );
}

function findNarrowestInteger(values: readonly unknown[]): string {
  const numbers = values.map(Number);
  const fits = (bits: number): boolean => numbers.every((each) => each >= -(2 ** bits) && each < 2 ** bits);
  return fits(15) ? 'smallint' : fits(31) ? 'integer' : 'bigint';
}

async function* concatenate(start: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  yield start;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}
