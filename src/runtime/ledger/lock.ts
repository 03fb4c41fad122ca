import type { QueryResult } from 'pg';
import { EtlError } from '../../errors.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { WATCH_CLIENT, formatApplicationName } from '../postgres/transaction.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import { isNotInstalled } from './schema.js';
import { WRITES_NOTHING_LOCK } from '../postgres/advisory-lock.js';

/** What to do while another run of the Dag holds its lock. */
export type Overlap =
  | { readonly mode: 'fail' }
  /** Wait at most this long, in milliseconds. */
  | { readonly mode: 'wait'; readonly waitMs: number }
  /** Share it with other processes that do single tasks, but with no whole run. */
  | { readonly mode: 'share' };

/**
 * Takes the lock of a Dag for as long as the transaction that this opens on `client` stays open: one run of a Dag at a
 * time. An idle transaction holds back nothing (it has no snapshot and no id), and unlike a session's lock it works
 * behind PgBouncer (https://www.pgbouncer.org/features.html). Throws `EtlError` with who holds it.
 */
export async function takeLock(client: ProtocolClient, dagId: string, overlap: Overlap): Promise<void> {
  if (await lockAs(client, dagId, overlap)) return;
  await send(client, 'rollback');
  throw await createLockHeldError(client, dagId);
}

const BEGIN_LOCK = [
  'begin',
  'set local idle_in_transaction_session_timeout = 0',
  'set local statement_timeout = 0',
  `select pg_advisory_xact_lock_shared(${WRITES_NOTHING_LOCK})`,
];

/** An ID has no quote in it: its pattern excludes that. So all of it can be one message. */
function createKey(dagId: string): string {
  return `hashtextextended('etl:${dagId}', 0)`;
}

async function lockAs(client: ProtocolClient, dagId: string, overlap: Overlap): Promise<boolean> {
  const begin = [...BEGIN_LOCK, ...WATCH_CLIENT].join('; ');
  if (overlap.mode === 'wait') {
    await send(client, begin);
    return waitForLock(client, dagId, overlap.waitMs);
  }
  const shared = overlap.mode === 'share' ? '_shared' : '';
  const lock = `select pg_try_advisory_xact_lock${shared}(${createKey(dagId)}) as taken`;
  const results = (await send(client, `${begin}; ${lock}`)) as unknown as readonly QueryResult[];
  return results.at(-1)?.rows[0]?.taken === true;
}

async function waitForLock(client: ProtocolClient, dagId: string, waitMs: number): Promise<boolean> {
  await send(client, `set local lock_timeout = ${Math.ceil(waitMs)}`);
  try {
    await send(client, `select pg_advisory_xact_lock(${createKey(dagId)})`);
    return true;
  } catch (error) {
    if (findDatabaseError(error)?.code === '55P03') return false;
    throw error;
  }
}

/**
 * Ends the transactions that an earlier process of the Dag has left open in this database, as behind a network that is
 * gone. Only for who has the Dag's lock: nobody else may be working for it.
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

async function createLockHeldError(client: ProtocolClient, dagId: string): Promise<EtlError> {
  const by = await getHolder(client, dagId);
  const who = by
    ? `run ${by.run_id}, pid ${by.pid} on host ${by.host}, since ${by.since} (${by.seconds} s)`
    : 'a run that is just starting';
  return new EtlError('ETL-7501', {
    what: `"${dagId}" is already running: ${who}`,
    fix: 'wait until it ends, or pass --overlap wait; a lock is free as soon as its process is gone',
    data: 'nothing was started',
  });
}

interface HolderColumns {
  readonly run_id: string;
  readonly pid: number;
  readonly host: string;
  readonly since: string;
  readonly seconds: number;
}

/** Undefined where a first run has the lock, and is just making the ledger. */
async function getHolder(client: ProtocolClient, dagId: string): Promise<HolderColumns | undefined> {
  try {
    const { rows } = await send(
      client,
      `select run_id, pid, host, to_char(taken_at, 'HH24:MI:SS') as since,
              extract(epoch from clock_timestamp() - taken_at)::int as seconds
       from etl.lock where dag_id = $1`,
      [dagId],
    );
    return rows[0] as HolderColumns | undefined;
  } catch (error) {
    if (isNotInstalled(error)) return undefined;
    throw error;
  }
}
