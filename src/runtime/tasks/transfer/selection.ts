import { inlineBoundValues } from '../../copy/inline-values.js';
import { send } from '../../postgres/protocol.js';
import { qualifyType, quoteIdentifier } from '../../sql/quote.js';
import { type Table, describeTable, selectTypeName } from '../../table/describe.js';
import { assertTableExists } from '../../table/refuse.js';
import type { TaskConnection } from '../../postgres/task-connection.js';
import type { BoundSql } from '../../sql/bind.js';
import { type OutputColumn, ROWS, describeQuery } from '../query-columns.js';
import { type SourceColumn, buildGuardedList, findNarrowedColumns } from './narrowing.js';

/** A column that is read. `oid` is the OID of its type in the database that is read. */
export interface SelectedColumn extends SourceColumn {
  readonly oid: number;
}

/** The rows and columns that are read from the other database. */
export interface Selection {
  readonly columns: readonly SelectedColumn[];
  /** The rows, as COPY needs them: a table with a column list, or a query in parentheses. */
  readonly sql: string;
}

/** The options of a selection, besides the table or the query that is read. */
export interface SelectionOptions {
  /** The table that is written. Reading fails with an error for `describeNarrowing` if it would change a value. */
  readonly target: Table;
  /**
   * Returns the SQL condition of the rows that are read, or undefined for all rows. It is called when the columns are
   * known.
   */
  readonly condition: () => Promise<string | undefined>;
}

/**
 * Selects the rows of a query. Throws `EtlError` ETL-3531 if two columns have the same name, and ETL-3602 if the text is
 * not exactly one statement or its parameters do not match its values.
 */
export async function selectQuery(
  taskConnection: TaskConnection,
  query: string | BoundSql,
  { target, condition }: SelectionOptions,
): Promise<Selection> {
  const text = await inlineBoundValues(taskConnection, query);
  const described = await describeQuery(taskConnection, text, { code: 'ETL-3531', data: 'nothing was sent' });
  const types = await readTypes(taskConnection, described);
  const columns = described.map(({ name, oid }, i) => {
    const { type, value } = types[i] ?? UNKNOWN;
    return { name, oid, type, value };
  });
  const list = await buildList(taskConnection, columns, target);
  const where = await condition();
  if (where === undefined && list === undefined) return { columns, sql: `(${text}\n)` };
  const rows = `select ${list ?? '*'} from (${text}\n) ${ROWS}`;
  return { columns, sql: where === undefined ? `(${rows})` : `(${rows} where ${where})` };
}

const UNKNOWN = { type: '', value: { oid: 0, isArray: false, modifier: -1 } };

/**
 * Selects the rows of a table or a view, including the rows of tables that inherit from the table. `target` is the
 * table that is written. A generated column is left out if it is also generated in `target`, because nobody can set it
 * there. Throws `EtlError` ETL-3511 if the table that is read does not exist.
 */
export async function selectTable(
  taskConnection: TaskConnection,
  name: string,
  { target, condition }: SelectionOptions,
): Promise<Selection> {
  const table = await describeTable(taskConnection, name);
  assertTableExists(table, name);
  const generatedInTarget = new Set(
    target.columns.filter(({ isGenerated }) => isGenerated).map((column) => column.name),
  );
  const columns = table.columns.filter(
    (column) => !(column.isGenerated && generatedInTarget.has(column.name)),
  );
  const guarded = await buildList(taskConnection, columns, target);
  const list = guarded ?? columns.map((column) => quoteIdentifier(column.name)).join(', ');
  const where = await condition();
  if (where !== undefined) return { columns, sql: `(select ${list} from ${table.sql} where ${where})` };
  const hasOnlyStoredColumns = table.kind === 'table' && !columns.some(({ isGenerated }) => isGenerated);
  // COPY reads a table a little faster than a query. But it can't read views, generated columns and inheriting tables.
  const canCopyTable =
    hasOnlyStoredColumns && guarded === undefined && !(await hasChildren(taskConnection, table.sql));
  return { columns, sql: canCopyTable ? `${table.sql} (${list})` : `(select ${list} from ${table.sql})` };
}

/** Says whether other tables inherit from a table. `table` is the quoted name. */
async function hasChildren(taskConnection: TaskConnection, table: string): Promise<boolean> {
  const { rows } = await send(
    taskConnection,
    `select exists (select from pg_catalog.pg_inherits
       where inhparent operator(pg_catalog.=) $1::pg_catalog.regclass) as "isParent"`,
    [table],
  );
  return (rows[0] as { isParent: boolean }).isParent;
}

/** Returns the types of columns, in the order of the columns. */
async function readTypes(
  taskConnection: TaskConnection,
  columns: readonly OutputColumn[],
): Promise<readonly Pick<SelectedColumn, 'type' | 'value'>[]> {
  const { rows } = await send(
    taskConnection,
    `select ${selectTypeName('f.oid', 'modifier')} as type,
       pg_catalog.json_build_object('oid', coalesce(item.oid, f.oid)::bigint,
         'isArray', item.oid is not null, 'modifier', modifier) as value
     from rows from (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::int[])) with ordinality as f (oid, modifier, number)
     left join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) f.oid
     left join pg_catalog.pg_type item on item.oid operator(pg_catalog.=) t.typelem
       and t.typcategory operator(pg_catalog.=) 'A'
     order by number`,
    [columns.map(({ oid }) => oid), columns.map(({ modifier }) => modifier)],
  );
  return rows as readonly Pick<SelectedColumn, 'type' | 'value'>[];
}

/**
 * Builds a select list that fails for a value that the table would change. Returns undefined if the table keeps every
 * value of the types.
 */
async function buildList(
  taskConnection: TaskConnection,
  columns: readonly SelectedColumn[],
  target: Table,
): Promise<string | undefined> {
  const narrowed = findNarrowedColumns(columns, target);
  if (narrowed.length === 0) return undefined;
  const types = narrowed.flatMap((column) => [column.value, column.target.value]);
  const { rows } = await send(
    taskConnection,
    `select pg_catalog.concat(${selectTypeName('oid', 'modifier')}, case when "isArray" then '[]' end) as type
     from rows from (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::int[]), pg_catalog.unnest($3::boolean[]))
       with ordinality as f (oid, modifier, "isArray", number)
     order by number`,
    // The source is compared without its own length or precision.
    [
      types.map(({ oid }) => oid),
      types.map(({ modifier }, i) => (i % 2 === 0 ? -1 : modifier)),
      types.map(({ isArray }) => isArray),
    ],
  );
  const names = (rows as readonly { readonly type: string }[]).map(({ type }) => qualifyType(type));
  const conditions = narrowed.map(
    ({ name, condition }, i) =>
      [
        name,
        condition(quoteIdentifier(name), { from: names[2 * i] ?? '', to: names[2 * i + 1] ?? '' }),
      ] as const,
  );
  return buildGuardedList(columns, new Map(conditions));
}
