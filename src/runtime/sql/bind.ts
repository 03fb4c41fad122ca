import { EtlError, didYouMean } from '../../errors.js';
import { type Token, countNewlines, readTokens } from './scan.js';

/** A statement with `$1`, `$2`, …, and the values for them in order. */
export interface BoundStatement {
  readonly text: string;
  readonly values: readonly unknown[];
}

/**
 * Replaces `:name` by `$1`, `$2`, …: the same name by the same number, and none in quotes or comments. Values never
 * become part of the text. No names are `::cast`, `:=`, and in brackets what directly follows a lower bound
 * (`a[1:n]`; with a value it is `a[1 : :n]`). A value that is `undefined` is absent. Throws `EtlError` ETL-3003 for
 * a name without a value, and for a statement that has `$1` as well.
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

interface Bind {
  readonly name: string;
  /** Of the colon. */
  readonly start: number;
  readonly end: number;
}

function findBinds(sql: string): readonly Bind[] {
  const binds: Bind[] = [];
  const brackets: string[] = [];
  let parameter: Token | undefined;
  let [beforeLast, last]: (Token | undefined)[] = [];
  for (const token of readTokens(sql)) {
    if (token.kind === 'parameter') parameter = token;
    if (token.kind === 'symbol') track(brackets, sql.charAt(token.start));
    const colon = last && sql.slice(last.start, last.end) === ':' ? last : undefined;
    const isSlice = brackets.at(-1) === '[' && isBoundEnd(sql, beforeLast);
    if (colon && token.kind === 'word' && !isSlice) {
      binds.push({ name: sql.slice(token.start, token.end), start: colon.start, end: token.end });
    }
    [beforeLast, last] = [last, token];
  }
  if (parameter && binds[0]) throw createMixedBindsError(sql, parameter, binds[0]);
  return binds;
}

function track(brackets: string[], symbol: string): void {
  if (symbol === '(' || symbol === '[') brackets.push(symbol);
  else if (symbol === ')' || symbol === ']') brackets.pop();
}

/** True for a token after which, in brackets, a colon without a space is that of an array slice. */
function isBoundEnd(sql: string, token: Token | undefined): boolean {
  if (!token || token.kind === 'space' || token.kind === 'comment') return false;
  return token.kind !== 'symbol' || /[\])]/.test(sql.charAt(token.start));
}

function createUnknownNameError(
  sql: string,
  at: number,
  name: string,
  values: Readonly<Record<string, unknown>>,
): EtlError {
  const known = Object.keys(values).filter((each) => values[each] !== undefined);
  return new EtlError('ETL-3003', {
    what: `No value is named ":${name.slice(0, 63)}"${didYouMean(name.slice(0, 63), known)}`,
    where: `line ${countNewlines(sql, 0, at) + 1} of the statement`,
    why:
      known.length === 0 ? 'This statement has no values.' : `The names are ${known.toSorted().join(', ')}.`,
  });
}

function createMixedBindsError(sql: string, parameter: Token, { name }: Bind): EtlError {
  return new EtlError('ETL-3003', {
    what: `The statement has both ${sql.slice(parameter.start, parameter.end)} and :${name}`,
    why: 'Names become numbers, so that the two would get each other’s values.',
    fix: 'Name every value.',
  });
}

/** SQL with the values for its `$1`, `$2`, …: values are bound, never put into the text. */
export interface BoundSql {
  readonly text: string;
  readonly values?: readonly unknown[];
}
