import { EtlError, didYouMean } from '../../errors.js';
import { cutText } from '../secrets/secrets.js';
import { formatSqlLocation, type SqlOrigin } from './excerpt.js';
import { type Token, readTokens } from './scan.js';

/** A statement with `$1`, `$2`, …, and their values in order. */
export interface BoundStatement {
  readonly text: string;
  readonly values: readonly unknown[];
  /** Converts an index in `text` to the index in the statement with names, in UTF-16 units. */
  findIndex(index: number): number;
}

/**
 * Replaces each `:name` by `$1`, `$2`, …. The same name gets the same number. Names in quotes and comments are not
 * replaced. Values never become part of the text.
 *
 * A `::cast` and `:=` are not names. In brackets, a name directly after a lower bound is not a name either: write
 * `a[1:n]` for the column `n`, and `a[1 : :n]` for the value `n`.
 *
 * `origin` is the text that the statement is a part of, for messages. Throws `EtlError` ETL-3003 for a name whose value
 * is missing or `undefined`, for a statement that has both names and numbers such as `$1`, and for a quoted name
 * (`:'name'`) as psql has it.
 */
export function bindNamed(
  sql: string,
  values: Readonly<Record<string, unknown>>,
  origin: SqlOrigin = { file: undefined, text: sql, start: 0 },
): BoundStatement {
  const numbers = new Map<string, number>();
  const binds = findBinds(sql, origin);
  /** For each name: the index in `text` after its number, and how much longer the statement with names is up to there. */
  const shifts: { end: number; by: number }[] = [];
  let text = '';
  let copied = 0;
  for (const { name, start, end } of binds) {
    if (!Object.hasOwn(values, name) || values[name] === undefined)
      throw createUnknownNameError(name, formatSqlLocation(origin, origin.start + start), values);
    const number = numbers.get(name) ?? numbers.size + 1;
    numbers.set(name, number);
    text += `${sql.slice(copied, start)}$${number}`;
    copied = end;
    shifts.push({ end: text.length, by: end - text.length });
  }
  return {
    text: text + sql.slice(copied),
    values: Array.from(numbers.keys(), (name) => values[name]),
    findIndex: (index) => index + (shifts.findLast(({ end }) => end <= index)?.by ?? 0),
  };
}

/**
 * Returns the names that a statement binds, in order, with the index of each in `origin.text`. Throws as `bindNamed` does
 * for a name that is written wrongly.
 */
export function listNames(
  sql: string,
  origin: SqlOrigin,
): readonly { readonly name: string; readonly index: number }[] {
  return findBinds(sql, origin).map(({ name, start }) => ({ name, index: origin.start + start }));
}

/** A `:name` in a statement. */
interface Bind {
  readonly name: string;
  /** The index of the colon. */
  readonly start: number;
  readonly end: number;
}

/**
 * Returns the names of a statement in order, without those in quotes, comments, casts and array slices. Throws ETL-3003
 * if the statement has names and also numbers such as `$1`, or a name in quotes.
 */
function findBinds(sql: string, origin: SqlOrigin): readonly Bind[] {
  const binds: Bind[] = [];
  /** The parentheses and brackets that are open, the innermost last. */
  const brackets: string[] = [];
  let parameter: Token | undefined;
  let [beforeLast, last]: (Token | undefined)[] = [];
  for (const token of readTokens(sql)) {
    if (token.kind === 'parameter') parameter = token;
    if (token.kind === 'symbol') trackBrackets(brackets, sql.charAt(token.start));
    // The tokenizer makes `::` and `:=` tokens of their own, so a single colon can only begin a name or separate the
    // bounds of a slice.
    const colon = last && sql.slice(last.start, last.end) === ':' ? last : undefined;
    const isSlice = brackets.at(-1) === '[' && isBoundEnd(sql, beforeLast);
    if (colon && token.kind === 'word' && !isSlice) {
      binds.push({ name: sql.slice(token.start, token.end), start: colon.start, end: token.end });
    }
    // In brackets, a quoted text can be the upper bound of a slice.
    if (colon && token.kind === 'quoted' && !brackets.includes('['))
      throw createQuotedNameError(sql.slice(colon.start, token.end), origin, colon.start);
    [beforeLast, last] = [last, token];
  }
  const [first] = binds;
  if (!parameter || !first) return binds;
  throw new EtlError('ETL-3003', {
    what: `the statement has both ${sql.slice(parameter.start, parameter.end)} and :${first.name}`,
    where: formatSqlLocation(origin, origin.start + parameter.start),
    why: 'each name becomes a number, so a name and a number would get each other’s values',
    fix: 'use a name for every value',
  });
}

/** Remembers the open parentheses and brackets. */
function trackBrackets(brackets: string[], symbol: string): void {
  if (symbol === '(' || symbol === '[') brackets.push(symbol);
  else if (symbol === ')' || symbol === ']') brackets.pop();
}

/**
 * Says whether the token before a colon in brackets can end the lower bound of an array slice: true in `a[1:n]` and
 * `a[f(x):n]`, false after a space and in `a[:n]`.
 */
function isBoundEnd(sql: string, token: Token | undefined): boolean {
  if (!token || token.kind === 'space' || token.kind === 'comment') return false;
  return token.kind !== 'symbol' || /[\])]/.test(sql.charAt(token.start));
}

/** Creates the error ETL-3003 for a name in quotes, which psql replaces by a constant. `at` is the index of the colon. */
function createQuotedNameError(text: string, origin: SqlOrigin, at: number): EtlError {
  return new EtlError('ETL-3003', {
    what: `${cutText(text, 66)} is a quoted variable of psql, and is not valid in SQL`,
    where: formatSqlLocation(origin, origin.start + at),
    why: 'a name without quotes is bound as a value, so that it needs no quotes',
    fix: text.startsWith(":'")
      ? `write :${text.slice(2, -1)}`
      : 'write the identifier into the statement, or create the SQL in code with `sql`',
  });
}

/**
 * Creates the error ETL-3003 for a name without a value. `where` is the position of the name, and `values` are the values
 * that exist.
 */
export function createUnknownNameError(
  name: string,
  where: string,
  values: Readonly<Record<string, unknown>>,
): EtlError {
  const known = Object.keys(values).filter((each) => values[each] !== undefined);
  return new EtlError('ETL-3003', {
    what: `no value is named ":${cutText(name, 63)}"${didYouMean(name.slice(0, 63), known)}`,
    where,
    why: known.length === 0 ? 'the statement has no values' : `the names are ${known.toSorted().join(', ')}`,
  });
}

/** SQL with `$1`, `$2`, …, and their values in order. Values are bound, and never become part of the text. */
export interface BoundSql {
  readonly text: string;
  readonly values?: readonly unknown[];
}
