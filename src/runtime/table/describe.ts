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
      select d.typbasetype, d.typtypmod from base join pg_catalog.pg_type d on d.oid operator(pg_catalog.=) base.oid and d.typtype operator(pg_catalog.=) 'd'
    )
    select base.* from base join pg_catalog.pg_type b on b.oid operator(pg_catalog.=) base.oid and b.typtype operator(pg_catalog.<>) 'd'
  )`;

/** Selects the `ValueType` of each type in `$1`: domains, arrays of domains, and domains over arrays. */
const VALUES_BEHIND_DOMAINS = `
select id::bigint, pg_catalog.json_build_object('oid', coalesce(item.oid, base.oid)::bigint, 'isArray', item.oid is not null,
  'modifier', case when item.modifier operator(pg_catalog.<>) -1 then item.modifier else base.modifier end) as value
from pg_catalog.unnest($1::pg_catalog.oid[]) id
cross join ${buildBaseQuery('id')} base
join pg_catalog.pg_type b on b.oid operator(pg_catalog.=) base.oid
left join ${buildBaseQuery('b.typelem')} item on b.typcategory operator(pg_catalog.=) 'A'`;

/**
 * Builds the expression for the name of a type as SQL writes it, whatever the `search_path` is. The server adds the schema
 * to the name of a type if another type hides it. Both arguments are SQL.
 */
export function selectTypeName(oid: string, modifier: string): string {
  return `pg_catalog.regexp_replace(pg_catalog.format_type(${oid}, ${modifier}), '^pg_catalog[.]', '')`;
}

/** Selects the columns of the table `c` of `pg_class` as a JSON array of `TableColumn`. */
const COLUMNS = `
  select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
    'name', a.attname,
    'type', ${selectTypeName('a.atttypid', 'a.atttypmod')},
    'oid', a.atttypid::bigint,
    'value', case when t.typtype operator(pg_catalog.<>) 'd' and coalesce(item.typtype operator(pg_catalog.<>) 'd', true) then
      pg_catalog.json_build_object('oid', coalesce(item.oid, t.oid)::bigint, 'isArray', item.oid is not null,
        'modifier', a.atttypmod) end,
    'notNull', a.attnotnull or t.typnotnull,
    'hasDefault', (a.atthasdef and a.attgenerated operator(pg_catalog.=) '') or a.attidentity operator(pg_catalog.<>) '' or t.typdefault is not null,
    'isGenerated', a.attgenerated operator(pg_catalog.<>) '',
    'isAlwaysIdentity', a.attidentity operator(pg_catalog.=) 'a'
  ) order by a.attnum), '[]')
  from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) a.atttypid
  left join pg_catalog.pg_type item on item.oid operator(pg_catalog.=) t.typelem and t.typcategory operator(pg_catalog.=) 'A'
  where a.attrelid operator(pg_catalog.=) c.oid and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped`;

/** Selects the `uniqueKeys` of the table `c`. The columns after `indnkeyatts` are INCLUDE columns, which are no key. */
const UNIQUE_KEYS = `
  select coalesce(pg_catalog.json_agg(k.names), '[]') from (
    select (
      select pg_catalog.json_agg(a.attname order by p.position)
      from pg_catalog.unnest(i.indkey::pg_catalog.int2[]) with ordinality as p (attnum, position)
      join pg_catalog.pg_attribute a on a.attrelid operator(pg_catalog.=) c.oid and a.attnum operator(pg_catalog.=) p.attnum
      where p.position operator(pg_catalog.<=) i.indnkeyatts
    ) as names
    from pg_catalog.pg_index i
    where i.indrelid operator(pg_catalog.=) c.oid and i.indisunique and i.indimmediate and i.indisvalid
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
    select i.inhrelid from pg_catalog.pg_inherits i join tree on i.inhparent operator(pg_catalog.=) tree.oid
    where c.relkind operator(pg_catalog.=) 'p'
  )
  select exists (
    select from pg_catalog.pg_constraint f where f.contype operator(pg_catalog.=) 'f' and ${condition}
      and f.confrelid operator(pg_catalog.=) any (select tree.oid from tree)
      and f.conrelid operator(pg_catalog.<>) all (select tree.oid from tree)
  )`;

/** Selects the table named `$1` as one JSON object. Selects no row if the table does not exist. */
const DESCRIBE = `
select pg_catalog.json_build_object(
  'kind', case when c.relkind operator(pg_catalog.=) 'r' then 'table'
    when c.relkind operator(pg_catalog.=) 'p' then 'partitioned table'
    when c.relkind operator(pg_catalog.=) 'f' then 'foreign table'
    when c.relkind operator(pg_catalog.=) 'v' then 'view'
    when c.relkind operator(pg_catalog.=) 'm' then 'materialized view' else 'other' end,
  'columns', (${COLUMNS}),
  'uniqueKeys', (${UNIQUE_KEYS}),
  'isReferenced', (${buildReferenceQuery('true')}),
  'cascadesDeletes', (${buildReferenceQuery(`f.confdeltype operator(pg_catalog.=) any (array['c', 'n', 'd']::pg_catalog."char"[])`)}),
  'hasDeleteRule', exists (
    select from pg_catalog.pg_rewrite r where r.ev_class operator(pg_catalog.=) c.oid
      and r.ev_type operator(pg_catalog.=) '4' and r.ev_enabled operator(pg_catalog.<>) 'D'
  ),
  'mayTruncate', pg_catalog.has_table_privilege(c.oid, 'TRUNCATE'),
  'serverVersion', pg_catalog.current_setting('server_version_num')::int
) as described
from pg_catalog.pg_class c where c.oid operator(pg_catalog.=) pg_catalog.to_regclass($1)`;
