import type { Row } from '../copy/encode.js';

/** The format of a file. */
export type FileFormat = 'csv' | 'tsv' | 'json' | 'ndjson' | 'parquet';

/** A column of an input. */
export interface InputColumn {
  readonly name: string;
  /** The type of the values, as PostgreSQL's `format_type` writes it. Undefined if the type is not known. */
  readonly type: string | undefined;
  /**
   * The narrowest type that holds the values that were seen, if `type` is a wider guess: a new column has `type`, so that
   * later values fit. Undefined if it is `type`.
   */
  readonly narrowest?: string;
  /** True if the input names the type. Otherwise `type` is inferred from the first values. */
  readonly isNamed?: boolean;
}

/**
 * The texts of values of one row, with their names, that JavaScript would write in another way: `1.50` of the number 1.5.
 * A text applies only while the row still has its value.
 */
export type RowTexts = readonly (readonly [name: string, text: string])[];

/** The number of rows from which names and types are inferred. */
export const SAMPLE_ROWS = 1000;

/** Some consecutive rows of an input. */
export interface RowBatch {
  readonly rows: readonly Row[];
  /** The texts of the row at the same index. Undefined if no row has texts. */
  readonly texts?: readonly (RowTexts | undefined)[];
  /** Returns the location of the row at `index` for messages: `in/orders.csv, line 17`. */
  locateRow(index: number): string;
}

/** The rows of one input. */
export interface RowReader {
  /** The name of the input, for messages. */
  readonly name: string;
  /** The columns that the input names. Undefined if each row names its own columns, as in NDJSON. */
  readonly columns: readonly InputColumn[] | undefined;
  /** Returns the names in the first rows in the order of the input, if the rows can't tell it. */
  readonly names?: () => readonly string[];
  /** The type of a number with a fraction, as `InferOptions`. */
  readonly fractions?: 'numeric';
  /** `text`: a string may be the notation of any type, as in CSV. `value`: a string is a string, as in JSON. */
  readonly strings: 'text' | 'value';
  /** The rows. They can be read once. */
  readonly batches: AsyncGenerator<RowBatch>;
}
