import type { QueryResult } from 'pg';
import { EtlError } from '../../errors.js';
import { readTokens } from '../sql/scan.js';
import { splitStatements } from '../sql/split.js';
import type { ProtocolClient } from '../postgres/protocol.js';
import type { BoundSql } from '../sql/bind.js';

/**
 * The text of one query that has its values in it, because COPY takes none. The server quotes them, each as the text
 * that a parameter would have been sent as, so that none can become a part of the query. Throws `EtlError` ETL-3602
 * for a text that is not one statement, or has other parameters than values.
 */
export async function inlineBoundValues(
  client: Pick<ProtocolClient, 'query'>,
  sql: string | BoundSql,
): Promise<string> {
  const { text, values = [] } = typeof sql === 'string' ? { text: sql } : sql;
  const [statement, ...more] = splitStatements(text);
  if (statement === undefined || more.length > 0) throw createNotOneStatementError(more.length);
  const numbers = getParameters(statement.text);
  if (new Set(numbers).size !== values.length || numbers.some((each) => each < 1 || each > values.length))
    throw createParameterCountError(numbers, values.length);
  if (values.length === 0) return statement.text;
  return replaceParameters(statement.text, await quote(client, values));
}

function getParameters(text: string): readonly number[] {
  return Array.from(readTokens(text))
    .filter(({ kind }) => kind === 'parameter')
    .map(({ start, end }) => Number(text.slice(start + 1, end)));
}

async function quote(
  client: Pick<ProtocolClient, 'query'>,
  values: readonly unknown[],
): Promise<readonly string[]> {
  const list = values.map((_, index) => `$${index + 1}::text`).join(', ');
  const { rows } = (await client.query({
    text: `select quote_nullable(value) as quoted from unnest(array[${list}]) with ordinality as given (value, place) order by place`,
    values: values.map((value) => (value instanceof Uint8Array ? formatBytea(value) : value)),
    // Whatever parsers a user's program has set for all of pg.
    types: { getTypeParser: () => String },
  })) as QueryResult<{ quoted: string }>;
  return rows.map(({ quoted }) => quoted);
}

/** pg would send bytes in the binary format, which the text type would take for letters. */
function formatBytea(bytes: Uint8Array): string {
  return `\\x${Buffer.from(bytes).toString('hex')}`;
}

/** In parentheses, so that a literal can't become one with what stands beside it. */
function replaceParameters(text: string, literals: readonly string[]): string {
  return Array.from(readTokens(text), ({ kind, start, end }) => {
    const token = text.slice(start, end);
    return kind === 'parameter' ? `(${literals[Number(token.slice(1)) - 1]})` : token;
  }).join('');
}

function createNotOneStatementError(more: number): EtlError {
  return new EtlError('ETL-3602', {
    what: `Expected one query, got ${more === 0 ? 'none' : more + 1}`,
    fix: 'give each query a task of its own',
    data: 'nothing was written',
  });
}

function createParameterCountError(numbers: readonly number[], values: number): EtlError {
  const names = [...new Set(numbers)].toSorted((a, b) => a - b).map((each) => `$${each}`);
  return new EtlError('ETL-3602', {
    what: `the query has ${names.length === 0 ? 'no parameters' : names.join(', ')}, and ${values} values are given`,
    fix: 'give `values` one value for each of $1, $2, …',
    data: 'nothing was written',
  });
}
