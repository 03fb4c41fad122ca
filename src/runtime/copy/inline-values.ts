import type { QueryResult } from 'pg';
import { EtlError } from '../../errors.js';
import { prepareParameters } from '../postgres/parameters.js';
import { formatBytes } from '../postgres/value-text.js';
import { readTokens } from '../sql/scan.js';
import { splitStatements } from '../sql/split.js';
import type { ProtocolClient } from '../postgres/protocol.js';
import type { BoundSql } from '../sql/bind.js';

/**
 * Returns the text of one query with its values as literals, because a COPY can't have parameters. The server quotes
 * each value, as the text that pg would send for a parameter. A value therefore can't change the query.
 *
 * Throws `EtlError` ETL-3602 if the text is not exactly one statement, or if the parameters do not match the values.
 */
export async function inlineBoundValues(
  client: Pick<ProtocolClient, 'query' | 'usesUtcDates'>,
  sql: string | BoundSql,
): Promise<string> {
  const { text, values = [] } = typeof sql === 'string' ? { text: sql } : sql;
  const [statement, ...more] = splitStatements(text);
  if (statement === undefined || more.length > 0) {
    throw new EtlError('ETL-3602', {
      what: `expected one query, got ${statement === undefined ? 'none' : more.length + 1}`,
      fix: 'write one task for each query',
      data: 'nothing was written',
    });
  }
  const numbers = getParameters(statement.text);
  // Each value must be used at least once, and each parameter must have a value.
  if (new Set(numbers).size !== values.length || numbers.some((each) => each < 1 || each > values.length))
    throw createParameterCountError(numbers, values.length);
  if (values.length === 0) return statement.text;
  return replaceParameters(statement.text, await quoteValues(client, values));
}

/** Returns the numbers of the parameters of a query, in order of appearance: `[2, 1, 2]` for `$2, $1, $2`. */
function getParameters(text: string): readonly number[] {
  return Array.from(readTokens(text))
    .filter(({ kind }) => kind === 'parameter')
    .map(({ start, end }) => Number(text.slice(start + 1, end)));
}

/**
 * Returns each value as an SQL literal, in order: `'it''s'` for `it's`, `NULL` for null. The server quotes the values
 * in one query.
 */
async function quoteValues(
  client: Pick<ProtocolClient, 'query' | 'usesUtcDates'>,
  values: readonly unknown[],
): Promise<readonly string[]> {
  const list = values.map((_, index) => `$${index + 1}::pg_catalog.text`).join(', ');
  const { rows } = (await client.query({
    text: `select pg_catalog.quote_nullable(value) as quoted
      from pg_catalog.unnest(array[${list}]) with ordinality as given (value, ordinal) order by ordinal`,
    // pg would send bytes in binary format, and the server would read them as text.
    values: prepareParameters(values, client.usesUtcDates === true).map((value) =>
      value instanceof Uint8Array ? formatBytes(value) : value,
    ),
    // The user's program may have changed the parsers of pg.
    types: { getTypeParser: () => String },
  })) as QueryResult<{ quoted: string }>;
  return rows.map(({ quoted }) => quoted);
}

/** Replaces each `$n` by its literal in parentheses. Without them a literal could merge with the token next to it. */
function replaceParameters(text: string, literals: readonly string[]): string {
  return Array.from(readTokens(text), ({ kind, start, end }) => {
    const token = text.slice(start, end);
    return kind === 'parameter' ? `(${literals[Number(token.slice(1)) - 1]})` : token;
  }).join('');
}

/** Creates the error ETL-3602. `numbers` are the parameters of the query, `values` is the number of values. */
function createParameterCountError(numbers: readonly number[], values: number): EtlError {
  const names = [...new Set(numbers)].toSorted((a, b) => a - b).map((each) => `$${each}`);
  return new EtlError('ETL-3602', {
    what: `the query has ${names.length === 0 ? 'no parameters' : `the parameters ${names.join(', ')}`}, but \`values\` has ${values} items`,
    fix: 'write one item in `values` for each of $1, $2, …',
    data: 'nothing was written',
  });
}
