import type { InputFile, InputRows } from '../input/input.js';
import { type CsvReading, openCsvRows } from './csv-rows.js';
import { readText } from './decode.js';
import { chooseFormat } from './file-format.js';
import { JsonDocumentParser } from './json-document.js';
import type { JsonRowForm } from './json-row.js';
import { NdjsonParser } from './ndjson.js';
import { openParquet } from './parquet.js';
import type { FileFormat, RowBatch, RowReader } from './row-reader.js';

/** Options for reading an input as rows. */
export interface ReadOptions {
  /** The format of the input. Default: the format of the name, as `chooseFormat`. */
  readonly format?: FileFormat;
  readonly csv?: CsvReading;
  /** The form of the values of a JSON input. Default `text`. */
  readonly form?: JsonRowForm;
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
  const format = chooseFormat(input, options);
  switch (format) {
    case 'csv':
    case 'tsv':
      return openCsvRows(input, { ...(format === 'tsv' && { delimiter: '\t' }), ...options.csv });
    case 'json':
      return openJson(input, new JsonDocumentParser(input.name, form));
    case 'ndjson':
      return openJson(input, new NdjsonParser(input.name, form));
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

/** Opens a file of JSON objects as rows. */
function openJson(file: InputFile, parser: JsonDocumentParser | NdjsonParser): RowReader {
  return {
    name: file.name,
    columns: undefined,
    names: () => parser.names,
    fractions: 'numeric',
    strings: 'value',
    batches: readJsonRows(file, parser),
  };
}

/** Decodes and parses a file of JSON objects. Yields no empty batch. */
async function* readJsonRows(
  file: InputFile,
  parser: JsonDocumentParser | NdjsonParser,
): AsyncGenerator<RowBatch> {
  for await (const text of readText(file)) {
    const batch = parser.push(text);
    if (batch.rows.length > 0) yield batch;
  }
  const last = parser.end();
  if (last !== undefined && last.rows.length > 0) yield last;
}
