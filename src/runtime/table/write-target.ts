/** The table that rows are written to, and how the rows that are already there are treated. */
export interface WriteTarget {
  /** The name of the table, as `table` or `schema.table`. */
  readonly into: string;
  /**
   * - `append` adds the rows.
   * - `replace` deletes all rows of the table, and adds the new rows.
   * - `merge` updates rows with the same `key` if a value differs, and adds the other rows.
   */
  readonly mode: 'append' | 'replace' | 'merge';
  /** For `merge`: the columns that identify a row. The table needs a unique index on exactly these columns. */
  readonly key?: readonly string[] | undefined;
  /** For `merge`: delete the rows whose key is not in the data. Data without rows deletes all rows. */
  readonly deleteMissing?: boolean | undefined;
}

/** The numbers of rows, as the server counted them. */
export interface Written {
  /** The rows of the data. */
  readonly rows: number;
  /** The rows that were added. */
  readonly inserted: number;
  /** The rows that a merge updated. Rows that were already the same are neither written nor counted. */
  readonly updated: number;
  /**
   * The rows that `deleteMissing` deleted. The rows that `replace` deletes are not counted, because TRUNCATE counts
   * none.
   */
  readonly deleted: number;
}

/**
 * Copies rows into a table, and returns the number of rows that the server counted. Both arguments are quoted SQL.
 * `columnList` has no parentheses: `"id", "name"`.
 */
export type BringRows = (table: string, columnList: string) => Promise<number>;
