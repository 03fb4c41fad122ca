import type { Row } from '../copy/encode.js';

/** The format of a file. */
export type FileFormat = 'csv' | 'ndjson' | 'parquet';

/** A column of an input. */
export interface InputColumn {
  readonly name: string;
  /** The type of the values, as PostgreSQL's `format_type` writes it. Undefined if the type is not known. */
  readonly type: string | undefined;
}

/** Some consecutive rows of an input. */
export interface RowBatch {
  readonly rows: readonly Row[];
  /** Returns the location of the row at `index` for messages: `in/orders.csv, line 17`. */
  locateRow(index: number): string;
}

/** The rows of one input. */
export interface RowReader {
  /** The name of the input, for messages. */
  readonly name: string;
  /** The columns that the input names. Undefined if each row names its own columns, as in NDJSON. */
  readonly columns: readonly InputColumn[] | undefined;
  /** `text`: a string may be the notation of any type, as in CSV. `value`: a string is a string, as in JSON. */
  readonly strings: 'text' | 'value';
  /** The rows. They can be read once. */
  readonly batches: AsyncGenerator<RowBatch>;
}
