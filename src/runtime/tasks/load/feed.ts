import type { LineBreak } from '../../format/csv-record.js';
import type { Encoding } from '../../format/encodings.js';
import type { Quoting } from '../../format/record-ends.js';
import type { LaterValues } from '../../format/later-value.js';
import type { InputColumn } from '../../format/row-reader.js';
import type { Table } from '../../table/describe.js';
import type { ValueType } from '../../postgres/type-form.js';
import { findDatabaseError, isConnectionEnd } from '../../postgres/sqlstate.js';

/** One input of a load, as bytes that are ready for COPY. */
export interface Feed {
  /** The name of the input, for messages. */
  readonly name: string;
  /** The number of lines of the file before the bytes of `chunks`. */
  readonly skippedLines: number;
  /** The columns, in the order of the fields. */
  readonly columns: readonly InputColumn[];
  /** The options of COPY for `chunks`, for `with (…)`. */
  readonly options: string;
  /**
   * Returns the bytes, with a header if the input has one. They can be read only once. `target` decides how values are
   * written that this process writes.
   */
  chunks(target: FeedTarget): AsyncIterable<Buffer>;
  /** Returns the values of a column in the first rows, as a COPY into a column of the type gets them. NULL is `null`. */
  sample(name: string, type: ValueType, usesUtcDates: boolean): readonly (string | null)[];
  /** How to split `chunks` into rows, for a load with `rejects`, which sends rows in batches. */
  readonly records: RecordFormat;
  /**
   * Returns the number of rows that were sent so far. Returns undefined if only the server counts, because it parses
   * them.
   */
  sent(): number | undefined;
}

/** The table that a feed is sent to, as it is when the rows are sent, and the connection. */
export interface FeedTarget {
  readonly table: Table;
  /** True if pg writes dates in UTC (`pg.defaults.parseInputDatesAsUTC`). */
  readonly usesUtcDates: boolean;
  /** The check of the columns whose types were inferred. Undefined if there are none. */
  readonly later: LaterValues | undefined;
}

/** How the bytes of an input are split into rows. */
export interface RecordFormat {
  /** The options of a COPY that gets some of the rows, for `with (…)`. */
  readonly options: string;
  /** The header before the first row. */
  readonly header: Header;
  /**
   * True if COPY ignores the first line of each piece of the input. The first line decides which line break COPY expects,
   * so each piece begins with an empty line that ends as the lines of the input do.
   */
  readonly hasFirstLine: boolean;
  /** The bytes for quoting: a line break inside quotes does not end a row. Undefined if the format has no quotes. */
  readonly quoting: Quoting | undefined;
  /** The encoding of the bytes, to show the text of a row. */
  readonly encoding: Encoding;
}

/** The header of an input. */
export interface Header {
  readonly bytes: number;
  readonly lines: number;
  /** The line break after the header, which all lines of the input must have. Undefined if there is no header. */
  readonly eol: LineBreak | undefined;
}

/** The header of an input that has none. */
export const NO_HEADER: Header = { bytes: 0, lines: 0, eol: undefined };

type FailedFeed = Pick<Feed, 'name' | 'skippedLines' | 'sent'>;

/** An error of the server about the rows of a file. The server's error is its `cause`. */
export class FileError extends Error {
  override readonly name = 'FileError';
  /** The name of the file, as the user wrote it. */
  readonly file: string;
  /**
   * The number of lines of the file that COPY did not get: its line 1 is the line after them. Undefined if COPY gets rows
   * that this process has read: its line 1 is the first row.
   */
  readonly skippedLines: number | undefined;

  constructor({ name, skippedLines, sent }: FailedFeed, cause: Error) {
    super(cause.message, { cause });
    this.file = name;
    this.skippedLines = sent() === undefined ? skippedLines : undefined;
  }
}

/** Wraps an error of the server in a `FileError`. Returns every other error, also a lost connection, unchanged. */
export function addFile(feed: FailedFeed, error: unknown): unknown {
  const refused = findDatabaseError(error);
  return refused === undefined || isConnectionEnd(refused) ? error : new FileError(feed, refused);
}
