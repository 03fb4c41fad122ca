import { inlineBoundValues } from '../../copy/inline-values.js';
import { send } from '../../postgres/protocol.js';
import { quoteIdentifier } from '../../sql/quote.js';
import { type Table, describeTable } from '../../table/describe.js';
import { assertTableExists } from '../../table/refuse.js';
import type { TaskConnection } from '../../postgres/task-connection.js';
import type { BoundSql } from '../../sql/bind.js';
import { type OutputColumn, ROWS, describeQuery } from '../query-columns.js';

/** A column that is read. `type` is the type as SQL writes it, and `oid` its OID in the database that is read. */
export interface SelectedColumn {
  readonly name: string;
  readonly type: string;
  readonly oid: number;
}

/** The rows and columns that are read from the other database. */
export interface Selection {
  readonly columns: readonly SelectedColumn[];
  /** The rows, as COPY needs them: a table with a column list, or a query in parentheses. */
  readonly sql: string;
}

/**
 * Returns the SQL condition of the rows that are read, or undefined for all rows. It is called when the columns are
 * known.
 */
export type Condition = () => Promise<string | undefined>;

/**
 * Selects the rows of a query. Throws `EtlError` ETL-3531 if two columns have the same name, and ETL-3602 if the text is
 * not exactly one statement or its parameters do not match its values.
 */
export async function selectQuery(
  taskConnection: TaskConnection,
  query: string | BoundSql,
  condition: Condition,
): Promise<Selection> {
  const text = await inlineBoundValues(taskConnection, query);
  const described = await describeQuery(taskConnection, text, { code: 'ETL-3531', data: 'nothing was sent' });
  const types = await readTypeNames(taskConnection, described);
  const columns = described.map(({ name, oid }, i) => ({ name, type: types[i] ?? '', oid }));
  const where = await condition();
  const sql = where === undefined ? `(${text}\n)` : `(select * from (${text}\n) ${ROWS} where ${where})`;
  return { columns, sql };
}

/**
 * Selects the rows of a table or a view, including the rows of tables that inherit from the table. `target` is the
 * table that is written. A generated column is left out if it is also generated in `target`, because nobody can set it
 * there. Throws `EtlError` ETL-3511 if the table that is read does not exist.
 */
export async function selectTable(
  taskConnection: TaskConnection,
  name: string,
  { target, condition }: { readonly target: Table; readonly condition: Condition },
): Promise<Selection> {
  const table = await describeTable(taskConnection, name);
  assertTableExists(table, name);
  const generatedInTarget = new Set(
    target.columns.filter(({ isGenerated }) => isGenerated).map((column) => column.name),
  );
  const columns = table.columns.filter(
    (column) => !(column.isGenerated && generatedInTarget.has(column.name)),
  );
  const list = columns.map((column) => quoteIdentifier(column.name)).join(', ');
  const where = await condition();
  if (where !== undefined) return { columns, sql: `(select ${list} from ${table.sql} where ${where})` };
  const hasOnlyStoredColumns = table.kind === 'table' && !columns.some(({ isGenerated }) => isGenerated);
  // COPY reads a table a little faster than a query. But it can't read views, generated columns and inheriting tables.
  const canCopyTable = hasOnlyStoredColumns && !(await hasChildren(taskConnection, table.sql));
  return { columns, sql: canCopyTable ? `${table.sql} (${list})` : `(select ${list} from ${table.sql})` };
}

/** Says whether other tables inherit from a table. `table` is the quoted name. */
async function hasChildren(taskConnection: TaskConnection, table: string): Promise<boolean> {
  const { rows } = await send(
    taskConnection,
    'select exists (select from pg_inherits where inhparent = $1::regclass) as "isParent"',
    [table],
  );
  return (rows[0] as { isParent: boolean }).isParent;
}

/** Returns the SQL names of the column types, such as `numeric(10,2)`, in the order of the columns. */
async function readTypeNames(
  taskConnection: TaskConnection,
  columns: readonly OutputColumn[],
): Promise<readonly string[]> {
  const { rows } = await send(
    taskConnection,
    'select format_type(oid, modifier) as type from unnest($1::oid[], $2::int[]) with ordinality as f (oid, modifier, number) order by number',
    [columns.map(({ oid }) => oid), columns.map(({ modifier }) => modifier)],
  );
  return (rows as readonly { readonly type: string }[]).map(({ type }) => type);
}
