import type { FieldDef, QueryResult } from 'pg';
import { didYouMean, EtlError } from '../../../errors.js';
import { quoteIdentifier } from '../../sql/quote.js';
import type { TaskConnection } from '../../postgres/task-connection.js';

/** A column of a query. */
export interface OutputColumn {
  readonly name: string;
  /** The type's OID, and its modifier: the precision of a numeric, for one; -1 where it has none. */
  readonly oid: number;
  readonly modifier: number;
}

/** The columns of a query. Throws `EtlError` ETL-3606 for two of one name: in an object or a table one would be lost. */
export async function describeQuery(
  taskConnection: TaskConnection,
  query: string,
): Promise<readonly OutputColumn[]> {
  const { fields } = (await taskConnection.query({
    text: `select * from (${query}\n) ${ROWS} limit 0`,
    values: [],
  })) as QueryResult;
  const columns = fields.map(({ name, dataTypeID, dataTypeModifier }: FieldDef) => ({
    name,
    oid: dataTypeID,
    modifier: dataTypeModifier,
  }));
  const names = columns.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice === undefined) return columns;
  throw new EtlError('ETL-3606', {
    what: `two columns of the query are named "${twice}"`,
    fix: 'give one of them another name: `select a.id, b.id as b_id …`',
    data: 'no file was written',
  });
}

/** How the rows of a query come to be those of the files. */
export interface OutputQuery {
  readonly query: string;
  readonly columns: readonly OutputColumn[];
  /** What is written of each row, over `ROWS`. */
  readonly list: string;
  /** The column by whose values they are dealt out to files. */
  readonly by: string | undefined;
}

/** The rows in a selection; a bare name could be that of a column, too. */
export const ROWS = '"etl rows"';
const KEY = '"etl key"';
const ROW_NUMBER = '"etl place"';

/** A column of the query, in the list of a selection. */
export function formatColumn(name: string): string {
  return `${ROWS}.${quoteIdentifier(name)}`;
}

/**
 * The query whose rows are written. Where they are dealt out by a column, its value comes first, as letters and digits
 * that no format quotes, and all rows of one value come together, in the order in which the query has them.
 */
export function formatOutputQuery({ query, columns, list, by }: OutputQuery): string {
  if (by === undefined) return `select ${list} from (${query}\n) ${ROWS}`;
  assertColumn(by, columns);
  const key = `coalesce('v' || encode(convert_to(${formatColumn(by)}::text, 'UTF8'), 'hex'), 'n') as ${KEY}`;
  const numbered = `select *, ${key}, row_number() over () as ${ROW_NUMBER} from (${query}\n) ${ROWS}`;
  return `select ${KEY}, ${list} from (${numbered}) ${ROWS} order by ${KEY} collate "C", ${ROW_NUMBER}`;
}

/** The value that a key stands for; null for NULL. */
export function parseKey(key: string): string | null {
  return key === 'n' ? null : Buffer.from(key.slice(1), 'hex').toString('utf8');
}

function assertColumn(name: string, columns: readonly OutputColumn[]): void {
  const names = columns.map((column) => column.name);
  if (names.includes(name)) return;
  throw new EtlError('ETL-3606', {
    what: `the query has no column "${name}" to make partitions by${didYouMean(name, names)}`,
    fix: `its columns are ${names.join(', ')}`,
    data: 'no file was written',
  });
}
