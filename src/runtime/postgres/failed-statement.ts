import type { ReadOnlyReason } from './read-only.js';

/** A statement that failed: its SQL text, the message of the server, and the connection. */
export interface FailedStatement {
  /** The text as it was sent, with `$1` for its first value. */
  readonly sql: string;
  /** The message of the server. Knex puts the SQL before the message of its error. */
  readonly message: string;
  /** The number of statements of `sql` that the server had answered before the error. */
  readonly index: number;
  /** The ID of the connection. */
  readonly connectionId: string;
  /** The purpose of the statement, such as `check "no-null"`. Undefined for a statement of the task's own code. */
  readonly purpose?: string;
}

/**
 * The statement of each error of a server. The errors pass through Knex, Objection and the code of the user, which may
 * wrap them, so the statement is found by the error itself.
 */
const statements = new WeakMap<object, FailedStatement>();
/** The stack of the code that awaits the query of each error. */
const calls = new WeakMap<object, { readonly stack?: string }>();

/** The number of frames that `rememberCall` captures. The frames of Knex and Objection come before those of the user. */
const FRAMES = 60;

/** Remembers the statement that caused an error. The first statement of an error stays. */
export function rememberStatement(error: object, statement: FailedStatement): void {
  if (!statements.has(error)) statements.set(error, statement);
}

/**
 * Remembers the code that awaits the query of an error. Call this function in a reaction of the query's promise, such as
 * a `catch`: V8 then lists the async functions that wait for the promise. A query that succeeds costs nothing.
 */
export function rememberCall(error: object): void {
  if (calls.has(error)) return;
  const call: { readonly stack?: string } = {};
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = FRAMES;
  Error.captureStackTrace(call, rememberCall);
  Error.stackTraceLimit = limit;
  calls.set(error, call);
}

/** Puts a stack before the stack of the code that awaits the query of an error. */
export function addCallStack(error: object, stack: string): void {
  calls.set(error, { stack: `${stack}\n${findCall(error) ?? ''}` });
}

/**
 * Replaces the name of a table in an error of a server, for an error about a table that the program created: the user
 * knows only the table that the rows are for. Changes the error and its statement.
 */
export function renameTable(error: RenamedError, from: string, to: string): void {
  const rename = (text: string): string => text.replaceAll(from, to);
  const { message, table, where, detail } = error;
  Object.assign(error, {
    message: rename(message),
    ...(table !== undefined && { table: rename(table) }),
    ...(where !== undefined && { where: rename(where) }),
    ...(detail !== undefined && { detail: rename(detail) }),
  });
  const statement = statements.get(error);
  if (statement === undefined) return;
  // The context names the table of the COPY, so the statement must name the same table.
  statements.set(error, { ...statement, message: rename(statement.message), sql: rename(statement.sql) });
}

/** The fields of a server's error that can name a table. */
interface RenamedError extends Error {
  readonly table?: string;
  readonly where?: string;
  readonly detail?: string;
}

/** Returns the statement that caused an error. Undefined if the error does not come from a statement of a task. */
export function findFailedStatement(error: object): FailedStatement | undefined {
  return statements.get(error);
}

/** The connection on which a ledger could not be used. */
export interface LedgerConnection {
  readonly connectionId: string;
  /** The reason why the database accepts no writes. Undefined if it is not known, or if the database accepts writes. */
  readonly readOnly: ReadOnlyReason | undefined;
}

/** The connection of each error about a ledger. */
const connections = new WeakMap<object, LedgerConnection>();

/** Remembers on which connection the ledger could not be used. */
export function rememberConnection(error: unknown, connection: LedgerConnection): void {
  if (typeof error === 'object' && error !== null) connections.set(error, connection);
}

/** Returns the connection on which the ledger could not be used. Undefined if it is not known. */
export function findLedgerConnection(error: object): LedgerConnection | undefined {
  return connections.get(error);
}

/** Returns the stack of the code that awaits the query of an error. Undefined if the code is not known. */
export function findCall(error: object): string | undefined {
  return calls.get(error)?.stack;
}
