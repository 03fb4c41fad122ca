import { CsvParser } from '../../format/csv.js';
import { createDecoder } from '../../format/decode.js';
import { inferColumns } from '../../format/infer.js';
import { createRowMaker } from '../../format/row-maker.js';
import type { InputFile } from '../../input/input.js';
import { copyOptions, readQuoting, type CsvFormat } from './csv-format.js';
import { refuseEndMark } from './end-mark.js';
import type { DataColumn, Feed } from './feed.js';
import { readStart, type FileStart } from './header.js';

/** The types of the columns are inferred from the first bytes of a file, at least this many. */
const SAMPLE_BYTES = 256 * 1024;

/** How a CSV file is read. */
export interface CsvFeedOptions {
  readonly format: CsvFormat;
  /** True if the types of the columns are needed. They are inferred from the first rows. */
  readonly isTyped: boolean;
  /** True if the server takes a line `\.` for the end of the data, as PostgreSQL before 18 does. */
  readonly hasEndMark: boolean;
  /**
   * Called with the column names of the file, and with the file including the bytes that were read already. Returns
   * feeds that parse the file in this process, or undefined if the server can parse the file.
   */
  readonly parseInstead: (columns: readonly string[], file: InputFile) => AsyncGenerator<Feed> | undefined;
}

/**
 * Yields a feed that sends a CSV file unchanged: the server parses it. Yields the feeds of `parseInstead` if it returns
 * some. Yields nothing if the file is empty. Closes the file at the end.
 */
export async function* createCsvFeeds(file: InputFile, options: CsvFeedOptions): AsyncGenerator<Feed> {
  const rest = file.chunks()[Symbol.asyncIterator]();
  try {
    const { format, isTyped } = options;
    const start = await readStart(rest, { file: file.name, format, minBytes: isTyped ? SAMPLE_BYTES : 0 });
    if (start === undefined) return;
    const chunks = concatenate(start.bytes, rest);
    const parsed = options.parseInstead(start.names, { ...file, chunks: () => chunks });
    if (parsed === undefined) yield createCsvFeed(file.name, { start, chunks }, options);
    else yield* parsed;
  } finally {
    await rest.return?.();
  }
}

/** A CSV file whose beginning was read. `chunks` are all bytes of the file, the beginning included. */
interface StartedFile {
  readonly start: FileStart;
  readonly chunks: AsyncIterable<Buffer>;
}

function createCsvFeed(name: string, { start, chunks }: StartedFile, options: CsvFeedOptions): Feed {
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
      quoting: readQuoting(format),
    },
    sent: () => undefined,
  };
}

/** Infers the types of the columns from the complete rows in the beginning of the file. */
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
      ? { name, type, narrowest: findNarrowestInteger(rows.map((row) => row[name])) }
      : { name, type },
  );
}

/** Returns the narrowest integer type that can hold all values. */
function findNarrowestInteger(values: readonly unknown[]): string {
  const numbers = values.map(Number);
  const fits = (bits: number): boolean => numbers.every((each) => each >= -(2 ** bits) && each < 2 ** bits);
  return fits(15) ? 'smallint' : fits(31) ? 'integer' : 'bigint';
}

async function* concatenate(start: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  yield start;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}
