import { EtlError, didYouMean } from '../../errors.js';
import { type Token, countNewlines, readTokens } from './scan.js';

/** A statement with `$1`, `$2`, …, and their values in order. */
export interface BoundStatement {
  readonly text: string;
  readonly values: readonly unknown[];
}

/**
 * Replaces each `:name` by `$1`, `$2`, …. The same name gets the same number. Names in quotes and comments are not
 * replaced. Values never become part of the text.
 *
 * A `::cast` and `:=` are not names. In brackets, a name directly after a lower bound is not a name either: write
 * `a[1:n]` for the column `n`, and `a[1 : :n]` for the value `n`.
 *
 * Throws `EtlError` ETL-3003 for a name whose value is missing or `undefined`, and for a statement that has both names
 * and numbers such as `$1`.
 */
export function bindNamed(sql: string, values: Readonly<Record<string, unknown>>): BoundStatement {
  const numbers = new Map<string, number>();
  let text = '';
  let copied = 0;
  for (const { name, start, end } of findBinds(sql)) {
    if (!Object.hasOwn(values, name) || values[name] === undefined)
      throw createUnknownNameError(sql, start, name, values);
    const number = numbers.get(name) ?? numbers.size + 1;
    numbers.set(name, number);
    text += `${sql.slice(copied, start)}$${number}`;
    copied = end;
  }
  return { text: text + sql.slice(copied), values: Array.from(numbers.keys(), (name) => values[name]) };
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
 * if the statement has names and also numbers such as `$1`.
 */
function findBinds(sql: string): readonly Bind[] {
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
    [beforeLast, last] = [last, token];
  }
  const [first] = binds;
  if (!parameter || !first) return binds;
  throw new EtlError('ETL-3003', {
    what: `the statement has both ${sql.slice(parameter.start, parameter.end)} and :${first.name}`,
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

/** Creates the error ETL-3003 for a name without a value. `at` is the index of its colon. */
function createUnknownNameError(
  sql: string,
  at: number,
  name: string,
  values: Readonly<Record<string, unknown>>,
): EtlError {
  const known = Object.keys(values).filter((each) => values[each] !== undefined);
  return new EtlError('ETL-3003', {
    what: `no value is named ":${name.slice(0, 63)}"${didYouMean(name.slice(0, 63), known)}`,
    where: `line ${countNewlines(sql, 0, at) + 1} of the statement`,
    why: known.length === 0 ? 'the statement has no values' : `the names are ${known.toSorted().join(', ')}`,
  });
}

/** SQL with `$1`, `$2`, …, and their values in order. Values are bound, and never become part of the text. */
export interface BoundSql {
  readonly text: string;
  readonly values?: readonly unknown[];
}
