/** Where rows go, and what becomes of those that are there. */
export interface WriteTarget {
  /** `table` or `schema.table`. */
  readonly into: string;
  /**
   * `append` adds the rows; `replace` puts them in place of all that are there; `merge` updates the rows that have the
   * same `key`, where a value differs, and adds the others.
   */
  readonly mode: 'append' | 'replace' | 'merge';
  /** For `merge`: columns with a unique index of just them. */
  readonly key?: readonly string[] | undefined;
  /** For `merge`: delete the rows whose key is not among those that came. With no rows that is all of them. */
  readonly deleteMissing?: boolean | undefined;
}

/** What became of the rows, by the server's counts. */
export interface Written {
  /** Rows that came. */
  readonly rows: number;
  readonly inserted: number;
  /** By a merge; rows that were the same already are not written and not counted. */
  readonly updated: number;
  /** By `deleteMissing`. What `replace` removes is not counted: TRUNCATE does not say. */
  readonly deleted: number;
}

/** Lets rows COPY into a table: both arguments are quoted SQL, the list without parentheses. Returns the server's count. */
export type BringRows = (table: string, columnList: string) => Promise<number>;
