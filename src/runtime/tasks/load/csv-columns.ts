import { CsvParser } from '../../format/csv.js';
import { createDecoder } from '../../format/decode.js';
import { inferColumns } from '../../format/infer.js';
import { createRowMaker } from '../../format/row-maker.js';
import type { InputColumn } from '../../format/row-reader.js';
import type { CsvFormat } from './csv-format.js';
import type { FileStart } from './header.js';

/** The number of bytes in the beginning of a file from which the types of its columns are inferred, at least. */
export const SAMPLE_BYTES = 256 * 1024;

/** The columns of a CSV file, and the first values of each column. */
export interface CsvSample {
  readonly columns: readonly InputColumn[];
  /** Returns the values of a column. NULL is `null`. */
  sample(name: string): readonly (string | null)[];
}

/**
 * Reads the complete rows in the beginning of a CSV file, and infers the types of the columns. `file` is its name for
 * messages.
 */
export function readSample(file: string, { bytes, names, isAll }: FileStart, format: CsvFormat): CsvSample {
  const decoder = createDecoder(file, format.encoding);
  const parser = new CsvParser(file, format);
  const complete = parser.push(decoder.decode(bytes)).records;
  const records = (isAll ? [...complete, ...parser.end().records] : complete).slice(format.header ? 1 : 0);
  return {
    columns: inferColumns(records.map(createRowMaker(names)), { strings: 'text', names }),
    sample: (name) => records.map((record) => record[names.indexOf(name)] ?? null),
  };
}
