import { type ProtocolClient, send } from '../postgres/protocol.js';

/**
 * How a table gets rows that no transaction of its own database wrote at the time in the cursor.
 *
 * - `foreign`: another server has the rows
 * - `materialized`: a REFRESH writes the rows
 * - `subscribed`: a subscription writes the rows of another database
 */
export type IndirectKind = 'foreign' | 'materialized' | 'subscribed';

/** A table whose rows were written elsewhere, or earlier than they become visible here. */
export interface IndirectTable {
  readonly name: string;
  readonly kind: IndirectKind;
}

/**
 * Returns the EXPLAIN statement whose rows `findIndirectTable` reads. The plan names each table behind a view or a
 * query.
 */
export function explainQuery(from: string): string {
  return `explain (verbose, format json, costs off) select from ${from}`;
}

/**
 * Finds a table of a plan that another server, a REFRESH or a subscription fills. Returns undefined if the plan has no
 * such table.
 */
export async function findIndirectTable(
  client: ProtocolClient,
  plan: unknown,
): Promise<IndirectTable | undefined> {
  const tables = listTables(plan);
  const { rows } = await send(
    client,
    `select format('%I.%I', n.nspname, c.relname) as name,
            case c.relkind when 'f' then 'foreign' when 'm' then 'materialized' else 'subscribed' end as kind
     from json_to_recordset($1) as t (schema text, name text)
     join pg_namespace n on n.nspname = t.schema join pg_class c on c.relnamespace = n.oid and c.relname = t.name
     where c.relkind in ('f', 'm') or exists (select from pg_subscription_rel where srrelid = c.oid)
     order by c.relkind limit 1`,
    [JSON.stringify(tables)],
  );
  return rows[0] as IndirectTable | undefined;
}

/**
 * Lists the schema and name of each scanned table, at any depth of the plan:
 * https://www.postgresql.org/docs/current/sql-explain.html
 */
function listTables(plan: unknown): readonly { readonly schema: string; readonly name: string }[] {
  if (typeof plan !== 'object' || plan === null) return [];
  const { Schema: schema, 'Relation Name': name } = plan as Record<string, unknown>;
  const own = typeof schema === 'string' && typeof name === 'string' ? [{ schema, name }] : [];
  return [...own, ...Object.values(plan).flatMap(listTables)];
}

/** The input of an incremental task and the column that orders its rows. */
export interface CursorInput {
  /** An item of a FROM clause: a quoted table, or a query in parentheses with an alias. */
  readonly from: string;
  /** The quoted table, for the lookup of the sequence behind the cursor. Undefined if the input is a query. */
  readonly table: string | undefined;
  readonly cursor: string;
  /** The time zone of the cursor's values. Only for a type without a zone of its own. */
  readonly timeZone: string | undefined;
  /**
   * How much earlier than the begin of its transaction a row may be stamped, in milliseconds. Undefined means that no
   * row is.
   */
  readonly lagMs: number | undefined;
  /** Aborts the wait for other transactions. */
  readonly signal: AbortSignal;
}
