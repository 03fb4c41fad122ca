import { setTimeout as delay } from 'node:timers/promises';
import type { QueryResult } from 'pg';
import { EtlError } from '../../errors.js';
import { WRITES_NOTHING_LOCK } from '../postgres/advisory-lock.js';
import { send } from '../postgres/protocol.js';
import { buildLongSettings, MAY_SIGNAL } from '../postgres/transaction.js';
import { quoteLiteral } from '../sql/quote.js';
import { formatLockName, formatSessionPrefix, type Ledger } from './ledger.js';
import { isNotInstalled } from './schema.js';

/** The behaviour of `takeLock` if another run of the Dag holds the lock. `fail` throws at once. */
export type Overlap =
  | { readonly mode: 'fail' }
  /** Waits at most `waitMs` milliseconds, and then throws. */
  | { readonly mode: 'wait'; readonly waitMs: number }
  /** Shares the lock with other processes that run single tasks, but not with a whole run. */
  | { readonly mode: 'share' };

/** The longest pause between two tries to take a lock that another run holds. */
const LONGEST_PAUSE_MS = 500;

/**
 * Takes the lock of a Dag, so that only one run of the Dag works at a time. Opens a transaction on the connection; the
 * lock lasts until this transaction ends. Returns the process ID of the backend that holds the lock. A lock of a
 * transaction works behind PgBouncer, a lock of a session does not (https://www.pgbouncer.org/features.html).
 *
 * The idle transaction has no snapshot and no ID, so it holds back no VACUUM. For the same reason, the mode `wait` tries
 * again and again: a statement that waits has a snapshot.
 *
 * Throws ETL-7501 with the holder if another run holds the lock.
 */
export async function takeLock(ledger: Ledger, dagId: string, overlap: Overlap): Promise<number> {
  const deadline = performance.now() + (overlap.mode === 'wait' ? overlap.waitMs : 0);
  for (let pauseMs = 25; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    const pid = await tryLock(ledger, dagId, overlap);
    if (pid !== undefined) return pid;
    await send(ledger.client, 'rollback');
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) throw await createLockHeldError(ledger, dagId);
    // The timer does not keep the process alive: the connection does, until the run is stopped.
    await delay(Math.min(pauseMs, leftMs), undefined, { ref: false });
  }
}

/**
 * Begins a transaction and tries to take the lock in it. Returns the process ID of the backend, or undefined if another
 * run holds the lock. The transaction stays open in both cases.
 *
 * The transaction lasts as long as the run, so no setting of the role or the database may end it, or give it a snapshot.
 * `WRITES_NOTHING_LOCK` marks the transaction, so no search for a high watermark waits for its end.
 */
async function tryLock(
  { client, schema }: Ledger,
  dagId: string,
  overlap: Overlap,
): Promise<number | undefined> {
  const shared = overlap.mode === 'share' ? '_shared' : '';
  const key = buildLockKey(quoteLiteral(formatLockName(schema, dagId)));
  const statements = [
    'begin isolation level read committed',
    ...buildLongSettings(client),
    `select pg_catalog.pg_advisory_xact_lock_shared(${WRITES_NOTHING_LOCK}::pg_catalog.int8)`,
    `select pg_catalog.pg_try_advisory_xact_lock${shared}(${key}) as taken, pg_catalog.pg_backend_pid() as pid`,
  ];
  // Several statements in one message have one result each. The result of the lock is the last.
  const results = (await send(client, statements.join('; '))) as unknown as readonly QueryResult[];
  const last = results.at(-1)?.rows[0] as { readonly taken: boolean; readonly pid: number } | undefined;
  return last?.taken === true ? last.pid : undefined;
}

/** Builds the SQL of the key of a Dag's lock. `name` is SQL for the text of `formatLockName`. */
function buildLockKey(name: string): string {
  return `pg_catalog.hashtextextended(${name}::pg_catalog.text, 0::pg_catalog.int8)`;
}

/**
 * Builds the SQL condition that a process holds the lock of a Dag. `name` is SQL for the text of `formatLockName`.
 * `pid` is SQL for the process ID of the backend that must hold the lock; undefined for any backend.
 *
 * In pg_locks, `classid` has the upper 32 bits and `objid` the lower 32 bits of the lock's key, and `objsubid` is 1 for a
 * key of 64 bits: https://www.postgresql.org/docs/current/view-pg-locks.html
 */
export function buildIsLocked(name: string, pid?: string): string {
  return `exists (
    select from pg_catalog.pg_locks k
    where k.locktype operator(pg_catalog.=) 'advisory' and k.objsubid operator(pg_catalog.=) 1 and k.granted
      ${pid === undefined ? '' : `and k.pid operator(pg_catalog.=) ${pid}`}
      and k.database operator(pg_catalog.=) (select d.oid from pg_catalog.pg_database d
        where d.datname operator(pg_catalog.=) pg_catalog.current_database())
      and (k.classid::pg_catalog.int8 operator(pg_catalog.<<) 32 operator(pg_catalog.|) k.objid::pg_catalog.int8)
        operator(pg_catalog.=) ${buildLockKey(name)})`;
}

/**
 * Ends the sessions whose transactions an earlier process of the Dag has left open in this database, for example
 * because the network of the process broke. The sessions are found by their application name. Call this function only
 * with the lock of the Dag: then no other process works for the Dag.
 *
 * The statement has no parameters: it would leave a portal with a snapshot in the transaction of the lock.
 *
 * On a connection without the lock, `holder` is this process. Then only transactions end that began before the process has
 * adopted the epoch here, and none if a newer process has the epoch.
 */
export async function endLeftovers(
  { client, schema }: Ledger,
  dagId: string,
  holder: string | undefined,
): Promise<void> {
  const isOld = `xact_start operator(pg_catalog.<) (select taken_at from ${schema.sql}.lock
    where dag_id operator(pg_catalog.=) ${quoteLiteral(dagId)} and holder operator(pg_catalog.=) ${quoteLiteral(holder ?? '')})`;
  await send(
    client,
    `select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity
     where datname operator(pg_catalog.=) pg_catalog.current_database()
       and usename operator(pg_catalog.=) session_user and ${MAY_SIGNAL}
       and pid operator(pg_catalog.<>) pg_catalog.pg_backend_pid()
       and ${holder === undefined ? 'xact_start is not null' : isOld}
       and pg_catalog.starts_with(application_name, ${quoteLiteral(formatSessionPrefix(schema, dagId))})`,
  );
}

/** Reads which run holds the lock of the Dag, and creates ETL-7501 with this run. */
async function createLockHeldError(ledger: Ledger, dagId: string): Promise<EtlError> {
  const who = (await describeHolder(ledger, dagId)) ?? 'a run that has just started';
  return new EtlError('ETL-7501', {
    what: `"${dagId}" is already running: ${who}`,
    fix: 'wait until that run ends, or pass --overlap wait; if that run hangs, end its process: the lock is then free',
    data: 'nothing was started',
  });
}

/**
 * Describes the run that last took the Dag's epoch. Returns undefined if the first run holds the lock and is still
 * creating the ledger.
 */
export async function describeHolder({ client, schema }: Ledger, dagId: string): Promise<string | undefined> {
  try {
    const { rows } = await send(
      client,
      `select pg_catalog.format('run %s, pid %s on host %s, since %s (%s s ago)', run_id, pid, host,
         pg_catalog.to_char(taken_at at time zone 'UTC', 'HH24:MI:SS" UTC"'),
         extract(epoch from pg_catalog.clock_timestamp() operator(pg_catalog.-) taken_at)::pg_catalog.int4) as holder
       from ${schema.sql}.lock where dag_id operator(pg_catalog.=) ${quoteLiteral(dagId)}`,
    );
    return rows[0]?.holder as string | undefined;
  } catch (error) {
    if (isNotInstalled(error)) return undefined;
    throw error;
  }
}
