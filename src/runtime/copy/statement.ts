import type { Knex } from 'knex';
import { EtlError } from '../../errors.js';
import { quoteIdentifier, quoteTable } from '../sql/quote.js';
import type { BoundQuery } from './portal.js';

/** A query: a Knex or Objection query, a text, or a text with the values for its `$1`, `$2`, … */
export type Query = string | { readonly text: string; readonly values?: readonly unknown[] } | Built;

/** A Knex builder, `session.raw(…)`, or an Objection query. */
export type Built = Pick<Knex.QueryBuilder, 'toSQL'> | Pick<Knex.Raw, 'toSQL'> | ObjectionQuery;

interface ObjectionQuery {
  toKnexQuery(): Pick<Knex.QueryBuilder, 'toSQL'>;
}

/** The format of a COPY. `text` and `csv` are in UTF-8. See https://www.postgresql.org/docs/current/sql-copy.html */
export type CopyFormat = 'text' | 'csv' | 'binary';

/** A table that a COPY reads or writes. */
export interface CopyTable {
  /** The name, as `table` or `schema.table`. */
  readonly table: string;
  /** Default: all columns of the table, in the order of the table. */
  readonly columns?: readonly string[];
  /** Default `text`. */
  readonly format?: CopyFormat;
}

const FORMATS: ReadonlySet<string> = new Set(['text', 'csv', 'binary']);

/**
 * Returns the text and the values of a query. The rows of an Objection query are plain rows, because the query loses
 * its model here.
 */
export function toBoundQuery(query: Query): BoundQuery {
  if (typeof query === 'string') return { text: query, values: [] };
  if ('text' in query) return { text: query.text, values: query.values ?? [] };
  const builder = 'toKnexQuery' in query ? query.toKnexQuery() : query;
  const { sql, bindings } = builder.toSQL().toNative();
  return { text: sql, values: bindings };
}

/**
 * Returns the text of a COPY of a table. Returns a string unchanged, as the text of a COPY. Throws `EtlError` ETL-3542
 * for an unknown format.
 */
export function buildCopy(target: string | CopyTable, direction: 'from stdin' | 'to stdout'): string {
  if (typeof target === 'string') return target;
  const { table, columns } = target;
  const list = columns === undefined ? '' : ` (${columns.map(quoteIdentifier).join(', ')})`;
  return `copy ${quoteTable(table)}${list} ${direction}${formatOptions(target)}`;
}

/**
 * Returns the options of the COPY. The server converts text and CSV to UTF-8. Throws ETL-3542 for an unknown format.
 */
function formatOptions({ format = 'text' }: CopyTable): string {
  if (FORMATS.has(format)) return ` (format ${format}, encoding 'UTF8')`;
  throw new EtlError('ETL-3542', {
    what: `expected \`format\` to be "text", "csv" or "binary", got ${JSON.stringify(format)}`,
  });
}
