import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { EtlError } from '../../errors.js';
import { explainFileError } from '../input/disk.js';
import { describeInvalidUtf8, findInvalidUtf8 } from '../modules/utf8.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import { type BoundStatement, bindNamed, createUnknownNameError, listNames } from '../sql/bind.js';
import { formatSqlLocation, toIndex, type SqlOrigin } from '../sql/excerpt.js';
import { splitStatements } from '../sql/split.js';
import { assertTrusted } from '../trust/trusted-file.js';
import { refuseStatement } from './sql-file-statement.js';
import { collectFault } from './task-body.js';

/** A `.sql` file that was read and split into statements. */
export interface SqlFile {
  /** The path, as the user wrote it. */
  readonly path: string;
  readonly text: string;
  readonly statements: readonly FileStatement[];
}

/** A statement of a `.sql` file, with `:name` for its values. */
interface FileStatement {
  readonly text: string;
  /** The position of the statement in its file. */
  readonly origin: SqlOrigin;
}

/** A name in a `.sql` file that a value must be bound to. */
export interface FileName {
  readonly name: string;
  /** The index of the name in the text of the file. */
  readonly index: number;
}

/** An error of the server about a statement of a `.sql` file. The server's error is its `cause`. */
export class SqlFileError extends Error {
  override readonly name = 'SqlFileError';
  /** The file with line and column, and the line with a caret. */
  readonly where: string;

  constructor(where: string, cause: Error) {
    super(cause.message, { cause });
    this.where = where;
  }
}

/**
 * Reads a `.sql` file, and splits it into statements. `root` is the directory of the config file. Throws `EtlError`:
 *
 * - ETL-2102: another user could have written the file.
 * - ETL-3005: the file can't be read.
 * - ETL-3009: the file is not UTF-8 text.
 * - ETL-3002: a quote or a comment does not end, or there is a NUL character.
 * - ETL-3010: a statement can't run in a task: a command of psql, a COPY with the client, or an end of the transaction.
 */
export async function readSqlFile(path: string, root: string): Promise<SqlFile> {
  const text = await readSqlText(path, root);
  const toOrigin = (start: number): SqlOrigin => ({ file: path, text, start });
  const statements = splitStatements(text, {
    file: path,
    inspect: (statement) => refuseStatement(statement.text, toOrigin(statement.start)),
  });
  return {
    path,
    text,
    statements: statements.map((each) => ({ text: each.text, origin: toOrigin(each.start) })),
  };
}

/** Lists the names that the statements of a file bind. Throws `EtlError` ETL-3003 for a name that is written wrongly. */
export function listFileNames({ statements }: SqlFile): readonly FileName[] {
  return statements.flatMap(({ text, origin }) => listNames(text, origin));
}

/**
 * Finds the faults of a `.sql` file: it can't be read, a statement can't run in a task, or a name has no value. `known`
 * are the names that have values; undefined if they are not known before the run.
 */
export async function findFileFaults(
  path: string,
  root: string,
  known: readonly string[] | undefined,
): Promise<readonly EtlError[]> {
  const faults: EtlError[] = [];
  const unreadable = await collectFault(async () => {
    const file = await readSqlFile(path, root);
    const names = listFileNames(file);
    if (known === undefined) return;
    const values = Object.fromEntries(known.map((name) => [name, true]));
    for (const { name, index } of names) {
      if (!Object.hasOwn(values, name))
        faults.push(
          createUnknownNameError(name, formatSqlLocation({ file: path, text: file.text }, index), values),
        );
    }
  });
  return [...unreadable, ...faults];
}

/** A statement of a file whose values are bound. */
export interface BoundFileStatement extends BoundStatement {
  /** Wraps an error of the server about this statement in a `SqlFileError`. Returns every other error unchanged. */
  locate(error: unknown): unknown;
}

/** Binds the values of all statements of a file. Throws `EtlError` ETL-3003 for a name without a value. */
export function bindFile(
  { statements }: SqlFile,
  values: Readonly<Record<string, unknown>>,
): readonly BoundFileStatement[] {
  return statements.map(({ text, origin }) => {
    const bound = bindNamed(text, values, origin);
    return { ...bound, locate: (error) => locateError(error, bound, origin) };
  });
}

/**
 * Adds the position in the file to an error of the server. An error without a position, such as a violated constraint,
 * gets the position of its statement.
 */
function locateError(error: unknown, bound: BoundStatement, origin: SqlOrigin): unknown {
  const refused = findDatabaseError(error);
  if (refused === undefined) return error;
  const { position } = refused;
  const index = position === undefined ? 0 : bound.findIndex(toIndex(bound.text, Number(position)));
  return new SqlFileError(formatSqlLocation(origin, origin.start + index), refused);
}

/** Reads a `.sql` file as UTF-8, without a byte order mark. Throws ETL-3005 and ETL-3009 as `readSqlFile` does. */
async function readSqlText(path: string, root: string): Promise<string> {
  const file = resolve(root, path);
  assertTrusted(file, { noun: 'the SQL file', name: path });
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (error) {
    throw new EtlError('ETL-3005', {
      what: `the SQL file "${path}" can't be read`,
      why: explainFileError(error),
      fix: "check the path: it is relative to the directory of the Dag's config file, else to the working directory",
      cause: error,
    });
  }
  const invalidAt = findInvalidUtf8(bytes);
  if (invalidAt === undefined) return bytes.toString('utf8').replace(/^\uFEFF/, '');
  const { line, why } = describeInvalidUtf8(bytes, invalidAt);
  // psql refuses such a file too. Decoding would replace each invalid byte by U+FFFD.
  throw new EtlError('ETL-3009', {
    what: `the SQL file "${path}" is not UTF-8 text`,
    where: `${path}:${line}`,
    why,
    fix: 'save the file as UTF-8',
    data: 'no statement of the file was run',
  });
}
