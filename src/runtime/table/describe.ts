import { type ProtocolClient, send } from '../postgres/protocol.js';
import { quoteTable } from '../sql/quote.js';
import type { ValueType } from '../postgres/type-form.js';

/** A column of a table, as the system catalog describes it. */
export interface TableColumn {
  readonly name: string;
  /** The type in SQL, with length and precision: `numeric(10,2)`, `timestamp with time zone[]`. */
  readonly type: string;
  /** The OID of the type. Only the OIDs of PostgreSQL's own types (below 16384) are the same in every database. */
  readonly oid: number;
  /** The type of the values behind all domains. */
  readonly value: ValueType;
  /** True if the column or its domain is declared `not null`. */
  readonly notNull: boolean;
  /** True if a row without the column gets a value: from a default, an identity, or the default of the domain. */
  readonly hasDefault: boolean;
  /** True if PostgreSQL computes the column from other columns. No statement can set such a column. */
  readonly isGenerated: boolean;
  /** True for `generated always as identity`. COPY can set such a column, UPDATE can't. */
  readonly isAlwaysIdentity: boolean;
}

/** The kind of relation that has a given name. */
export type TableKind =
  'table' | 'partitioned table' | 'foreign table' | 'view' | 'materialized view' | 'other';

/** A table, as the system catalog describes it. */
export interface Table {
  /** The name that was passed to `describeTable`, quoted for SQL. */
  readonly sql: string;
  /**
   * The table without the tables that inherit from it, for statements that read or delete rows: `only "orders"`. The rows
   * of a partitioned table are those of its partitions, so it has no `only`.
   */
  readonly own: string;
  readonly kind: TableKind;
  /** The columns in the order of the table, without dropped columns. */
  readonly columns: readonly TableColumn[];
  /**
   * The columns of each unique index on plain columns that is valid, not partial and not deferrable. Primary key first.
   */
  readonly uniqueKeys: readonly (readonly string[])[];
  /** True if another table has a foreign key to the table or one of its partitions. TRUNCATE refuses such a table. */
  readonly isReferenced: boolean;
  /**
   * True if such a foreign key is ON DELETE CASCADE, SET NULL or SET DEFAULT: a delete changes rows of other tables.
   */
  readonly cascadesDeletes: boolean;
  /** True if a rule of the table changes what a DELETE does: the DELETE may leave its rows, or change other tables. */
  readonly hasDeleteRule: boolean;
  /** True if the role has the TRUNCATE privilege on the table. */
  readonly mayTruncate: boolean;
  /** The `server_version_num` of the server: 170004 is 17.4. */
  readonly serverVersion: number;
}

/**
 * Describes the table with this name. `name` is `table` or `schema.table`, in the form that `quoteTable` accepts. The
 * search path of the connection applies. Returns undefined if the table does not exist. Throws `EtlError` ETL-3008 for
 * a name that is not valid.
 */
export async function describeTable(
  client: Pick<ProtocolClient, 'query'>,
  name: string,
): Promise<Table | undefined> {
  const sql = quoteTable(name);
  const { rows } = await send(client, DESCRIBE, [sql]);
  const found = rows[0] as { described: Described } | undefined;
  if (found === undefined) return undefined;
  const own = found.described.kind === 'partitioned table' ? sql : `only ${sql}`;
  return { sql, own, ...found.described, columns: await addValueTypes(client, found.described.columns) };
}

/** A table as `DESCRIBE` returns it. A column with a domain has no `value` yet. */
type Described = Omit<Table, 'sql' | 'own' | 'columns'> & {
  readonly columns: readonly (Omit<TableColumn, 'value'> & { readonly value: ValueType | null })[];
};

/**
 * Adds the types behind domains. They need a query of their own: planning the recursive query takes longer than the
 * whole `DESCRIBE`, and few tables have domains.
 */
async function addValueTypes(
  client: Pick<ProtocolClient, 'query'>,
  columns: Described['columns'],
): Promise<readonly TableColumn[]> {
  const domains = columns.filter(({ value }) => value === null).map(({ oid }) => oid);
  const found = new Map<number, ValueType>();
  if (domains.length > 0) {
    const { rows } = await send(client, VALUES_BEHIND_DOMAINS, [domains]);
    for (const { id, value } of rows as { id: string; value: ValueType }[]) found.set(Number(id), value);
  }
  const unknown: ValueType = { oid: 0, isArray: false, modifier: -1 };
  return columns.map((column) => ({ ...column, value: column.value ?? found.get(column.oid) ?? unknown }));
}

/** Builds a lateral query for the type behind all domains of a type, as `oid` and `modifier`. The argument is SQL. */
const buildBaseQuery = (oid: string): string => `lateral (
    with recursive base (oid, modifier) as (
      select ${oid}, -1 union all
      select d.typbasetype, d.typtypmod from base join pg_type d on d.oid = base.oid and d.typtype = 'd'
    )
    select base.* from base join pg_type b on b.oid = base.oid and b.typtype <> 'd'
  )`;

/** Selects the `ValueType` of each type in `$1`: domains, arrays of domains, and domains over arrays. */
const VALUES_BEHIND_DOMAINS = `
select id::bigint, json_build_object('oid', coalesce(item.oid, base.oid)::bigint, 'isArray', item.oid is not null,
  'modifier', coalesce(nullif(item.modifier, -1), base.modifier)) as value
from unnest($1::oid[]) id
cross join ${buildBaseQuery('id')} base
join pg_type b on b.oid = base.oid
left join ${buildBaseQuery('b.typelem')} item on b.typcategory = 'A'`;

/** Selects the columns of the table `c` of `pg_class` as a JSON array of `TableColumn`. */
const COLUMNS = `
  select coalesce(json_agg(json_build_object(
    'name', a.attname,
    'type', format_type(a.atttypid, a.atttypmod),
    'oid', a.atttypid::bigint,
    'value', case when t.typtype <> 'd' and item.typtype is distinct from 'd' then
      json_build_object('oid', coalesce(item.oid, t.oid)::bigint, 'isArray', item.oid is not null,
        'modifier', a.atttypmod) end,
    'notNull', a.attnotnull or t.typnotnull,
    'hasDefault', (a.atthasdef and a.attgenerated = '') or a.attidentity <> '' or t.typdefault is not null,
    'isGenerated', a.attgenerated <> '',
    'isAlwaysIdentity', a.attidentity = 'a'
  ) order by a.attnum), '[]')
  from pg_attribute a join pg_type t on t.oid = a.atttypid
  left join pg_type item on item.oid = t.typelem and t.typcategory = 'A'
  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped`;

/** Selects the `uniqueKeys` of the table `c`. The columns after `indnkeyatts` are INCLUDE columns, which are no key. */
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

/**
 * Builds a query that says whether a foreign key with `condition` refers to the table `c` or its partitions, and belongs
 * to a table outside this tree. Foreign keys inside the tree do not matter, because the whole tree is
 * emptied together. `condition` is SQL about the constraint `f`.
 */
const buildReferenceQuery = (condition: string): string => `
  with recursive tree (oid) as (
    select c.oid union
    select i.inhrelid from pg_inherits i join tree on i.inhparent = tree.oid where c.relkind = 'p'
  )
  select exists (
    select from pg_constraint f where f.contype = 'f' and ${condition}
      and f.confrelid in (select tree.oid from tree) and f.conrelid not in (select tree.oid from tree)
  )`;

/** Selects the table named `$1` as one JSON object. Selects no row if the table does not exist. */
const DESCRIBE = `
select json_build_object(
  'kind', case c.relkind when 'r' then 'table' when 'p' then 'partitioned table' when 'f' then 'foreign table'
    when 'v' then 'view' when 'm' then 'materialized view' else 'other' end,
  'columns', (${COLUMNS}),
  'uniqueKeys', (${UNIQUE_KEYS}),
  'isReferenced', (${buildReferenceQuery('true')}),
  'cascadesDeletes', (${buildReferenceQuery(`f.confdeltype in ('c', 'n', 'd')`)}),
  'hasDeleteRule', exists (
    select from pg_rewrite r where r.ev_class = c.oid and r.ev_type = '4' and r.ev_enabled <> 'D'
  ),
  'mayTruncate', has_table_privilege(c.oid, 'TRUNCATE'),
  'serverVersion', current_setting('server_version_num')::int
) as described
from pg_class c where c.oid = to_regclass($1)`;
