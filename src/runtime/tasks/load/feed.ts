import type { Quoting } from '../../format/record-ends.js';
import type { InputColumn } from '../../format/row-reader.js';
import { findDatabaseError, isConnectionEnd } from '../../postgres/sqlstate.js';

/** A column of the data. */
export interface DataColumn extends InputColumn {
  /**
   * The narrowest type that takes the values that were seen, where `type` is a wider guess: the type of a new column
   * must be wide, that of an old one is only changed where it has to be.
   */
  readonly least?: string;
}

/** One input, ready to be sent: bytes that COPY with these options takes for rows of these columns. */
export interface Feed {
  /** The input's, for messages. */
  readonly name: string;
  /** In the order of the bytes. */
  readonly columns: readonly DataColumn[];
  /** For `with (…)` of COPY. */
  readonly options: string;
  /** To be read once. */
  readonly chunks: AsyncIterable<Buffer>;
  /** For rows that are sent in pieces. */
  readonly records: RecordFormat;
  /** How many rows were sent so far; undefined where nobody counts, because the server parses them. */
  sent(): number | undefined;
}

/** Where one row ends and the next begins. */
export interface RecordFormat {
  /** For `with (…)` of a COPY that gets rows alone. */
  readonly options: string;
  /** Bytes before the first row, and the lines that they are. */
  readonly header: { readonly bytes: number; readonly lines: number };
  /** A line break inside of quotes does not end a row; undefined where nothing is quoted. */
  readonly quoting: Quoting | undefined;
}

/** What the server said of the rows of a file, which is its cause. */
export class FileError extends Error {
  override readonly name = 'FileError';
  /** As the user wrote it. */
  readonly file: string;

  constructor(file: string, cause: Error) {
    super(cause.message, { cause });
    this.file = file;
  }
}

/** Adds the file to an error of the server that is about the rows; any other stays as it is. */
export function addFile(file: string, error: unknown): unknown {
  const refused = findDatabaseError(error);
  return refused === undefined || isConnectionEnd(refused) ? error : new FileError(file, refused);
}
