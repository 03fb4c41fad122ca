import { CsvParser } from '../../format/csv.js';
import { createDecoder } from '../../format/decode.js';
import { inferColumns } from '../../format/infer.js';
import { createRowMaker } from '../../format/row-maker.js';
import type { CsvFormat } from './csv-format.js';
import type { DataColumn } from './feed.js';
import type { FileStart } from './header.js';

/** The number of bytes in the beginning of a file from which the types of its columns are inferred, at least. */
export const SAMPLE_BYTES = 256 * 1024;

/**
 * Infers the types of the columns from the complete rows in the beginning of a CSV file. `file` is its name for messages.
 * A whole number gets the type `bigint`, and `narrowest` is the type that the seen numbers need.
 */
export function inferColumnsFromText(
  file: string,
  { bytes, names, isAll }: FileStart,
  format: CsvFormat,
): readonly DataColumn[] {
  const decoder = createDecoder(file, format.encoding);
  const parser = new CsvParser(file, format);
  const complete = parser.push(decoder.decode(bytes)).records;
  const records = isAll ? [...complete, ...parser.end().records] : complete;
  const rows = records.slice(format.header ? 1 : 0).map(createRowMaker(names));
  return inferColumns(rows, { strings: 'text', names }).map(({ name, type }) =>
    type === 'bigint'
      ? { name, type, narrowest: findNarrowestInteger(rows.map((row) => row[name])) }
      : { name, type },
  );
}

/** Returns the narrowest integer type that can hold all values. NULL counts as 0, and an empty list fits `smallint`. */
function findNarrowestInteger(values: readonly unknown[]): string {
  const numbers = values.map(Number);
  /** Says whether all numbers fit a signed integer with `bits` bits and a sign bit. */
  const fits = (bits: number): boolean => numbers.every((each) => each >= -(2 ** bits) && each < 2 ** bits);
  return fits(15) ? 'smallint' : fits(31) ? 'integer' : 'bigint';
}
