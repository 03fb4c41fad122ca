import { type ProtocolClient, send } from '../postgres/protocol.js';
import { quoteIdentifier, quoteLiteral, quoteTable } from '../sql/quote.js';

/** The table that an incremental task reads, and its cursor. */
export interface CursorReader {
  /** The ID of the task. */
  readonly taskId: string;
  /** The table, as the user wrote it. */
  readonly table: string;
  readonly cursor: string;
  /** The time zone of a cursor without a zone. */
  readonly timeZone: string | undefined;
}

/** A table that a merge updates. */
export interface MergedTable {
  readonly table: string;
  /** The columns that the merge sets. Undefined if only a run can tell: then only a column with a default counts. */
  readonly columns: readonly string[] | undefined;
}

/**
 * Finds the incremental tasks that would never read the rows that a merge updates: the merge does not set their cursor,
 * and the table has no trigger BEFORE UPDATE. `default now()` acts only on an INSERT. Returns one warning for each task, with
 * the trigger to create. Sends no query if no reader comes into question.
 *
 * A trigger counts whatever it does, and a cursor of numbers never counts, so that there are few false alarms.
 */
export async function findUnsetCursors(
  client: Pick<ProtocolClient, 'query'>,
  { table, columns }: MergedTable,
  readers: readonly CursorReader[],
): Promise<readonly string[]> {
  const candidates = readers.filter(({ cursor }) => columns?.includes(cursor) !== true);
  if (candidates.length === 0) return [];
  const { rows } = await send(client, UNSET_CURSORS, [
    quoteTable(table),
    candidates.map((each) => quoteTable(each.table)),
    candidates.map(({ cursor }) => cursor),
    columns === undefined,
  ]);
  return (rows as UnsetCursor[]).map(({ n, type }) => formatWarning(table, candidates[Number(n) - 1], type));
}

interface UnsetCursor {
  /** The number of the reader, from 1. */
  readonly n: string;
  readonly type: string;
}

/** Selects the numbers of the readers whose cursor an update of the table `$1` does not set. */
const UNSET_CURSORS = `
select r.n::pg_catalog.text as n, pg_catalog.format_type(a.atttypid, null) as type
from rows from (pg_catalog.unnest($2::pg_catalog.text[]), pg_catalog.unnest($3::pg_catalog.text[]))
  with ordinality as r (name, cursor, n)
join pg_catalog.pg_attribute a on a.attrelid operator(pg_catalog.=) pg_catalog.to_regclass($1)::pg_catalog.oid
  and a.attname operator(pg_catalog.=) r.cursor and not a.attisdropped
where pg_catalog.to_regclass(r.name)::pg_catalog.oid operator(pg_catalog.=) a.attrelid
  and a.attgenerated operator(pg_catalog.=) ''
  and pg_catalog.format_type(a.atttypid, null) operator(pg_catalog.=) any (
    array['timestamp with time zone', 'timestamp without time zone', 'date', 'xid8'])
  and (a.atthasdef or not $4)
  and not exists (
    select from pg_catalog.pg_trigger t
    where t.tgrelid operator(pg_catalog.=) a.attrelid and not t.tgisinternal
      and t.tgenabled operator(pg_catalog.<>) 'D'
      -- The bits of BEFORE (2) and UPDATE (16), and of a trigger for each row (1).
      and (t.tgtype::pg_catalog.int4 operator(pg_catalog.&) 19) operator(pg_catalog.=) 19
  )
order by r.n`;

/** Formats the warning, with the statements that create the trigger. */
function formatWarning(table: string, reader: CursorReader | undefined, type: string): string {
  if (reader === undefined) throw new Error('the server named a reader that was not asked for');
  const { taskId, cursor, timeZone } = reader;
  const name = quoteIdentifier(`set_${cursor}`.slice(0, 40));
  const local = timeZone === undefined ? '' : ` at time zone ${quoteLiteral(timeZone).trim()}`;
  const value =
    type === 'xid8'
      ? 'pg_current_xact_id()'
      : type === 'timestamp with time zone'
        ? 'now()'
        : `now()${local}`;
  return `warning: an update of ${table} does not set "${cursor}", so task "${taskId}" never reads the rows that a merge updates; create a trigger:
create function ${name}() returns trigger language plpgsql as $$ begin new.${quoteIdentifier(cursor)} := ${value}; return new; end $$;
create trigger ${name} before update on ${quoteTable(table)} for each row execute function ${name}();`;
}
