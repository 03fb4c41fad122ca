import { didYouMean, EtlError } from '../../../errors.js';
import { quoteIdentifier } from '../../sql/quote.js';
import { ROWS, type OutputColumn } from '../query-columns.js';

/** The aliases of the columns that a partition adds. They have a space so that no column of a user has the same name. */
const KEY = '"etl key"';
const ROW_NUMBER = '"etl row number"';

/** Formats a column of the query for a select list. */
export function formatColumn(name: string): string {
  return `${ROWS}.${quoteIdentifier(name)}`;
}

/**
 * Formats the query of a COPY. Without `by`, the rows come in the order of the user's query.
 *
 * With `by`, the first field of each row is a key for the value of this column. The key of NULL is `n`. The key of another
 * value is `v` and the bytes of its text in UTF-8 as hexadecimal digits: `DE` -> `v4445`. No format has to quote such a
 * key. Rows of the same value come together, in the order of the user's query. Throws `EtlError` ETL-3606 if the query has
 * no column `by`.
 *
 * `list` is the select list: the SQL expressions that are written of each row. They refer to the row as `ROWS`. `by` is
 * the partition column, if the files are split by a column.
 */
export function formatOutputQuery(
  query: string,
  columns: readonly OutputColumn[],
  list: string,
  by: string | undefined,
): string {
  if (by === undefined) return `select ${list} from (${query}\n) ${ROWS}`;
  assertColumn(by, columns);
  const key = `coalesce('v' operator(pg_catalog.||) pg_catalog.encode(pg_catalog.convert_to(${formatColumn(by)}::pg_catalog.text, 'UTF8'), 'hex'), 'n') as ${KEY}`;
  const numbered = `select *, ${key}, pg_catalog.row_number() over () as ${ROW_NUMBER} from (${query}\n) ${ROWS}`;
  return `select ${KEY}, ${list} from (${numbered}) ${ROWS} order by ${KEY} collate pg_catalog."C", ${ROW_NUMBER}`;
}

/** Decodes a key to the value of the partition column: `v4445` -> `DE`, and `n` -> null. */
export function parseKey(key: string): string | null {
  return key === 'n' ? null : Buffer.from(key.slice(1), 'hex').toString('utf8');
}

/** Throws `EtlError` ETL-3606 if the query has no column with the name in `partition.by`. */
function assertColumn(name: string, columns: readonly OutputColumn[]): void {
  const names = columns.map((column) => column.name);
  if (names.includes(name)) return;
  throw new EtlError('ETL-3606', {
    what: `the query has no column "${name}" for \`partition.by\`${didYouMean(name, names)}`,
    fix: `use one of the columns of the query: ${names.join(', ')}`,
    data: 'no file was written',
  });
}
