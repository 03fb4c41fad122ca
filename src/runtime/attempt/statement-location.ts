import { readFileSync } from 'node:fs';
import type { PlannedTask } from '../dag/plan.js';
import { formatPosition, getLocationFrame, shortenPath } from '../modules/location.js';
import { listUserFrames } from '../modules/stack.js';
import { type FailedStatement, findCall, findFailedStatement } from '../postgres/failed-statement.js';
import { describeServerError } from '../postgres/server-error.js';
import type { CopyPosition } from '../postgres/copy-position.js';
import type { DatabaseError } from '../postgres/sqlstate.js';
import { cutText } from '../secrets/secrets.js';
import { formatSqlLocation, toIndex } from '../sql/excerpt.js';
import { formatHiddenExcerpt, hideLiterals, shortenHidden } from '../sql/hide-literals.js';
import { splitStatements } from '../sql/split.js';
import { FileError } from '../tasks/load/feed.js';
import { SqlFileError } from '../tasks/sql-file.js';

/** The task of a failure, for messages. */
export interface FailureSite {
  readonly task: PlannedTask;
  /** True if the Dag uses more than one connection, so messages name the connection. */
  readonly hasSeveralConnections: boolean;
}

/** The maximum length of a statement with its constants, in UTF-16 units. */
const HIDDEN_LIMIT = 2000;

/** The state of a task connection at the moment when its attempt was stopped. */
export interface Interrupted {
  /** The statement that the server was running. Undefined if the task was doing something else. */
  readonly sql: string | undefined;
  /** The server's error about the statement that was cancelled. Undefined if there was no answer. */
  readonly error: object | undefined;
  /** The error with which the body of the task ended. */
  readonly thrown: Error;
  readonly connectionId: string;
}

/**
 * Formats the location of a server's error as lines:
 *
 * - `connection "shop"`, if the Dag has several connections
 * - `orders.csv:7, column "total" (COPY orders)`, for an error in the input of a COPY
 * - `statement sent at src/orders.ts:12:3`, and the statement: its line with a caret, or its beginning
 * - the functions on the server that the statement called
 *
 * Never formats a value of a row.
 */
export function formatServerLocation(
  cause: Error,
  error: DatabaseError,
  site: FailureSite,
): readonly string[] {
  const statement = findFailedStatement(error);
  const { copy, context } = describeServerError(error);
  const lines: string[] = [];
  const connectionId = statement?.connectionId ?? site.task.conn;
  if (connectionId !== undefined) lines.push(...formatConnection(connectionId, site));
  if (statement?.purpose !== undefined) lines.push(statement.purpose);
  lines.push(...formatCopyPosition(cause, copy));
  // The statement of a file has numbers for its names, so the error of the file has the position in the file itself.
  if (cause instanceof SqlFileError) lines.push(cause.where);
  else if (statement !== undefined) lines.push(...formatStatement(statement, error, site.task));
  return [...lines, ...context];
}

/**
 * Formats the file of a load, and the position in the input of a COPY. Example: `orders.csv:3, column "total" (COPY orders)`,
 * or `orders.parquet, row 3` for rows that this process has read.
 */
function formatCopyPosition(cause: Error, copy: CopyPosition | undefined): readonly string[] {
  const file = cause instanceof FileError ? cause : undefined;
  if (copy === undefined) return file === undefined ? [] : [`file "${file.file}"`];
  const column = copy.column === undefined ? '' : `, column "${copy.column}"`;
  if (file === undefined) return [`COPY ${copy.table}, line ${copy.line}${column}`];
  const line = file.skippedLines === undefined ? `, row ${copy.line}` : `:${copy.line + file.skippedLines}`;
  return [`${file.file}${line}${column} (COPY ${copy.table})`];
}

/** Formats the location of the statement that ran when a task was stopped. */
export function formatInterrupted(
  { sql, error, thrown, connectionId }: Interrupted,
  site: FailureSite,
): readonly string[] {
  if (sql === undefined)
    return ['no statement was running: the code of the task was busy, or waited for something else'];
  const connection = formatConnection(connectionId, site);
  const state = `the server ${error === undefined ? 'was running' : 'cancelled'} this statement`;
  if (thrown instanceof SqlFileError) return [...connection, `${state}:`, thrown.where];
  const location = formatCall(error, site.task) ?? formatWritten(sql, site.task);
  return [...connection, `${state}${location === undefined ? '' : `, ${location}`}:`, shortenHidden(sql)];
}

/** Returns the statement of a server's error with its constants. Undefined if the message does not show the statement. */
export function findShownStatement(error: DatabaseError, { task }: FailureSite): string | undefined {
  const statement = findFailedStatement(error);
  if (statement === undefined) return undefined;
  return error.position !== undefined || isOfUser(statement, task) ? statement.sql : undefined;
}

/**
 * Formats a statement with its constants, for the part of an error that has values of rows. Empty if the message hides no
 * constant: the statement has none, or the message shows the line of a `.sql` file as it is.
 */
export function formatHiddenStatement(cause: Error, sql: string | undefined): readonly string[] {
  if (sql === undefined || cause instanceof SqlFileError || hideLiterals(sql) === sql) return [];
  return [`statement: ${cutText(sql.trim(), HIDDEN_LIMIT)}`];
}

/** Names the connection, if the Dag has several. */
function formatConnection(connectionId: string, { hasSeveralConnections }: FailureSite): string[] {
  return hasSeveralConnections ? [`connection "${connectionId}"`] : [];
}

/** Formats a statement with the location of the code that sent it. */
function formatStatement(statement: FailedStatement, error: DatabaseError, task: PlannedTask): string[] {
  const { sql, index } = statement;
  const at = error.position === undefined ? 0 : toIndex(sql, Number(error.position));
  const location = formatCall(error, task) ?? formatWritten(sql, task, at);
  const sent = location === undefined ? [] : [`statement ${location}`];
  if (error.position !== undefined) return [...sent, formatHiddenExcerpt(sql, Number(error.position))];
  return isOfUser(statement, task) ? [...sent, findOne(sql, index)] : sent;
}

/** Returns true if the user has written a statement. The statements of the other kinds are written by the program. */
function isOfUser({ purpose, connectionId }: FailedStatement, { task, conn }: PlannedTask): boolean {
  return ['session', 'sql'].includes(task.kind) || purpose !== undefined || connectionId !== conn;
}

/**
 * Finds the statement that failed in a text with several statements. `index` is the number of statements that the server
 * had answered. Example: `statement 7 of 20: insert into t values (1)`.
 */
function findOne(sql: string, index: number): string {
  try {
    const statements = splitStatements(sql);
    const failed = statements[index];
    if (statements.length > 1 && failed !== undefined)
      return `statement ${index + 1} of ${statements.length}: ${shortenHidden(failed.text)}`;
  } catch {
    // The server's error is reported. That this text can't be split adds nothing.
  }
  return shortenHidden(sql);
}

/** Formats `sent at <file>:<line>:<column>` for the code of the user that awaits the query of an error. */
function formatCall(error: object | undefined, { location: { root } }: PlannedTask): string | undefined {
  const frame = error && listUserFrames(findCall(error))[0];
  return frame && `sent at ${formatPosition(frame.file, frame, root.directory)}`;
}

/**
 * Formats `written at <file>:<line>:<column>` for the index `at` of the text of a `sql` task. Returns undefined if the
 * file that defines the task does not have the same text behind the definition.
 */
function formatWritten(sql: string, { task, location }: PlannedTask, at = 0): string | undefined {
  const frame = task.kind === 'sql' && location.near === undefined ? getLocationFrame(location) : undefined;
  const text = frame && readSourceText(frame.file);
  if (frame === undefined || text === undefined) return undefined;
  const definition = text.split('\n', frame.line - 1).join('\n').length;
  const start = text.indexOf(sql, definition);
  if (start < 0) return undefined;
  const file = shortenPath(frame.file, location.root.directory);
  return `written at ${formatSqlLocation({ file, text }, start + at).split('\n', 1)[0]}`;
}

/** Returns the text of a file of the user's code. Returns undefined if the file can't be read. */
function readSourceText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // The error of the task is reported, without the position in the file.
    return undefined;
  }
}
