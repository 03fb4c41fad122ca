import type { PlannedTask } from '../dag/plan.js';
import { formatPosition } from '../modules/location.js';
import { listUserFrames } from '../modules/stack.js';
import { type FailedStatement, findCall, findFailedStatement } from '../postgres/failed-statement.js';
import { describeServerError } from '../postgres/server-error.js';
import type { DatabaseError } from '../postgres/sqlstate.js';
import { cutText } from '../secrets/secrets.js';
import { formatCaretExcerpt } from '../sql/excerpt.js';
import { hideLiterals } from '../sql/hide-literals.js';
import { splitStatements } from '../sql/split.js';
import { FileError } from '../tasks/load/feed.js';
import { SqlFileError } from '../tasks/sql-file.js';

/** The task of a failure, for messages. */
export interface FailureSite {
  readonly task: PlannedTask;
  /** True if the Dag uses more than one connection, so messages name the connection. */
  readonly hasSeveralConnections: boolean;
}

/** The state of a task connection at the moment when its attempt was stopped. */
export interface Interrupted {
  /** The statement that the server was running. Undefined if the task was doing something else. */
  readonly sql: string | undefined;
  /** The server's error about the statement that was cancelled. Undefined if there was no answer. */
  readonly error: object | undefined;
  readonly connectionId: string;
}

/** The maximum length of a statement in a message, in UTF-16 units. */
const STATEMENT_LIMIT = 200;

/**
 * Formats the location of a server's error as lines:
 *
 * - `connection "shop"`, if the Dag has several connections
 * - `COPY orders, line 7, column "total"`, for an error in the input of a COPY
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
  if (copy !== undefined) {
    const column = copy.column === undefined ? '' : `, column "${copy.column}"`;
    const skipped = cause instanceof FileError ? cause.skippedLines : 0;
    lines.push(`COPY ${copy.table}, line ${copy.line + skipped}${column}`);
  }
  // The statement of a file has numbers for its names, so the error of the file has the position in the file itself.
  if (cause instanceof SqlFileError) lines.push(cause.where);
  else if (statement !== undefined) lines.push(...formatStatement(statement, error, site.task));
  return [...lines, ...context];
}

/** Formats the location of the statement that ran when a task was stopped. */
export function formatInterrupted(
  { sql, error, connectionId }: Interrupted,
  site: FailureSite,
): readonly string[] {
  if (sql === undefined)
    return ['no statement was running: the code of the task was busy, or waited for something else'];
  return [
    ...formatConnection(connectionId, site),
    `statement that was running${error === undefined ? '' : formatCall(error, site.task).replace(/^ /, ', ')}:`,
    shorten(isWritten(site.task) && connectionId === site.task.conn ? sql : hideLiterals(sql)),
  ];
}

/** Names the connection, if the Dag has several. */
function formatConnection(connectionId: string, { hasSeveralConnections }: FailureSite): string[] {
  return hasSeveralConnections ? [`connection "${connectionId}"`] : [];
}

/** Formats a statement with the location of the code that sent it. */
function formatStatement(
  { sql, index, connectionId, purpose }: FailedStatement,
  error: DatabaseError,
  task: PlannedTask,
): string[] {
  const call = formatCall(error, task);
  const sent = call === '' ? [] : [`statement${call}`];
  const hidden = hideLiterals(sql);
  if (error.position !== undefined)
    return [
      ...sent,
      formatCaretExcerpt(isWritten(task) || purpose !== undefined ? sql : hidden, Number(error.position)),
    ];
  // The statements of the other kinds are written by the program, not by the user.
  const isOfUser =
    ['session', 'sql'].includes(task.task.kind) || purpose !== undefined || connectionId !== task.conn;
  return isOfUser ? [...sent, findOne(hidden, index)] : sent;
}

/**
 * Returns true if the user has written the SQL of a task in the config. Any other SQL is built while the task runs, and
 * can contain values of rows.
 */
function isWritten({ task: { kind, options } }: PlannedTask): boolean {
  return kind === 'sql' && typeof (options as { readonly sql?: unknown }).sql !== 'function';
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
      return `statement ${index + 1} of ${statements.length}: ${shorten(failed.text)}`;
  } catch {
    // The server's error is reported. That this text can't be split adds nothing.
  }
  return shorten(sql);
}

/** Formats ` sent at <file>:<line>:<column>` for the code of the user that awaits the query of an error. */
function formatCall(error: object, { location: { root } }: PlannedTask): string {
  const frame = listUserFrames(findCall(error))[0];
  return frame === undefined ? '' : ` sent at ${formatPosition(frame.file, frame, root.directory)}`;
}

/** Writes a statement in one line, and cuts it. */
function shorten(sql: string): string {
  const line = sql.trim().replaceAll(/\s+/g, ' ');
  return cutText(line, STATEMENT_LIMIT);
}
