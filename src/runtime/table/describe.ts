import { send } from '../postgres/protocol.js';
import { quoteTable } from '../sql/quote.js';
import type { TaskConnection } from '../postgres/task-connection.js';

/** A column as the catalog has it. */
export interface TableColumn {
  readonly name: string;
  /** As SQL writes it, length and precision included: `numeric(10,2)`, `timestamp with time zone[]`. */
  readonly type: string;
  /** Of the type. The same in every database only for PostgreSQL's own types, which are those below 16384. */
  readonly oid: number;
  /** By the column or by its domain. */
  readonly notNull: boolean;
  /** A row that does not name the column gets a value all the same: by a default, an identity, or its domain. */
  readonly hasDefault: boolean;
  /** Computed from other columns: no statement can give it a value. */
  readonly isGenerated: boolean;
  /** `generated always as identity`: COPY can set it, UPDATE can't. */
  readonly isAlwaysIdentity: boolean;
}

/** What stands under a table's name. */
export type TableKind =
  'table' | 'partitioned table' | 'foreign table' | 'view' | 'materialized view' | 'other';

/** A table as the catalog has it. */
export interface Table {
  /** The name as it was asked for, quoted for SQL. */
  readonly sql: string;
  readonly kind: TableKind;
  /** In the order of the table, without dropped ones. */
  readonly columns: readonly TableColumn[];
  /** The columns of each index that can tell two rows apart at once: unique, complete, not deferrable. */
  readonly uniqueKeys: readonly (readonly string[])[];
  /** Foreign keys of other tables refer to it or to one of its partitions: TRUNCATE would refuse it. */
  readonly isReferenced: boolean;
  /** One of these foreign keys says that the other rows are deleted or changed with the row that they refer to. */
  readonly isFollowed: boolean;
  /** The role may TRUNCATE it. */
  readonly mayTruncate: boolean;
  /** As `server_version_num`: 170004 is 17.4. */
  readonly serverVersion: number;
}

/**
 * The table under `name` (`table` or `schema.table`, as a user or as `quoteTable` writes it), seen from the
 * connection's search path; undefined where there is none.
 */
export async function describeTable(
  taskConnection: TaskConnection,
  name: string,
): Promise<Table | undefined> {
  const sql = quoteTable(name);
  const { rows } = await send(taskConnection, DESCRIBE, [sql]);
  const found = rows[0] as { described: Omit<Table, 'sql'> } | undefined;
  return found && { sql, ...found.described };
}

const COLUMNS = `
  select coalesce(json_agg(json_build_object(
    'name', a.attname,
    'type', format_type(a.atttypid, a.atttypmod),
    'oid', a.atttypid::bigint,
    'notNull', a.attnotnull or t.typnotnull,
    'hasDefault', (a.atthasdef and a.attgenerated = '') or a.attidentity <> '' or t.typdefault is not null,
    'isGenerated', a.attgenerated <> '',
    'isAlwaysIdentity', a.attidentity = 'a'
  ) order by a.attnum), '[]')
  from pg_attribute a join pg_type t on t.oid = a.atttypid
  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped`;

const UNIQUE_KEYS = `
  select coalesce(json_agg(k.names), '[]') from (
    select (
      select json_agg(a.attname order by p.position)
      from unnest(i.indkey::int2[]) with ordinality as p (attnum, position)
      join pg_attribute a on a.attrelid = c.oid and a.attnum = p.attnum
      where p.position <= i.indnkeyatts
    ) as names
    from pg_index i
    where i.indrelid = c.oid and i.indisunique and i.indimmediate and i.indisvalid
      and i.indpred is null and i.indexprs is null
    order by i.indisprimary desc, i.indexrelid
  ) k`;

/** Partitions and children are emptied with their table, so that foreign keys among them do not count. */
const isReferenced = (condition: string): string => `
  with recursive tree (oid) as (
    select c.oid union select i.inhrelid from pg_inherits i join tree on i.inhparent = tree.oid
  )
  select exists (
    select from pg_constraint f where f.contype = 'f' and ${condition}
      and f.confrelid in (select tree.oid from tree) and f.conrelid not in (select tree.oid from tree)
  )`;

const DESCRIBE = `
select json_build_object(
  'kind', case c.relkind when 'r' then 'table' when 'p' then 'partitioned table' when 'f' then 'foreign table'
    when 'v' then 'view' when 'm' then 'materialized view' else 'other' end,
  'columns', (${COLUMNS}),
  'uniqueKeys', (${UNIQUE_KEYS}),
  'isReferenced', (${isReferenced('true')}),
  'isFollowed', (${isReferenced(`f.confdeltype in ('c', 'n', 'd')`)}),
  'mayTruncate', has_table_privilege(c.oid, 'TRUNCATE'),
  'serverVersion', current_setting('server_version_num')::int
) as described
from pg_class c where c.oid = to_regclass($1)`;
