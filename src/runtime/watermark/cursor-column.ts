import type { QueryResult } from 'pg';
import { type ErrorCode, type ErrorParts, EtlError } from '../../errors.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { quoteIdentifier, quoteLiteral } from '../sql/quote.js';
import { selectTypeName } from '../table/describe.js';
import { CURSOR_TYPES, type CursorType, findCursorType } from './cursor.js';

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
   * The option `lag` of the task, in milliseconds: how much earlier than the begin of its transaction a row may be
   * stamped. Undefined if the task has no such option, and rows are never stamped earlier.
   */
  readonly lagMs: number | undefined;
  /** Aborts the wait for other transactions. */
  readonly signal: AbortSignal;
}

/** The facts about the cursor column that the server reports. */
export interface CursorColumn extends CursorFacts {
  readonly type: CursorType;
  /** The type with its precision, such as `timestamp(3)`: PostgreSQL rounds values of the column to the precision. */
  readonly fullType: string;
}

/** The facts about the cursor column that the server reports, without its type. */
interface CursorFacts {
  /** True if the server is a replica. */
  readonly isReplica: boolean;
  /** True if a row of the input has no cursor value. */
  readonly hasNulls: boolean;
  /** The OID of the sequence that the column's numbers come from. Null if the table owns no sequence for the column. */
  readonly sequence: string | null;
  /** True if a later number of the sequence is always higher. Null if there is no sequence. */
  readonly isOrdered: boolean | null;
}

/**
 * Reads what the server says about the cursor column. Throws `EtlError` (ETL-3704 to ETL-3709 and ETL-3712) if an
 * incremental task could lose rows with this cursor.
 */
export async function describeCursor(client: ProtocolClient, input: CursorInput): Promise<CursorColumn> {
  const { from, cursor } = input;
  // Neither statement reads a row, because the rows of a foreign table are on another server, and etl refuses such a
  // table. The first statement describes the cursor. The plan names each table behind a view or a query.
  const [empty, plan] = await sendAll(client, [
    `select ${quoteIdentifier(cursor)} from ${from} where false`,
    `explain (verbose, format json, costs off) select from ${from}`,
  ]);
  const [field] = empty?.fields ?? [];
  if (field === undefined) throw new Error('the server did not describe the cursor');
  const { dataTypeID: oid, dataTypeModifier: modifier } = field;
  const type = findCursorType(oid);
  if (type === undefined) {
    const { rows } = await send(client, `select ${selectTypeName('$1', '$2')} as name`, [oid, modifier]);
    throw createCursorError('ETL-3704', {
      what: `the cursor "${cursor}" is of type ${rows[0]?.name}`,
      why: `values of type ${rows[0]?.name} do not show which rows are new`,
      fix: `choose a column of one of these types: ${CURSOR_TYPES.join(', ')}`,
    });
  }
  await refuseIndirectTable(client, input, plan?.rows);
  // PostgreSQL rounds values to the column's precision, so the high watermark must be rounded in the same way.
  const isRounded = type.kind === 'time' && modifier >= 0;
  const fullType = isRounded ? type.sql.replace('timestamp', `timestamp(${modifier})`) : type.sql;
  const column = { type, fullType, ...(await readCursorFacts(client, input)) };
  refuseUnusable(input, column);
  return column;
}

/**
 * Sends the statements in one message, which the server runs as one transaction. Returns the results in the order of
 * the statements. There must be at least two statements.
 */
export async function sendAll(
  client: ProtocolClient,
  statements: readonly string[],
): Promise<readonly QueryResult[]> {
  return (await send(client, statements.join(';\n'))) as unknown as readonly QueryResult[];
}

/** Creates an error of the search for a high watermark, which reads no rows into the task. */
export function createCursorError(code: ErrorCode, parts: Omit<ErrorParts, 'data'>): EtlError {
  return new EtlError(code, { ...parts, data: 'nothing was read, and the watermark is unchanged' });
}

/**
 * Reads whether the server is a replica, whether a row has no cursor value, and the sequence behind the cursor. A
 * sequence is ordered if it counts up and no session takes its numbers in advance (`CACHE 1`).
 */
async function readCursorFacts(
  client: ProtocolClient,
  { from, table, cursor }: CursorInput,
): Promise<CursorFacts> {
  const owned =
    table === undefined
      ? 'null::pg_catalog.oid'
      : `pg_catalog.pg_get_serial_sequence(${quoteLiteral(table)}, ${quoteLiteral(cursor)})::pg_catalog.regclass::pg_catalog.oid`;
  const { rows } = await send(
    client,
    `select pg_catalog.pg_is_in_recovery() as "isReplica", s.seqrelid::pg_catalog.text as sequence,
            s.seqcache operator(pg_catalog.=) 1 and s.seqincrement operator(pg_catalog.>) 0 as "isOrdered",
            exists (select from ${from} where ${quoteIdentifier(cursor)} is null) as "hasNulls"
     from (select ${owned} as oid) as owned
     left join pg_catalog.pg_sequence s on s.seqrelid operator(pg_catalog.=) owned.oid`,
  );
  return rows[0] as CursorFacts;
}

/**
 * Throws `EtlError` if an incremental task could lose rows with this cursor:
 *
 * - ETL-3705: a cursor value is null
 * - ETL-3706: the values are local times, and the task names no time zone
 * - ETL-3707: the task has the option `lag`, and the values are not times
 * - ETL-3708: the server is a replica, and the task has no option `lag`
 * - ETL-3709: the sequence of the values does not count up, or sessions take its numbers in advance
 */
function refuseUnusable({ cursor, from, timeZone, lagMs }: CursorInput, column: CursorColumn): void {
  const { type, isReplica, hasNulls, isOrdered } = column;
  if (hasNulls)
    throw createCursorError('ETL-3705', {
      what: `the cursor "${cursor}" is null in rows of ${from}`,
      why: 'rows without a cursor value are in no range and would never be read',
      fix: `make the column \`not null\`, or read a query with coalesce(${cursor}, …)`,
    });
  if (type.isLocal && timeZone === undefined)
    throw createCursorError('ETL-3706', {
      what: `the cursor "${cursor}" is of type ${type.name}, and its time zone is not given`,
      fix: `add the time zone: incremental: { cursor: '${cursor}', timeZone: 'UTC' }`,
    });
  if (type.kind !== 'time' && lagMs !== undefined)
    throw createCursorError('ETL-3707', {
      what: `\`lag\` is a duration, and the cursor "${cursor}" is of type ${type.name}`,
      fix: 'remove `lag`',
    });
  if (isReplica && lagMs === undefined)
    throw createCursorError('ETL-3708', {
      what: `the high watermark of "${cursor}" can't be found on a replica`,
      why: 'a replica does not show which transactions are open on its primary',
      fix: 'read from the primary, or use a cursor of times and a `lag` that is longer than every transaction',
    });
  if (type.kind === 'sequence' && isOrdered === false)
    throw createCursorError('ETL-3709', {
      what: `the sequence of the cursor "${cursor}" does not give its numbers in ascending order`,
      why: 'the sequence counts down, or sessions take its numbers in advance (CACHE)',
      fix: 'use a column with the time of the change, or a column of type xid8',
    });
}

/**
 * How a table gets rows that no transaction of its own database wrote at the time in the cursor.
 *
 * - `foreign`: another server has the rows
 * - `materialized`: a REFRESH writes the rows
 * - `subscribed`: a subscription writes the rows of another database
 */
const INDIRECT_TABLES = {
  foreign: {
    why: 'the table is a foreign table, and the transactions that are open on its server are not visible here',
    fix: 'read the table through a connection to its server',
  },
  materialized: {
    why: 'the table is a materialized view, and its rows appear only when the view is refreshed',
    fix: 'read the tables behind the view',
  },
  subscribed: {
    why: 'the rows come through a subscription, later than their transactions wrote them',
    fix: 'read from the publisher, or use a cursor of times and a `lag` that is longer than every delay',
  },
} as const;

/**
 * Throws ETL-3712 if another server, a REFRESH or a subscription fills a table of the plan. A table with a subscription
 * is allowed if the task has the option `lag`, which can cover the delay of the subscription. `plan` is the JSON of
 * EXPLAIN.
 */
async function refuseIndirectTable(
  client: ProtocolClient,
  { cursor, lagMs }: CursorInput,
  plan: unknown,
): Promise<void> {
  const { rows } = await send(
    client,
    `select pg_catalog.format('%I.%I', n.nspname, c.relname) as name,
            case when c.relkind operator(pg_catalog.=) 'f' then 'foreign'
              when c.relkind operator(pg_catalog.=) 'm' then 'materialized' else 'subscribed' end as kind
     from pg_catalog.json_to_recordset($1) as t (schema pg_catalog.text, name pg_catalog.text)
     join pg_catalog.pg_namespace n on n.nspname operator(pg_catalog.=) t.schema
     join pg_catalog.pg_class c on c.relnamespace operator(pg_catalog.=) n.oid
       and c.relname operator(pg_catalog.=) t.name
     where c.relkind operator(pg_catalog.=) 'f' or c.relkind operator(pg_catalog.=) 'm'
       or exists (select from pg_catalog.pg_subscription_rel where srrelid operator(pg_catalog.=) c.oid)
     order by c.relkind limit 1`,
    [JSON.stringify(listTables(plan))],
  );
  const [table] = rows as { readonly name: string; readonly kind: keyof typeof INDIRECT_TABLES }[];
  if (table === undefined || (table.kind === 'subscribed' && lagMs !== undefined)) return;
  throw createCursorError('ETL-3712', {
    what: `the high watermark of "${cursor}" in ${table.name} can't be found`,
    ...INDIRECT_TABLES[table.kind],
  });
}

/**
 * Lists the schema and name of each table that a plan scans, at any depth of the plan. `plan` is the JSON of EXPLAIN,
 * or any part of the JSON:
 * https://www.postgresql.org/docs/current/sql-explain.html
 */
function listTables(plan: unknown): readonly { readonly schema: string; readonly name: string }[] {
  if (typeof plan !== 'object' || plan === null) return [];
  const { Schema: schema, 'Relation Name': name } = plan as Record<string, unknown>;
  const own = typeof schema === 'string' && typeof name === 'string' ? [{ schema, name }] : [];
  return [...own, ...Object.values(plan).flatMap(listTables)];
}
