import { send } from '../postgres/protocol.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import { quoteIdentifier } from '../sql/quote.js';
import type { Table } from './describe.js';

/** The first OID of a type that an extension or a user has made. */
const FIRST_OWN_OID = 16_384;
/** The operator of all built-in types. Written in this way, an operator of the user with the same name is not used. */
const BUILT_IN = 'operator(pg_catalog.=)';

/**
 * Selects the equality operator of each column of the unique keys of table `$1`: the one that the index itself uses. The
 * operator of a type such as `citext` is in the schema of its extension. 3 is the strategy of equality in a btree:
 * https://www.postgresql.org/docs/current/btree.html
 */
const OPERATORS = `
  select a.attname as name, n.nspname as schema, o.oprname as operator
  from pg_catalog.pg_index i
  cross join rows from (pg_catalog.unnest(i.indkey::pg_catalog.int2[]),
    pg_catalog.unnest(i.indclass::pg_catalog.oid[])) as k (attnum, opclass)
  join pg_catalog.pg_attribute a on a.attrelid operator(pg_catalog.=) i.indrelid
    and a.attnum operator(pg_catalog.=) k.attnum
  join pg_catalog.pg_opclass c on c.oid operator(pg_catalog.=) k.opclass
  join pg_catalog.pg_amop s on s.amopfamily operator(pg_catalog.=) c.opcfamily
    and s.amoplefttype operator(pg_catalog.=) c.opcintype and s.amoprighttype operator(pg_catalog.=) c.opcintype
    and s.amopstrategy operator(pg_catalog.=) 3
  join pg_catalog.pg_operator o on o.oid operator(pg_catalog.=) s.amopopr
  join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) o.oprnamespace
  where i.indrelid operator(pg_catalog.=) pg_catalog.to_regclass($1) and i.indisunique`;

/**
 * Returns the equality operator of each column of a key, as SQL writes it between two values. Asks the server only if the key
 * has a type that is not built in.
 */
export async function readKeyEquality(
  taskConnection: TaskConnection,
  table: Table,
  key: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const equality = new Map(key.map((name) => [name, BUILT_IN]));
  const isBuiltIn = (name: string): boolean =>
    table.columns.every((column) => column.name !== name || column.value.oid < FIRST_OWN_OID);
  if (key.every(isBuiltIn)) return equality;
  const { rows } = await send(taskConnection, OPERATORS, [table.sql]);
  for (const { name, schema, operator } of rows as { name: string; schema: string; operator: string }[])
    if (equality.has(name)) equality.set(name, `operator(${quoteIdentifier(schema)}.${operator})`);
  return equality;
}
