import type { FieldDef, QueryResult } from 'pg';
import { EtlError } from '../../../errors.js';
import { inlineBoundValues } from '../../copy/inline-values.js';
import { send } from '../../postgres/protocol.js';
import { quoteIdentifier } from '../../sql/quote.js';
import { type Table, describeTable } from '../../table/describe.js';
import { assertTableExists } from '../../table/refuse.js';
import type { TaskConnection } from '../../postgres/task-connection.js';
import type { BoundSql } from '../../sql/bind.js';

/** A column that is read: its type as SQL writes it, and that type's OID in the database that it is read from. */
export interface SelectedColumn {
  readonly name: string;
  readonly type: string;
  readonly oid: number;
}

/** What is read from the other database. */
export interface Selection {
  readonly columns: readonly SelectedColumn[];
  /** What COPY takes: a table with its columns, or a query in parentheses. */
  readonly sql: string;
}

/** Asked when the columns are known: the condition on the rows that are read; undefined for all of them. */
export type Condition = () => Promise<string | undefined>;

/** The rows of a query. Throws `EtlError` ETL-3531 for two columns of one name. */
export async function selectQuery(
  taskConnection: TaskConnection,
  query: string | BoundSql,
  condition: Condition,
): Promise<Selection> {
  const text = await inlineBoundValues(taskConnection, query);
  const { fields } = (await taskConnection.query({
    text: `select * from (${text}\n) "etl rows" limit 0`,
    values: [],
  })) as QueryResult;
  const names = fields.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) {
    throw new EtlError('ETL-3531', {
      what: `two columns of the query are named "${twice}"`,
      fix: 'give one of them another name: `select a.id, b.id as b_id …`',
      data: 'nothing was sent',
    });
  }
  const types = await readTypeNames(taskConnection, fields);
  const columns = fields.map(({ name, dataTypeID }, i) => ({ name, type: types[i] ?? '', oid: dataTypeID }));
  const where = await condition();
  const sql = where === undefined ? `(${text}\n)` : `(select * from (${text}\n) "etl rows" where ${where})`;
  return { columns, sql };
}

/**
 * The rows of a table or a view, with those of tables that inherit from it. Columns that the target computes itself are
 * left out where they are computed here, too.
 */
export async function selectTable(
  taskConnection: TaskConnection,
  name: string,
  { target, condition }: { readonly target: Table; readonly condition: Condition },
): Promise<Selection> {
  const table = await describeTable(taskConnection, name);
  assertTableExists(table, name);
  const computed = new Set(
    target.columns.filter(({ isGenerated }) => isGenerated).map((column) => column.name),
  );
  const columns = table.columns.filter((column) => !(column.isGenerated && computed.has(column.name)));
  const list = columns.map((column) => quoteIdentifier(column.name)).join(', ');
  const where = await condition();
  if (where !== undefined) return { columns, sql: `(select ${list} from ${table.sql} where ${where})` };
  const isStored = table.kind === 'table' && !columns.some(({ isGenerated }) => isGenerated);
  // COPY reads a table a little faster than a query, but no view and no computed column, and not the heirs of the table.
  const isPlain = isStored && !(await hasChildren(taskConnection, table.sql));
  return { columns, sql: isPlain ? `${table.sql} (${list})` : `(select ${list} from ${table.sql})` };
}

async function hasChildren(taskConnection: TaskConnection, table: string): Promise<boolean> {
  const { rows } = await send(
    taskConnection,
    'select exists (select from pg_inherits where inhparent = $1::regclass) as "isParent"',
    [table],
  );
  return (rows[0] as { isParent: boolean }).isParent;
}

async function readTypeNames(
  taskConnection: TaskConnection,
  fields: readonly FieldDef[],
): Promise<readonly string[]> {
  const { rows } = await send(
    taskConnection,
    'select format_type(oid, modifier) as type from unnest($1::oid[], $2::int[]) with ordinality as f (oid, modifier, place) order by place',
    [fields.map(({ dataTypeID }) => dataTypeID), fields.map(({ dataTypeModifier }) => dataTypeModifier)],
  );
  return (rows as readonly { readonly type: string }[]).map(({ type }) => type);
}
