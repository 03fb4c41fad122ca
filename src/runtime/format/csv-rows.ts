import { EtlError } from '../../errors.js';
import type { Row } from '../copy/encode.js';
import type { InputFile } from '../input/input.js';
import { type CsvBatch, CsvParser } from './csv.js';
import type { CsvSyntax } from './csv-record.js';
import { readText } from './decode.js';
import type { Encoding } from './encodings.js';
import { createRowMaker } from './row-maker.js';
import type { RowBatch, RowReader } from './row-reader.js';

/** Options for reading a CSV file. The defaults are those of PostgreSQL's COPY, with a header. */
export interface CsvReading extends Partial<CsvSyntax> {
  /** Whether the first record holds the names of the columns. Default true. */
  readonly header?: boolean;
  /** The names of the columns. They replace the names of the header. */
  readonly columns?: readonly string[];
  /** The number of lines of the file before its chunks, for messages. Default 0. */
  readonly skipLines?: number;
  /** The encoding of the file. Default UTF-8. */
  readonly encoding?: Encoding;
}

/**
 * Opens a CSV file as rows. Resolves to undefined if the file is empty and `columns` is not given: then nothing names
 * the columns.
 *
 * Throws `EtlError` ETL-3503 as `readColumnNames` does, ETL-3554 for wrong bytes, and ETL-3555 for wrong CSV or a
 * record with too many or too few fields.
 */
export async function openCsvRows(file: InputFile, reading: CsvReading = {}): Promise<RowReader | undefined> {
  const batches = readCsvBatches(file, reading);
  try {
    return await openBatches(batches, file.name, reading);
  } catch (error) {
    // Closes the file.
    await batches.return(undefined);
    throw error;
  }
}

/** Reads the first record, and returns the rows. Throws as `openCsvRows` does. */
async function openBatches(
  batches: AsyncGenerator<CsvBatch>,
  file: string,
  reading: CsvReading,
): Promise<RowReader | undefined> {
  const hasHeader = reading.header ?? true;
  let first = await batches.next();
  // A piece of text that holds only a part of the first record gives a batch without records.
  while (first.done !== true && first.value.records.length === 0) first = await batches.next();
  if (first.done === true && reading.columns === undefined) return undefined;
  const header = hasHeader && first.done !== true ? first.value.records[0] : undefined;
  const names = reading.columns ?? readColumnNames(header ?? [], file);
  return {
    name: file,
    columns: names.map((name) => ({ name, type: undefined })),
    strings: 'text',
    batches: createRowBatches(file, names, {
      first,
      others: batches,
      skip: header === undefined ? 0 : 1,
    }),
  };
}

/**
 * Returns the column names in the header of a CSV file. `fields` is the first record, `file` the name for messages.
 * Throws `EtlError` ETL-3503 if a name is empty or occurs twice.
 */
export function readColumnNames(fields: readonly (string | null)[], file: string): readonly string[] {
  const names = fields.map((field) => field ?? '');
  const twice = names.find((each, index) => names.indexOf(each) !== index);
  if (twice === undefined && !names.includes('')) return names;
  throw new EtlError('ETL-3503', {
    what: `the header of "${file}" ${names.includes('') ? 'has a column without a name' : `names the column "${twice}" twice`}`,
    fix: 'give each field of the first line the name of one column of the table',
  });
}

/** Decodes and parses the file. Yields one batch of records for each piece of text. A batch can be empty. */
async function* readCsvBatches(file: InputFile, reading: CsvReading): AsyncGenerator<CsvBatch> {
  const { delimiter = ',', quote = '"', escape = quote } = reading;
  const syntax = { delimiter, quote, escape, null: reading.null ?? '' };
  const parser = new CsvParser(file.name, syntax, (reading.skipLines ?? 0) + 1);
  for await (const text of readText(file, reading.encoding)) yield parser.push(text);
  yield parser.end();
}

/** The batches of a CSV file, of which the first is read already to find the header. */
interface Batches {
  readonly first: IteratorResult<CsvBatch>;
  readonly others: AsyncGenerator<CsvBatch>;
  /** The number of records at the beginning of `first` that are not rows: 1 with a header, otherwise 0. */
  readonly skip: number;
}

/**
 * Turns records into rows with the properties `names`. Yields no empty batch. Closes the input when the reading ends,
 * also if it ends early. Throws ETL-3555, with the line, for a record whose number of fields differs from the number of
 * names.
 */
async function* createRowBatches(
  file: string,
  names: readonly string[],
  { first, others, skip }: Batches,
): AsyncGenerator<RowBatch> {
  const make = createRowMaker(names);
  let from = skip;
  try {
    for (let next = first; next.done !== true; next = await others.next()) {
      const batch: CsvBatch = next.value;
      const start = from;
      const locateRow = (index: number): string => `${file}, line ${batch.lineOf(index + start)}`;
      const rows: Row[] = [];
      for (let i = start; i < batch.records.length; i++) {
        const fields = batch.records[i] as (string | null)[];
        if (fields.length !== names.length)
          throw createFieldCountError(file, names, fields, locateRow(rows.length));
        rows.push(make(fields));
      }
      if (rows.length > 0) yield { rows, locateRow };
      from = 0;
    }
  } finally {
    await others.return(undefined);
  }
}

/**
 * Creates the error ETL-3555 for a record with too many or too few fields. `where` is the location of the record. The
 * first column without a field is named.
 */
function createFieldCountError(
  file: string,
  names: readonly string[],
  fields: readonly unknown[],
  where: string,
): EtlError {
  const missing = names[fields.length];
  return new EtlError('ETL-3555', {
    what: `a record of "${file}" has ${fields.length} fields, but there are ${names.length} columns`,
    where,
    why:
      missing === undefined ? 'the record goes on after the last column' : `column "${missing}" is missing`,
    fix: 'put quotes around a field that holds the delimiter, or set `csv.delimiter`',
  });
}
