import type { Row } from '../copy/encode.js';

/** How the data of a file is written. */
export type FileFormat = 'csv' | 'ndjson' | 'parquet';

/** A column of the data. */
export interface InputColumn {
  readonly name: string;
  /** The type of its values, as `format_type` writes it; undefined where it is not known. */
  readonly type: string | undefined;
}

/** Some rows, and where they stand in the input. */
export interface RowBatch {
  readonly rows: readonly Row[];
  /** For messages: `in/orders.csv, line 17`. */
  locateRow(index: number): string;
}

/** Rows of one input. */
export interface RowReader {
  readonly name: string;
  /** What the input itself says of its columns; undefined where each row names its own. */
  readonly columns: readonly InputColumn[] | undefined;
  /** Whether a string of it is text in any notation, as in CSV, or a value that is a string. */
  readonly strings: 'text' | 'value';
  /** To be read once. */
  readonly batches: AsyncGenerator<RowBatch>;
}
