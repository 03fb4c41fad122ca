import type { QueryResult } from 'pg';
import { formatDuration } from '../duration.js';
import { quoteLiteral } from '../sql/quote.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { WRITES_NOTHING_LOCK } from '../postgres/advisory-lock.js';

/** An open transaction of another session that may still commit rows. */
export interface OpenTransaction {
  /**
   * The virtual transaction ID, or the ID of a prepared transaction. The ID does not change while the transaction is
   * open.
   */
  readonly id: string;
  /** Names the session or the prepared transaction for a person, for example `pid 42 (app my_program)`. */
  readonly holder: string;
  /**
   * Seconds since the transaction began. Undefined if the role may not see the time, or if the transaction is a
   * prepared one.
   */
  readonly ageSeconds: number | undefined;
  /**
   * When the transaction began, as canonical text of a `timestamptz` cursor. Undefined in the same cases as
   * `ageSeconds`.
   */
  readonly startedAt: string | undefined;
  /** The name of a prepared transaction, which only COMMIT PREPARED and ROLLBACK PREPARED end. Undefined for a session. */
  readonly preparedAs?: string | undefined;
}

/**
 * The query for the sessions with an open transaction in this database, except this session and sessions that are
 * marked with `WRITES_NOTHING_LOCK`.
 *
 * - `pg_locks` shows each transaction to every role: a transaction holds a lock on its own virtual ID.
 * - `pg_stat_activity` shows when the transaction began, but only to a role that may see the session.
 * - A session with a start time that is not in `pg_locks` yet is about to begin a transaction, and counts as open.
 * - Autovacuum has no user and writes no rows, so the query leaves it out.
 *
 * `PREPARED` is a separate statement that runs after this one. So a transaction that is prepared between the two
 * statements is in at least one of the results.
 */
const SESSIONS = `
  with locked as (
    select pid, virtualtransaction from pg_catalog.pg_locks
    where locktype operator(pg_catalog.=) 'virtualxid' and mode operator(pg_catalog.=) 'ExclusiveLock' and granted and virtualxid operator(pg_catalog.=) virtualtransaction
  ), harmless as (
    select pid from pg_catalog.pg_locks
    where locktype operator(pg_catalog.=) 'advisory' and objsubid operator(pg_catalog.=) 1 and granted
      and (classid::bigint operator(pg_catalog.<<) 32 operator(pg_catalog.|) objid::bigint) operator(pg_catalog.=) ${WRITES_NOTHING_LOCK}
  )
  select coalesce(l.virtualtransaction, pg_catalog.concat('pid ', a.pid)) as id, a.pid,
         pg_catalog.concat_ws(' ', 'pid', a.pid,
           case when a.usename is not null or a.application_name operator(pg_catalog.<>) ''
             then pg_catalog.concat('(', pg_catalog.concat_ws(' ', a.usename, a.application_name), ')') end) as holder,
         null::pg_catalog.text as gid,
         coalesce(a.xact_start, case when a.state operator(pg_catalog.=) 'active' then a.query_start end) as started_at
  from pg_catalog.pg_stat_activity a left join locked l on l.pid operator(pg_catalog.=) a.pid
  where a.datname operator(pg_catalog.=) pg_catalog.current_database() and a.pid operator(pg_catalog.<>) pg_catalog.pg_backend_pid()
    and a.usesysid is not null
    and (l.pid is not null or a.xact_start is not null or (a.state operator(pg_catalog.=) 'active' and a.backend_type operator(pg_catalog.=) 'client backend'))
    and a.pid operator(pg_catalog.<>) all (select pid from harmless)`;

/** The query for the prepared transactions of this database, with the columns that `selectColumns` needs. */
const PREPARED = `
  select transaction::pg_catalog.text as id, pg_catalog.concat('the prepared transaction "', gid, '"') as holder,
    gid, null::timestamp with time zone as started_at
  from pg_catalog.pg_prepared_xacts where database operator(pg_catalog.=) pg_catalog.current_database()`;

/** Builds the statement that selects the fields of `OpenTransaction` from `SESSIONS` or `PREPARED`. */
const selectColumns = (from: string, condition = 'true'): string =>
  `select id, holder, pg_catalog.to_char(started_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"') as "startedAt",
          extract(epoch from pg_catalog.clock_timestamp() operator(pg_catalog.-) started_at)::pg_catalog.float8
            as "ageSeconds", gid as "preparedAs"
   from (${from}) as open where ${condition}`;

/**
 * Returns two statements that read the open transactions. Send them in one message, in this order;
 * `parseOpenTransactions` reads their results. `sequence` is the OID of a sequence: then only sessions that took a
 * number of the sequence count. Such a session locks the sequence until the end of its transaction.
 */
export function buildOpenTransactionQueries(sequence?: string): readonly string[] {
  const taken =
    sequence &&
    `exists (
    select from pg_catalog.pg_locks s
    where s.pid operator(pg_catalog.=) open.pid and s.locktype operator(pg_catalog.=) 'relation' and s.mode operator(pg_catalog.=) 'RowExclusiveLock' and s.relation operator(pg_catalog.=) ${sequence}
      and s.database operator(pg_catalog.=) (select oid from pg_catalog.pg_database where datname operator(pg_catalog.=) pg_catalog.current_database()))`;
  return [selectColumns(SESSIONS, taken), selectColumns(PREPARED)];
}

/** Converts the results of the two statements of `buildOpenTransactionQueries` to one list. */
export function parseOpenTransactions(results: readonly QueryResult[]): readonly OpenTransaction[] {
  return results.flatMap(({ rows }) =>
    rows.map((row: OpenTransaction) =>
      Object.assign(row, {
        ageSeconds: row.ageSeconds ?? undefined,
        startedAt: row.startedAt ?? undefined,
        preparedAs: row.preparedAs ?? undefined,
      }),
    ),
  );
}

/** Reads the open transactions again, and returns those transactions of `before` that are still open. */
export async function listStillOpen(
  client: Pick<ProtocolClient, 'query'>,
  before: readonly OpenTransaction[],
): Promise<readonly OpenTransaction[]> {
  const results = await send(client, buildOpenTransactionQueries().join(';'));
  const open = new Set(
    parseOpenTransactions(results as unknown as readonly QueryResult[]).map(({ id }) => id),
  );
  return before.filter(({ id }) => open.has(id));
}

/**
 * The query for the transaction with the lowest ID that has not ended, in any database of the server: its ID and its
 * holder. `high` is the next ID, and the holder is null, if no transaction with an ID is open.
 */
export const READ_OLDEST_ID = `
  with oldest as (select pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()) as id)
  select oldest.id::pg_catalog.text as high, holder.who as holder, holder.gid as "preparedAs",
         extract(epoch from pg_catalog.clock_timestamp() operator(pg_catalog.-) holder.since)::pg_catalog.float8
           as "ageSeconds"
  from oldest left join lateral (
    select pg_catalog.concat_ws(' ', 'pid', a.pid, pg_catalog.concat('(',
             pg_catalog.concat_ws(' ', a.usename, a.application_name), ')')) as who,
           null::pg_catalog.text as gid, a.xact_start as since
    from pg_catalog.pg_stat_activity a where a.backend_xid operator(pg_catalog.=) oldest.id::pg_catalog.xid
    union all
    select pg_catalog.concat('the prepared transaction "', p.gid, '"'), p.gid, p.prepared
    from pg_catalog.pg_prepared_xacts p where p.transaction operator(pg_catalog.=) oldest.id::pg_catalog.xid
    limit 1) as holder on true`;

/** Says how a person ends a prepared transaction that was forgotten. Undefined if none of the transactions is prepared. */
export function adviseRollback(open: readonly Pick<OpenTransaction, 'preparedAs'>[]): string | undefined {
  const names = open.flatMap(({ preparedAs }) => (preparedAs === undefined ? [] : [preparedAs]));
  if (names.length === 0) return undefined;
  const commands = names.map((name) => `rollback prepared ${quoteLiteral(name)}`);
  return `if nobody needs the prepared transaction any more, end it in its database: ${commands.join('; ')} (or commit prepared)`;
}

/** Says who has the transaction open, and for how long, for example `pid 42 (app), open for 3.0s`. */
export function formatHolder({ holder, ageSeconds }: Pick<OpenTransaction, 'holder' | 'ageSeconds'>): string {
  if (ageSeconds === undefined) return holder;
  // The age can be negative if the clock of the server was set back.
  return `${holder}, open for ${formatDuration(Math.max(0, ageSeconds) * 1000)}`;
}
