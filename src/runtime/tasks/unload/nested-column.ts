import type { QueryResult } from 'pg';
import type { TaskConnection } from '../../postgres/task-connection.js';

/** The types of a query that hold several values. */
export interface NestedTypes {
  /** The OIDs of arrays, also of domains of arrays. */
  readonly arrays: ReadonlySet<number>;
  /** The OIDs of rows. */
  readonly rows: ReadonlySet<number>;
}

/** Returns which of the types are arrays or rows. Asks the server only if `oids` has one. */
export async function readNestedTypes(
  taskConnection: TaskConnection,
  oids: readonly number[],
): Promise<NestedTypes> {
  if (oids.length === 0) return { arrays: new Set(), rows: new Set() };
  const result = (await taskConnection.query({
    text: `select oid::pg_catalog.int8::pg_catalog.text as oid, typcategory operator(pg_catalog.=) 'A' as "isArray"
      from pg_catalog.pg_type
      where oid operator(pg_catalog.=) any($1::pg_catalog.oid[])
        and (typcategory operator(pg_catalog.=) 'A' or typcategory operator(pg_catalog.=) 'C'
          or oid operator(pg_catalog.=) 'pg_catalog.record'::pg_catalog.regtype
          or oid operator(pg_catalog.=) 'pg_catalog.record[]'::pg_catalog.regtype)`,
    values: [oids],
  })) as QueryResult<{ oid: string; isArray: boolean }>;
  const select = (isArray: boolean): Set<number> =>
    new Set(result.rows.filter((row) => row.isArray === isArray).map(({ oid }) => Number(oid)));
  return { arrays: select(true), rows: select(false) };
}

/**
 * Returns the SQL expression of an array as JSON. JSON has no bounds of an array. So an array that does not begin at 1 is
 * the string of its text, such as `"[0:1]={1,2}"`, which an array column reads again.
 */
export function formatArrayAsJson(column: string): string {
  return `case when pg_catalog.array_dims(${column}) operator(pg_catalog.~) '\\[(?!1:)'
    then pg_catalog.to_json(${column}::pg_catalog.text) else pg_catalog.to_json(${column}) end`;
}
