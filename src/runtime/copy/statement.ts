import type { Knex } from 'knex';
import { EtlError } from '../../errors.js';
import { quoteIdentifier, quoteTable } from '../sql/quote.js';
import type { BoundQuery } from './portal.js';

/** A query as Knex and Objection build it, or as text, or as text with the values for its `$1`, `$2`, … */
export type Query = string | { readonly text: string; readonly values?: readonly unknown[] } | Built;

/** What a Knex builder, `session.raw(…)` and an Objection query have. */
export type Built = Pick<Knex.QueryBuilder, 'toSQL'> | Pick<Knex.Raw, 'toSQL'> | ObjectionQuery;

interface ObjectionQuery {
  toKnexQuery(): Pick<Knex.QueryBuilder, 'toSQL'>;
}

/** The format of a COPY. `text` and `csv` are in UTF-8. https://www.postgresql.org/docs/current/sql-copy.html */
export type CopyFormat = 'text' | 'csv' | 'binary';

/** A table to COPY to or from. */
export interface CopyTable {
  /** `table` or `schema.table`. */
  readonly table: string;
  /** Default: all of the table, in its order. */
  readonly columns?: readonly string[];
  /** Default `text`. */
  readonly format?: CopyFormat;
}

const FORMATS: ReadonlySet<string> = new Set(['text', 'csv', 'binary']);

/** The text and the values of a query. Rows of an Objection query are those of the database, not of its model. */
export function toBoundQuery(query: Query): BoundQuery {
  if (typeof query === 'string') return { text: query, values: [] };
  if ('text' in query) return { text: query.text, values: query.values ?? [] };
  const builder = 'toKnexQuery' in query ? query.toKnexQuery() : query;
  const { sql, bindings } = builder.toSQL().toNative();
  return { text: sql, values: bindings };
}

/** `COPY` into a table; a text is one already. */
export function copyFromText(target: string | CopyTable): string {
  return typeof target === 'string' ? target : `copy ${formatTable(target)} from stdin${formatText(target)}`;
}

/** `COPY` out of a table; a text is one already. */
export function copyToText(source: string | CopyTable): string {
  return typeof source === 'string' ? source : `copy ${formatTable(source)} to stdout${formatText(source)}`;
}

function formatTable({ table, columns }: CopyTable): string {
  return quoteTable(table) + (columns === undefined ? '' : ` (${columns.map(quoteIdentifier).join(', ')})`);
}

function formatText({ format = 'text' }: CopyTable): string {
  if (FORMATS.has(format)) return ` (format ${format}, encoding 'UTF8')`;
  throw new EtlError('ETL-3542', {
    what: `Expected \`format\` to be "text", "csv" or "binary", got ${JSON.stringify(format)}`,
  });
}
