import { type ProtocolClient, send } from '../postgres/protocol.js';

/** How rows can come into a table otherwise than by a transaction of its own database that makes them. */
export type Detour = 'foreign' | 'materialized' | 'subscribed';

/** A table whose rows were made elsewhere, or earlier, than they come into sight. */
export interface TableOrigin {
  readonly name: string;
  readonly detour: Detour;
}

/** The statement whose answer `detourOf` takes: it names every table behind a view or a query. */
export function explainQuery(from: string): string {
  return `explain (verbose, format json, costs off) select from ${from}`;
}

/** The first table of a plan that another server, a REFRESH or a subscription fills; undefined where there is none. */
export async function findDetour(client: ProtocolClient, plan: unknown): Promise<TableOrigin | undefined> {
  const tables = listTables(plan);
  const { rows } = await send(
    client,
    `select format('%I.%I', n.nspname, c.relname) as name,
            case c.relkind when 'f' then 'foreign' when 'm' then 'materialized' else 'subscribed' end as detour
     from json_to_recordset($1) as t (schema text, name text)
     join pg_namespace n on n.nspname = t.schema join pg_class c on c.relnamespace = n.oid and c.relname = t.name
     where c.relkind in ('f', 'm') or exists (select from pg_subscription_rel where srrelid = c.oid)
     order by c.relkind limit 1`,
    [JSON.stringify(tables)],
  );
  return rows[0] as TableOrigin | undefined;
}

/** The schema and name of each scan, at any depth: https://www.postgresql.org/docs/current/sql-explain.html */
function listTables(plan: unknown): readonly { readonly schema: string; readonly name: string }[] {
  if (typeof plan !== 'object' || plan === null) return [];
  const { Schema: schema, 'Relation Name': name } = plan as Record<string, unknown>;
  const own = typeof schema === 'string' && typeof name === 'string' ? [{ schema, name }] : [];
  return [...own, ...Object.values(plan).flatMap(listTables)];
}

/** What an incremental task reads, and by which of its columns. */
export interface CursorInput {
  /** An item of a FROM clause: a quoted table, or a query in brackets with an alias. */
  readonly from: string;
  /** The quoted table, where it is one: its sequence tells more than the rows do. */
  readonly table: string | undefined;
  readonly cursor: string;
  /** The zone of values that have none of their own. */
  readonly timeZone: string | undefined;
  /** How long before the beginning of its transaction a row may be stamped, in milliseconds; undefined: not at all. */
  readonly lagMs: number | undefined;
  /** Aborts the wait for other transactions. */
  readonly signal: AbortSignal;
}
