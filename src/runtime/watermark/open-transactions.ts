import type { QueryResult } from 'pg';
import { formatDuration } from '../duration.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { WRITES_NOTHING_LOCK } from '../postgres/advisory-lock.js';

/** An open transaction of another session that may still commit rows. */
export interface OpenTransaction {
  /** Virtual transaction ID, or that of a prepared transaction: its name while it lasts. */
  readonly id: string;
  /** For a person: who holds it. */
  readonly holder: string;
  /** Seconds since it began; undefined where this role may not see that, or where nobody knows. */
  readonly ageSeconds: number | undefined;
  /** When it began, as `at` is written. */
  readonly startedAt: string | undefined;
}

/**
 * The transactions that are open in this database. `pg_locks` names each of them to every role, by the lock that it has
 * on its own virtual ID; `pg_stat_activity` says when it began, to those who may know. A session that has its time and
 * is not in `pg_locks` yet is about to begin one. Autovacuum, which has no user, writes no rows. Sessions come before prepared transactions,
 * in a statement of their own: one that is prepared meanwhile is seen in either.
 */
const SESSIONS = `
  with locked as (
    select pid, virtualtransaction from pg_locks
    where locktype = 'virtualxid' and mode = 'ExclusiveLock' and granted and virtualxid = virtualtransaction
  ), harmless as (
    select pid from pg_locks
    where locktype = 'advisory' and objsubid = 1 and granted
      and (classid::bigint << 32 | objid::bigint) = ${WRITES_NOTHING_LOCK}
  )
  select coalesce(l.virtualtransaction, 'pid ' || a.pid) as id, a.pid,
         concat_ws(' ', 'pid', a.pid, '(' || nullif(concat_ws(' ', a.usename, a.application_name), '') || ')') as holder,
         coalesce(a.xact_start, case when a.state = 'active' then a.query_start end) as started_at
  from pg_stat_activity a left join locked l using (pid)
  where a.datname = current_database() and a.pid <> pg_backend_pid()
    and a.usesysid is not null
    and (l.pid is not null or a.xact_start is not null or (a.state = 'active' and a.backend_type = 'client backend'))
    and a.pid not in (select pid from harmless)`;

const PREPARED = `
  select transaction::text as id, concat('the prepared transaction "', gid, '"') as holder, null::timestamptz as started_at
  from pg_prepared_xacts where database = current_database()`;

const columns = (from: string, condition = 'true'): string =>
  `select id, holder, to_char(started_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"') as started_at,
          extract(epoch from clock_timestamp() - started_at)::float8 as age
   from (${from}) as open where ${condition}`;

/**
 * Statements that answer with open transactions, to be sent in one message with others: the last two results are theirs.
 * `sequence`: only those that have taken a number of this sequence, which they keep locked to their end.
 */
export function openTransactions(sequence?: string): readonly string[] {
  const taken =
    sequence &&
    `exists (
    select from pg_locks s
    where s.pid = open.pid and s.locktype = 'relation' and s.mode = 'RowExclusiveLock' and s.relation = ${sequence}
      and s.database = (select oid from pg_database where datname = current_database()))`;
  return [columns(SESSIONS, taken), columns(PREPARED)];
}

/** What `openTransactions` has answered. */
export function toOpenTransactions(results: readonly QueryResult[]): readonly OpenTransaction[] {
  return results.flatMap(({ rows }) =>
    rows.map((row: Columns) => ({
      id: row.id,
      holder: row.holder,
      ageSeconds: row.age ?? undefined,
      startedAt: row.started_at ?? undefined,
    })),
  );
}

interface Columns {
  readonly id: string;
  readonly holder: string;
  readonly age: number | null;
  readonly started_at: string | null;
}

/** Those transactions that are still open. */
export async function listStillOpen(
  client: Pick<ProtocolClient, 'query'>,
  before: readonly OpenTransaction[],
): Promise<readonly OpenTransaction[]> {
  const results = await send(client, openTransactions().join(';'));
  const open = new Set(toOpenTransactions(results as unknown as readonly QueryResult[]).map(({ id }) => id));
  return before.filter(({ id }) => open.has(id));
}

/** Who holds it, and for how long. */
export function formatHolder({ holder, ageSeconds }: OpenTransaction): string {
  if (ageSeconds === undefined) return holder;
  return `${holder}, open for ${formatDuration(Math.max(0, ageSeconds) * 1000)}`;
}
