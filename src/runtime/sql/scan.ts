import { EtlError } from '../../errors.js';
import { formatSqlLocation } from './excerpt.js';

/**
 * The kind of a token. `quoted` is a constant, a quoted identifier or a dollar-quoted text. `parameter` is `$1`.
 * `symbol` is one character, or `::` or `:=`.
 */
export type TokenKind = 'space' | 'comment' | 'quoted' | 'word' | 'number' | 'parameter' | 'symbol';

/** A part of an SQL text, from index `start` up to but not including index `end`, in UTF-16 units. */
export interface Token {
  readonly kind: TokenKind;
  readonly start: number;
  readonly end: number;
}

/**
 * Returns the tokens of an SQL text, without gaps, by the rules of
 * https://www.postgresql.org/docs/current/sql-syntax-lexical.html with `standard_conforming_strings` on. `file` is the
 * path of the text's file, for messages. Throws `EtlError` ETL-3002 for a quote or a comment that does not end, and for
 * a NUL character.
 */
export function* readTokens(sql: string, file?: string): Generator<Token, void, undefined> {
  const nul = sql.indexOf('\0');
  if (nul !== -1) {
    throw new EtlError('ETL-3002', {
      what: 'a NUL character is in the SQL text, and PostgreSQL allows none',
      where: formatSqlLocation({ file, text: sql }, nul),
      fix: 'save the file as UTF-8 text',
    });
  }
  let start = 0;
  while (start < sql.length) {
    const { kind, end } = readToken(sql, start);
    if (end === undefined) {
      throw new EtlError('ETL-3002', {
        what: `${describeOpening(sql, start)} does not end`,
        where: formatSqlLocation({ file, text: sql }, start),
      });
    }
    yield { kind, start, end };
    start = end;
  }
}

/** Describes what begins at `start`: a comment, or one of the kinds of quotes. */
function describeOpening(sql: string, start: number): string {
  switch (sql.charAt(start)) {
    case '/':
      return 'a comment /*';
    case '"':
      return 'a quoted identifier';
    case "'":
      return 'a quoted text';
    case '$':
      return `a text in ${sql.slice(start, sql.indexOf('$', start + 1) + 1).slice(0, 60)}`;
    default:
      return "a quoted text E'";
  }
}

/** The kind and the end of a token. `end` is undefined if a quote or a comment does not end. */
type TokenEnd = Pick<Token, 'kind'> & { readonly end: number | undefined };

/**
 * Returns the token that begins at `start`. The order of the checks matters: `e'` begins a text, although `e` could
 * begin a word.
 */
function readToken(sql: string, start: number): TokenEnd {
  const char = sql.charAt(start);
  const two = sql.slice(start, start + 2);
  if (isSpace(sql, start)) return { kind: 'space', end: skip(sql, start, isSpace) };
  if (two === '--') return { kind: 'comment', end: find(sql, start, /[\r\n]/g) ?? sql.length };
  if (two === '/*') return { kind: 'comment', end: findCommentEnd(sql, start) };
  if (two === "e'" || two === "E'") return { kind: 'quoted', end: findEscapesEnd(sql, start) };
  if (char === "'" || char === '"') return { kind: 'quoted', end: findQuoteEnd(sql, start) };
  if (char === '$') return readDollar(sql, start);
  if (isDigit(sql, start)) return { kind: 'number', end: skip(sql, start, isNumberPart) };
  if (isWordStart(sql, start)) return { kind: 'word', end: skip(sql, start, isWordPart) };
  return { kind: 'symbol', end: start + (two === '::' || two === ':=' ? 2 : 1) };
}

/** Returns the index after a block comment, or undefined. In PostgreSQL such comments nest, so an inner comment is skipped. */
function findCommentEnd(sql: string, start: number): number | undefined {
  const marks = /\/\*|\*\//g;
  marks.lastIndex = start;
  let depth = 0;
  for (let mark = marks.exec(sql); mark; mark = marks.exec(sql)) {
    depth += mark[0] === '/*' ? 1 : -1;
    if (depth === 0) return marks.lastIndex;
  }
  return undefined;
}

/** Returns the index after a text in single or double quotes, or undefined. A doubled quote does not end the text. */
function findQuoteEnd(sql: string, start: number): number | undefined {
  const quote = sql.charAt(start);
  for (let end = sql.indexOf(quote, start + 1); end !== -1; end = sql.indexOf(quote, end + 2)) {
    if (sql.charAt(end + 1) !== quote) return end + 1;
  }
  return undefined;
}

/**
 * Returns the index after `E'…'` and its continuations on later lines, or undefined. A quote after a backslash does not end the text.
 */
function findEscapesEnd(sql: string, start: number): number | undefined {
  const marks = /\\[^]|''|'/g;
  marks.lastIndex = start + 2;
  for (let mark = marks.exec(sql); mark; mark = marks.exec(sql)) {
    if (mark[0] !== "'") continue;
    const next = findContinuation(sql, marks.lastIndex);
    if (next === undefined) return marks.lastIndex;
    marks.lastIndex = next + 1;
  }
  return undefined;
}

/**
 * Returns the index of the quote that continues a constant on a later line, or undefined. Only spaces, line breaks and
 * line comments may be between the two parts. The continuation follows the rules of the first part.
 */
function findContinuation(sql: string, end: number): number | undefined {
  let at = end;
  while (isSpace(sql, at) || sql.startsWith('--', at)) {
    at = isSpace(sql, at) ? skip(sql, at, isSpace) : (find(sql, at, /[\r\n]/g) ?? sql.length);
  }
  return sql.charAt(at) === "'" && /[\r\n]/.test(sql.slice(end, at)) ? at : undefined;
}

/**
 * Reads the token that begins with `$`: a parameter (`$1`), a dollar-quoted text (`$tag$…$tag$`), or the symbol `$`
 * alone.
 */
function readDollar(sql: string, start: number): TokenEnd {
  if (isDigit(sql, start + 1)) return { kind: 'parameter', end: skip(sql, start + 1, isDigit) };
  const tagEnd = isWordStart(sql, start + 1) ? skip(sql, start + 1, isTagPart) : start + 1;
  if (sql.charAt(tagEnd) !== '$') return { kind: 'symbol', end: start + 1 };
  const tag = sql.slice(start, tagEnd + 1);
  const close = sql.indexOf(tag, tagEnd + 1);
  return { kind: 'quoted', end: close === -1 ? undefined : close + tag.length };
}

/** Returns the first index from `start` on for which `test` is false, or the length of the text. */
function skip(sql: string, start: number, test: (sql: string, at: number) => boolean): number {
  let end = start;
  while (end < sql.length && test(sql, end)) end++;
  return end;
}

/**
 * Returns the index of the first match at or after `from`. Needs a pattern with the flag `g`, which searches from
 * `lastIndex` on.
 */
function find(sql: string, from: number, pattern: RegExp): number | undefined {
  pattern.lastIndex = from;
  return pattern.exec(sql)?.index;
}

/** Returns true for a space, a line break, and a byte order mark at the start of the text. */
function isSpace(sql: string, at: number): boolean {
  const code = sql.charCodeAt(at);
  return code === 32 || (code >= 9 && code <= 13) || (code === 0xfe_ff && at === 0);
}

function isDigit(sql: string, at: number): boolean {
  const code = sql.charCodeAt(at);
  return code >= 48 && code <= 57;
}

/** Returns true for a letter or `_`. For PostgreSQL every character that is not ASCII is a letter. */
function isWordStart(sql: string, at: number): boolean {
  const code = sql.charCodeAt(at);
  return (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || code === 95 || code >= 128;
}

function isTagPart(sql: string, at: number): boolean {
  return isWordStart(sql, at) || isDigit(sql, at);
}

function isWordPart(sql: string, at: number): boolean {
  return isTagPart(sql, at) || sql.charAt(at) === '$';
}

function isNumberPart(sql: string, at: number): boolean {
  return isTagPart(sql, at) || sql.charAt(at) === '.';
}
