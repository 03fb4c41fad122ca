import type { QueryResult } from 'pg';
import { EtlError } from '../../errors.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { WATCH_CLIENT, formatApplicationName } from '../postgres/transaction.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import { isNotInstalled } from './schema.js';
import { WRITES_NOTHING_LOCK } from '../postgres/advisory-lock.js';

/** The behaviour of `takeLock` if another run of the Dag holds the lock. `fail` throws at once. */
export type Overlap =
  | { readonly mode: 'fail' }
  /** Waits at most `waitMs` milliseconds, and then throws. */
  | { readonly mode: 'wait'; readonly waitMs: number }
  /** Shares the lock with other processes that run single tasks, but not with a whole run. */
  | { readonly mode: 'share' };

/**
 * Takes the lock of a Dag, so that only one run of the Dag works at a time. Opens a transaction on `client`; the lock
 * lasts until this transaction ends. The idle transaction has no snapshot and no ID, so it holds back no VACUUM. A lock
 * of a transaction works behind PgBouncer, a lock of a session does not (https://www.pgbouncer.org/features.html).
 *
 * Throws ETL-7501 with the holder if another run holds the lock.
 */
export async function takeLock(client: ProtocolClient, dagId: string, overlap: Overlap): Promise<void> {
  if (await tryLock(client, dagId, overlap)) return;
  await send(client, 'rollback');
  throw await createLockHeldError(client, dagId);
}

/**
 * The statements that begin the transaction of the lock. The transaction lasts as long as the run, so the server must
 * not end it by a timeout. `WRITES_NOTHING_LOCK` marks the transaction, so no search for a high watermark waits for its
 * end.
 */
const BEGIN_LOCK = [
  'begin',
  'set local idle_in_transaction_session_timeout = 0',
  'set local statement_timeout = 0',
  `select pg_advisory_xact_lock_shared(${WRITES_NOTHING_LOCK})`,
];

/** The SQLSTATE `lock_not_available` of a statement that waited longer than `lock_timeout`. */
const LOCK_TIMEOUT = '55P03';

/** Builds the SQL of the lock's key. The pattern of Dag IDs excludes quotes, so the ID needs no bound value. */
function buildLockKey(dagId: string): string {
  return `hashtextextended('etl:${dagId}', 0)`;
}

/**
 * Begins a transaction and takes the lock in it. Returns false if another run holds the lock, in the mode `wait` only
 * after the time to wait. The transaction stays open in both cases.
 */
async function tryLock(client: ProtocolClient, dagId: string, overlap: Overlap): Promise<boolean> {
  const begin = [...BEGIN_LOCK, ...WATCH_CLIENT].join('; ');
  if (overlap.mode === 'wait') {
    await send(client, begin);
    return waitForLock(client, dagId, overlap.waitMs);
  }
  const shared = overlap.mode === 'share' ? '_shared' : '';
  const lock = `select pg_try_advisory_xact_lock${shared}(${buildLockKey(dagId)}) as taken`;
  // Several statements in one message have one result each. The result of the lock is the last.
  const results = (await send(client, `${begin}; ${lock}`)) as unknown as readonly QueryResult[];
  return results.at(-1)?.rows[0]?.taken === true;
}

/** Waits at most `waitMs` milliseconds for the lock, in the open transaction. Returns false if the time is over. */
async function waitForLock(client: ProtocolClient, dagId: string, waitMs: number): Promise<boolean> {
  await send(client, `set local lock_timeout = ${Math.ceil(waitMs)}`);
  try {
    await send(client, `select pg_advisory_xact_lock(${buildLockKey(dagId)})`);
    return true;
  } catch (error) {
    if (findDatabaseError(error)?.code === LOCK_TIMEOUT) return false;
    throw error;
  }
}

/**
 * Ends the sessions whose transactions an earlier process of the Dag has left open in this database, for example
 * because the network of the process broke. The sessions are found by their application name. Call this function only
 * with the lock of the Dag: then no other process works for the Dag.
 */
export async function endLeftovers(control: ProtocolClient, dagId: string): Promise<void> {
  await send(
    control,
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and usename = current_user and pid <> pg_backend_pid()
       and xact_start is not null and starts_with(application_name, $1)`,
    [formatApplicationName(dagId, '')],
  );
}

/** Reads which run holds the lock of the Dag, and creates ETL-7501 with this run. */
async function createLockHeldError(client: ProtocolClient, dagId: string): Promise<EtlError> {
  const who = (await describeHolder(client, dagId)) ?? 'a run that has just started';
  return new EtlError('ETL-7501', {
    what: `"${dagId}" is already running: ${who}`,
    fix: 'wait until that run ends, or pass --overlap wait; the lock is free as soon as the process of that run has ended',
    data: 'nothing was started',
  });
}

/**
 * Describes the run that last took the Dag's epoch. Returns undefined if the first run holds the lock and is still
 * creating the ledger.
 */
async function describeHolder(client: ProtocolClient, dagId: string): Promise<string | undefined> {
  try {
    const { rows } = await send(
      client,
      `select format('run %s, pid %s on host %s, since %s (%s s)', run_id, pid, host, to_char(taken_at, 'HH24:MI:SS'),
                     extract(epoch from clock_timestamp() - taken_at)::int) as holder
       from etl.lock where dag_id = $1`,
      [dagId],
    );
    return rows[0]?.holder as string | undefined;
  } catch (error) {
    if (isNotInstalled(error)) return undefined;
    throw error;
  }
}
