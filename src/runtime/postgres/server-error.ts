import { type CopyPosition, parseCopyPosition } from './copy-position.js';
import { findFailedStatement } from './failed-statement.js';
import { cutText } from '../secrets/secrets.js';
import type { DatabaseError } from './sqlstate.js';

/** The parts of a server's error for a report. Only `rowData` contains values of rows. */
export interface ServerErrorText {
  /** The message of the server. A value of a row in it is replaced by `…`. */
  readonly message: string;
  /** The DETAIL of the server, one line an entry. A value of a row in it is replaced by `…`. */
  readonly detail: readonly string[];
  /** The lines of the CONTEXT that contain only names: the functions on the server, and a row's place in its table. */
  readonly context: readonly string[];
  /** The position in the input of a COPY. Undefined if no COPY was running. */
  readonly copy: CopyPosition | undefined;
  /** The hint of the server. */
  readonly hint: string | undefined;
  /** The parts of the server's error that contain values of rows, whole. Undefined if no part does. */
  readonly rowData: string | undefined;
}

/**
 * The classes of SQLSTATE whose DETAIL and HINT contain only names (of tables, columns, types, settings, processes), and
 * never a value of a row: 08 connection, 0A not supported, 25 transaction state, 28 login, 2B dependent objects, 3D
 * database, 3F schema, 40 serialization and deadlock, 42 names and access, 53 resources, 55 object state, 57
 * intervention, 58 system.
 *
 * The class decides, not the text: a server answers in the language of its lc_messages.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const NAMES_ONLY = new Set(['08', '0A', '25', '28', '2B', '3D', '3F', '40', '42', '53', '55', '57', '58']);
/** The codes of class 22 whose message or DETAIL has names, types and single bytes, but no value. */
const NO_VALUE_IN_MESSAGE = new Set(['22P04', '22021', '22P05']);
const NO_VALUE_IN_DETAIL = new Set(['22003']);

/** The maximum number of lines of a DETAIL, and of functions. */
const MOST_LINES = 10;
/** The maximum length of a line, in UTF-16 units. */
const LINE_LIMIT = 500;
/** The maximum length of `rowData`. */
const ROW_DATA_LIMIT = 4000;

/** The quotes of the languages of PostgreSQL's messages. */
const QUOTE = /["“”„«»‹›「」『』]/u;

/**
 * The levels of a CONTEXT that contain only names, in every language: `PL/pgSQL function f(integer) line 3 at RAISE`, and
 * `while updating tuple (0,1) in relation "t"`.
 */
const NAMED_LEVEL = [
  /^[^"«»„“]*PL\/\w+[^"«»„“]*\d/u,
  /^[^"«»„“(]*\(\d+,\d+\)[^"«»„“]*["«»„“][^"«»„“]*["«»„“]\S*$/u,
];

/** Splits a server's error into the parts that contain values of rows and the parts that do not. */
export function describeServerError(error: DatabaseError): ServerErrorText {
  const { code, hint, detail } = error;
  const whole = getServerMessage(error);
  const shown = {
    message: mayQuoteValue(code) ? hideQuoted(whole) : whole,
    detail: describeDetail(error),
    hint: hint !== undefined && isOfExtension(code) ? hideQuoted(hint) : hint,
  };
  const { named, copy } = readContext(error);
  const parts = [
    ['message', whole, shown.message],
    ['detail', detail, shown.detail],
    ['hint', hint, shown.hint],
    // A line of the context that is not shown quotes a value or a statement.
    ['context', error.where, named.join('\n')],
  ] as const;
  return {
    message: shown.message,
    detail: shown.detail === undefined ? [] : limitLines(shown.detail.split('\n')),
    context: limitLines(named),
    copy,
    hint: shown.hint,
    rowData: formatHidden(parts.filter(([, text = '', visible = '']) => text !== visible)),
  };
}

/** Returns the message that the server sent. Knex changes the message of the error. */
function getServerMessage(error: DatabaseError): string {
  return findFailedStatement(error)?.message || error.message;
}

/** Reads the CONTEXT of an error: the levels that contain only names, and the position in the input of a COPY. */
function readContext(
  error: DatabaseError,
): { readonly named: readonly string[] } & Pick<ServerErrorText, 'copy'> {
  const sql = findFailedStatement(error)?.sql;
  const levels = (error.where ?? '').split('\n');
  const copyLevel = levels.findIndex((line) => parseCopyPosition(line, sql) !== undefined);
  const copy = copyLevel < 0 ? undefined : parseCopyPosition(levels[copyLevel] ?? '', sql);
  // The lines after a COPY can belong to its value. A COPY is the outermost level.
  const own = levels.slice(0, copyLevel < 0 ? undefined : copyLevel);
  return { named: own.filter((line) => NAMED_LEVEL.some((pattern) => pattern.test(line))), copy };
}

/**
 * Replaces the message of the server in the message of an error around it by the message without values of rows.
 */
export function hideValues(message: string, database: DatabaseError): string {
  const whole = getServerMessage(database);
  const shown = describeServerError(database).message;
  return message.replaceAll(database.message, () => shown).replaceAll(whole, () => shown);
}

/** Returns true if a message with this SQLSTATE may quote a value of a row. */
function mayQuoteValue(code: string): boolean {
  return (code.startsWith('22') && !NO_VALUE_IN_MESSAGE.has(code)) || isOfExtension(code);
}

/** Returns true for the class of internal errors, with which extensions such as PostGIS refuse a value. */
function isOfExtension(code: string): boolean {
  return code.startsWith('XX');
}

/**
 * Replaces the text from the first to the last quote of a message by `…`. Example: `invalid input syntax for type
 * integer: "abc"` -> `invalid input syntax for type integer: "…"`.
 */
function hideQuoted(message: string): string {
  const first = message.search(QUOTE);
  if (first < 0) return message;
  let last = message.length - 1;
  while (last > first && !QUOTE.test(message.charAt(last))) last--;
  // A server cuts no message, but a message with one quote has been cut by somebody.
  if (last === first) return `${message.slice(0, first + 1)}…`;
  return `${message.slice(0, first + 1)}…${message.slice(last)}`;
}

/**
 * Returns the DETAIL without values of rows. Returns undefined if nothing is left of it.
 *
 * A DETAIL with keys has the form `(<columns>)=(<values>)` in every language, with words around it. The words and the
 * columns stay: `Key (id)=(900) already exists.` -> `Key (id)=(…) already exists.`
 */
function describeDetail({ code, detail }: DatabaseError): string | undefined {
  if (detail === undefined || NAMES_ONLY.has(code.slice(0, 2)) || NO_VALUE_IN_DETAIL.has(code)) return detail;
  // 23502 and 23514 have the whole row in parentheses, in which a value can look like a key.
  if (code !== '23505' && code !== '23503' && code !== '23P01') return undefined;
  const key = /^([^\n]*?\) ?= ?\()[\s\S]*(\)[^)]*)$/.exec(detail);
  return key === null ? undefined : `${key[1]}…${key[2]}`;
}

/** Returns at most `MOST_LINES` lines of at most `LINE_LIMIT` characters. */
function limitLines(lines: readonly string[]): readonly string[] {
  const shown = lines.slice(0, MOST_LINES).map((line) => cutText(line, LINE_LIMIT));
  return lines.length > MOST_LINES ? [...shown, `… ${lines.length - MOST_LINES} more`] : shown;
}

/** Formats the parts that contain values of rows, one line a part. */
function formatHidden(
  parts: readonly (readonly [name: string, text: string | undefined, ...unknown[]])[],
): string | undefined {
  if (parts.length === 0) return undefined;
  return cutText(parts.map(([name, text]) => `${name}: ${text}`).join('\n'), ROW_DATA_LIMIT);
}
