import { send } from '../../postgres/protocol.js';
import { findDatabaseError } from '../../postgres/sqlstate.js';
import { qualifyType, quoteLiteral } from '../../sql/quote.js';
import type { TaskConnection } from '../../postgres/task-connection.js';

/** Values for a column of a type. */
export interface ColumnValues {
  /** The type as SQL, with length and precision. */
  readonly type: string;
  /** The texts that a COPY sends. NULL is `null`. */
  readonly values: readonly (string | null)[];
}

/**
 * Says whether the server accepts all values, by the input functions that a COPY uses, with length and precision. One message asks for all columns, in a savepoint, because a refused value is an error
 * of the statement.
 *
 * `pg_input_is_valid` is not used, because PostgreSQL 14 and 15 do not have it. A cast of a text is not used, because an
 * explicit cast cuts a text that is too long.
 */
export async function acceptsValues(
  taskConnection: TaskConnection,
  columns: readonly ColumnValues[],
): Promise<boolean> {
  try {
    await send(taskConnection, `savepoint etl_values; ${buildQuery(columns)}; release savepoint etl_values`);
    return true;
  } catch (error) {
    const refused = findDatabaseError(error);
    if (refused === undefined || !/^2[23]/.test(refused.code)) throw error;
    await send(taskConnection, 'rollback to savepoint etl_values; release savepoint etl_values');
    return false;
  }
}

/**
 * Builds a query that converts the values to the types. `json_to_recordset` calls the input function of each type
 * with its modifier, and takes a string in a column of type JSON for a value. So JSON is read as text and cast.
 */
function buildQuery(columns: readonly ColumnValues[]): string {
  const counts = columns.map(({ type }, i) =>
    isJson(type) ? `pg_catalog.count(c${i}::${qualifyType(type)})` : `pg_catalog.count(c${i})`,
  );
  const types = columns.map(({ type }, i) => `c${i} ${isJson(type) ? 'pg_catalog.text' : qualifyType(type)}`);
  const records = quoteLiteral(JSON.stringify(buildRecords(columns)));
  return `select ${counts.join(', ')} from pg_catalog.json_to_recordset(${records}) as v (${types.join(', ')})`;
}

function isJson(type: string): boolean {
  return type === 'json' || type === 'jsonb';
}

/** Builds records with one value of each column, without values that occur twice. */
function buildRecords(columns: readonly ColumnValues[]): readonly Readonly<Record<string, string | null>>[] {
  const lists = columns.map(({ values }) => [...new Set(values)]);
  const length = Math.max(0, ...lists.map((list) => list.length));
  return Array.from({ length }, (_, row) =>
    Object.fromEntries(lists.map((list, i) => [`c${i}`, list[row] ?? null])),
  );
}
