import { setTimeout as delay } from 'node:timers/promises';
import { EtlError } from '../../errors.js';
import { send } from '../postgres/protocol.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import { LOCK_TIMEOUT_MS } from '../postgres/transaction.js';

/**
 * The time that one try waits for the lock, in milliseconds. Every session that wants to read the table meanwhile waits
 * behind the try. In this time, transactions that only read a few rows end.
 */
const TRY_MS = 200;
/** The pause between two tries. Other sessions can use the table meanwhile. */
const PAUSE_MS = 300;

/** The limits of `lockExclusively`, for tests. */
export interface LockLimits {
  /** The longest time for all tries together, in milliseconds. */
  readonly totalMs: number;
}

/**
 * Locks out all other sessions from a table, and runs `sql`. `target` names the table and says whether the lock is for the
 * table `only` or also for its partitions.
 *
 * A lock request that waits behind a long reader holds up all later readers. So this function waits only for moments, and
 * lets the others through between them. Throws `EtlError` ETL-3574, which names the sessions in the way, if it does not get
 * the lock within `totalMs`.
 */
export async function lockExclusively(
  taskConnection: TaskConnection,
  { target, sql }: { readonly target: string; readonly sql: string },
  { totalMs }: LockLimits = { totalMs: LOCK_TIMEOUT_MS },
): Promise<void> {
  // One message, so that a free table costs no additional round trip. The setting `etl.lock_timeout` keeps the timeout of
  // the transaction, which applies to `sql` again.
  const attempt = `savepoint etl_lock;
    select pg_catalog.set_config('etl.lock_timeout', pg_catalog.current_setting('lock_timeout'), true),
      pg_catalog.set_config('lock_timeout', '${TRY_MS}', true);
    lock table ${target} in access exclusive mode;
    select pg_catalog.set_config('lock_timeout', pg_catalog.current_setting('etl.lock_timeout'), true);
    ${sql};
    release savepoint etl_lock`;
  for (const end = Date.now() + totalMs; ; await delay(PAUSE_MS)) {
    try {
      await send(taskConnection, attempt);
      return;
    } catch (error) {
      if (findDatabaseError(error)?.code !== '55P03') throw error;
      await send(taskConnection, 'rollback to savepoint etl_lock; release savepoint etl_lock');
      if (Date.now() < end) continue;
      throw createLockedError(target, await findHolders(taskConnection, target), error);
    }
  }
}

/** A session that uses a table. `seconds` is the age of its transaction, if this role may see it. */
interface Holder {
  readonly pid: number;
  readonly application: string;
  readonly seconds: number | null;
}

/** Finds the sessions that hold a lock on the table or on one of its partitions. The transaction that is oldest comes first. */
async function findHolders(taskConnection: TaskConnection, target: string): Promise<readonly Holder[]> {
  const { rows } = await send(
    taskConnection,
    `with recursive tree (oid) as (
       select pg_catalog.to_regclass($1)::oid
       union select i.inhrelid from pg_catalog.pg_inherits i join tree on i.inhparent = tree.oid
     )
     select a.pid, a.application_name as application,
       extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::float8 as seconds
     from pg_catalog.pg_stat_activity a
     where a.pid <> pg_catalog.pg_backend_pid() and a.pid in (
       select l.pid from pg_catalog.pg_locks l
       where l.granted and l.locktype = 'relation' and l.relation in (select tree.oid from tree)
         and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
     )
     order by a.xact_start nulls last, a.pid limit 5`,
    [target.replace(/^only /, '')],
  );
  return rows as Holder[];
}

/** Creates the error ETL-3574. The runner repeats the attempt, as after every lock that is not available. */
function createLockedError(target: string, holders: readonly Holder[], cause: unknown): EtlError {
  const sessions = holders.map(({ pid, application, seconds }) => {
    const name = application === '' ? '' : ` "${application}"`;
    return `pid ${pid}${name}${seconds === null ? '' : ` (its transaction began ${Math.round(seconds)} s ago)`}`;
  });
  return new EtlError('ETL-3574', {
    what: `table ${target.replace(/^only /, '')} can't be locked`,
    why:
      sessions.length === 0
        ? 'other sessions use it all the time'
        : `${sessions.length === 1 ? 'this session uses' : 'these sessions use'} it: ${sessions.join(', ')}`,
    fix: 'run the task when nobody reads the table for long, end the session, or use a mode that needs no exclusive lock',
    cause,
  });
}
