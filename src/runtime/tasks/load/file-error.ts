import { databaseErrorOf, endsConnection } from '../../postgres/sqlstate.js';

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
export function inFile(file: string, error: unknown): unknown {
  const refused = databaseErrorOf(error);
  return refused === undefined || endsConnection(refused) ? error : new FileError(file, refused);
}
