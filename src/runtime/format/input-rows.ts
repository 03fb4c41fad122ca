import type { InputFile, InputRows } from '../input/input.js';
import { removeCompressionExtension } from '../input/decompress.js';
import { type CsvReading, openCsvRows } from './csv-rows.js';
import { readText } from './decode.js';
import type { JsonRowForm } from './json-row.js';
import { NdjsonParser } from './ndjson.js';
import { openParquet } from './parquet.js';
import type { FileFormat, RowBatch, RowReader } from './row-reader.js';

/** Options for reading an input as rows. */
export interface ReadOptions {
  /** The format of the input. Default: the format that the extension of the name says, otherwise CSV. */
  readonly format?: FileFormat;
  readonly csv?: CsvReading;
  /** What the values of a JSON input are. Default `text`. */
  readonly form?: JsonRowForm;
}

const BY_EXTENSION: Readonly<Record<string, FileFormat>> = {
  csv: 'csv',
  ndjson: 'ndjson',
  jsonl: 'ndjson',
  parquet: 'parquet',
};

/** Returns the format of a file by its extension, for example NDJSON for `a.jsonl.gz`. */
export function findFormat(name: string): FileFormat | undefined {
  const extension = /\.(\w+)$/.exec(removeCompressionExtension(name))?.[1]?.toLowerCase();
  return BY_EXTENSION[extension ?? ''];
}

/** Returns the format of a file by its extension. Any other extension means CSV. */
export function formatOf(name: string): FileFormat {
  return findFormat(name) ?? 'csv';
}

/** Opens an input as rows. Resolves to undefined if the input is an empty CSV file whose columns are not given. */
export async function readRows(
  input: InputFile | InputRows,
  options: ReadOptions = {},
): Promise<RowReader | undefined> {
  const { form = 'text' } = options;
  if ('rows' in input) {
    return { name: input.name, columns: undefined, strings: 'value', batches: readCodeRows(input) };
  }
  const format = options.format ?? formatOf(input.name);
  switch (format) {
    case 'csv':
      return openCsvRows(input, options.csv);
    case 'ndjson':
      return openNdjson(input, form);
    case 'parquet':
      return openParquet(input, form);
    default:
      return format satisfies never;
  }
}

/** Yields the batches of rows from the user's code. The location of a row is its number: `the stream, row 17`. */
async function* readCodeRows(input: InputRows): AsyncGenerator<RowBatch> {
  let seen = 0;
  for await (const rows of input.rows()) {
    const before = seen;
    yield { rows, locateRow: (index) => `${input.name}, row ${before + index + 1}` };
    seen += rows.length;
  }
}

/** Opens an NDJSON file as rows. */
function openNdjson(file: InputFile, form: JsonRowForm): RowReader {
  const parser = new NdjsonParser(file.name, form);
  return {
    name: file.name,
    columns: undefined,
    names: () => parser.names,
    fractions: 'numeric',
    strings: 'value',
    batches: readNdjsonRows(file, parser),
  };
}

/** Decodes and parses an NDJSON file. Yields no empty batch. */
async function* readNdjsonRows(file: InputFile, parser: NdjsonParser): AsyncGenerator<RowBatch> {
  for await (const text of readText(file)) {
    const batch = parser.push(text);
    if (batch.rows.length > 0) yield batch;
  }
  const last = parser.end();
  if (last.rows.length > 0) yield last;
}
