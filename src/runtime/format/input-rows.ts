import type { InputFile, InputRows } from '../input/input.js';
import { removeCompressionExtension } from '../input/decompress.js';
import { type CsvReading, openCsvRows } from './csv-rows.js';
import { readText } from './decode.js';
import { type NdjsonBatch, NdjsonParser } from './ndjson.js';
import { openParquet } from './parquet.js';
import type { FileFormat, RowBatch, RowReader } from './row-reader.js';

/** Options for reading an input as rows. */
export interface ReadOptions {
  /** The format of the input. Default: the format that the extension of the name says, otherwise CSV. */
  readonly format?: FileFormat;
  readonly csv?: CsvReading;
  /** The encoding of NDJSON: a name from https://encoding.spec.whatwg.org/#names-and-labels. Default UTF-8. */
  readonly encoding?: string;
}

const BY_EXTENSION: Readonly<Record<string, FileFormat>> = {
  ndjson: 'ndjson',
  jsonl: 'ndjson',
  parquet: 'parquet',
};

/**
 * Returns the format of a file by its extension, for example NDJSON for `a.jsonl.gz`. Any other extension means CSV.
 */
export function formatOf(name: string): FileFormat {
  const extension = /\.(\w+)$/.exec(removeCompressionExtension(name))?.[1]?.toLowerCase();
  return BY_EXTENSION[extension ?? ''] ?? 'csv';
}

/** Opens an input as rows. Resolves to undefined if the input is an empty CSV file whose columns are not given. */
export async function readRows(
  input: InputFile | InputRows,
  options: ReadOptions = {},
): Promise<RowReader | undefined> {
  if ('rows' in input) return readCodeRows(input);
  const format = options.format ?? formatOf(input.name);
  switch (format) {
    case 'csv':
      return openCsvRows(input, options.csv);
    case 'ndjson':
      return {
        name: input.name,
        columns: undefined,
        strings: 'value',
        batches: readNdjsonRows(input, options),
      };
    case 'parquet':
      return openParquet(input);
    default:
      return format satisfies never;
  }
}

function readCodeRows(input: InputRows): RowReader {
  const { name } = input;
  async function* createBatches(): AsyncGenerator<RowBatch> {
    let seen = 0;
    for await (const rows of input.rows()) {
      const before = seen;
      yield { rows, locateRow: (index) => `${name}, row ${before + index + 1}` };
      seen += rows.length;
    }
  }
  return { name, columns: undefined, strings: 'value', batches: createBatches() };
}

async function* readNdjsonRows(file: InputFile, { encoding }: ReadOptions): AsyncGenerator<RowBatch> {
  const parser = new NdjsonParser(file.name);
  const addLocations = (batch: NdjsonBatch): RowBatch => ({
    rows: batch.rows,
    locateRow: (index) => `${file.name}, line ${batch.lineOf(index)}`,
  });
  for await (const text of readText(file, encoding)) {
    const batch = parser.push(text);
    if (batch.rows.length > 0) yield addLocations(batch);
  }
  const last = parser.end();
  if (last.rows.length > 0) yield addLocations(last);
}
