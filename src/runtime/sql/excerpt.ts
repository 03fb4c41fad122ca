import { secrets } from '../secrets/secrets.js';
import { countNewlines } from './newlines.js';

/** The maximum number of columns of an excerpt. */
const WIDTH = 100;

/** The text that the user wrote around a statement, for the positions in messages. */
export interface SqlOrigin {
  /** The path of the `.sql` file, as the user wrote it. Undefined for SQL from code. */
  readonly file: string | undefined;
  /** The whole text. */
  readonly text: string;
  /** The index in `text` at which the statement begins. */
  readonly start: number;
}

/**
 * Formats a position in an SQL text, with the line of the text and a caret. `index` counts UTF-16 units of `text`.
 * Example of the first line: `sql/report.sql:14:8`, or `line 14, column 8 of the SQL text` for SQL from code. Lines and
 * columns count from 1, and a column is a character.
 */
export function formatSqlLocation({ file, text }: Pick<SqlOrigin, 'file' | 'text'>, index: number): string {
  const at = Math.min(index, text.trimEnd().length);
  const line = countNewlines(text, 0, at) + 1;
  const column = Array.from(text.slice(findLineStart(text, at), at)).length + 1;
  const location =
    file === undefined ? `line ${line}, column ${column} of the SQL text` : `${file}:${line}:${column}`;
  return `${location}\n${formatExcerpt(text, at)}`;
}

/**
 * Returns the line of `sql` that contains a position, with a caret below the position. `position` counts characters
 * from 1, like PostgreSQL's error positions. The position after the last character is the end of the text. A long line
 * is cut to 100 columns around the position.
 */
export function formatCaretExcerpt(sql: string, position: number): string {
  // Shows the end of the text on the last line that is not empty.
  return formatExcerpt(sql, Math.min(toIndex(sql, position), sql.trimEnd().length));
}

/** Returns the line of `text` that contains the index `at`, with a caret below. Secrets are covered. */
function formatExcerpt(text: string, at: number): string {
  // A part of a secret at the end of the excerpt would not be recognised later.
  const sql = secrets.cover(text);
  const start = findLineStart(sql, at);
  const before = splitCharacters(sql.slice(Math.max(start, at - 2 * WIDTH), at));
  const [rest = ''] = sql.slice(at, at + 2 * WIDTH).split(/[\r\n]/, 1);
  const left = before.slice(-Math.max(WIDTH / 2, WIDTH - splitCharacters(rest).length));
  const line = [...left, ...splitCharacters(rest)].slice(0, WIDTH).join('');
  return `${line}\n${' '.repeat(left.length)}^`;
}

/** Returns the index of the first character of the line that contains the index `at`. */
function findLineStart(sql: string, at: number): number {
  return at === 0 ? 0 : Math.max(sql.lastIndexOf('\n', at - 1), sql.lastIndexOf('\r', at - 1)) + 1;
}

/** Converts a position in characters, from 1, to an index in UTF-16 units. */
export function toIndex(sql: string, position: number): number {
  let index = 0;
  for (let character = 1; character < position && index < sql.length; character++) {
    index += (sql.codePointAt(index) ?? 0) > 0xff_ff ? 2 : 1;
  }
  return index;
}

/** Splits a text into characters of one column. A character that a terminal does not show becomes a space. */
function splitCharacters(text: string): string[] {
  return Array.from(text, (character) => (/[\p{Cc}\p{Cf}\p{Surrogate}]/u.test(character) ? ' ' : character));
}
