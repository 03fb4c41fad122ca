import { send, type ProtocolClient } from '../postgres/protocol.js';

/** The number of done tasks of a run, and the rows that they wrote, in one database. */
export interface DoneCount {
  readonly runId: string;
  readonly tasks: number;
  readonly rows: number;
}

/** A task that is done, and the attempt that committed it. */
export interface DoneRow {
  readonly taskId: string;
  readonly attempt: number;
  /** Undefined for a task without a connection. */
  readonly rows: number | undefined;
  readonly startedAt: Date;
  readonly committedAt: Date;
}

/**
 * Reads a text that identifies the database, whatever connection leads to the database. The text changes when the
 * server restarts.
 */
export async function readDatabaseIdentity(client: ProtocolClient): Promise<string> {
  const { rows } = await send(
    client,
    `select concat_ws(' ', extract(epoch from pg_postmaster_start_time()), oid) as identity
     from pg_database where datname = current_database()`,
  );
  return String(rows[0]?.identity);
}

/**
 * Returns the runs of `runIds` whose process died. The row of such a run says `running`, and no process holds the lock
 * of the Dag for the run. The lock is reliable, because the server frees the lock when its connection ends. The process
 * ID in the row is not reliable: the ID may belong to another machine, or to another process by now. A run whose tasks
 * another scheduler starts (`by_task`) never counts as crashed, because no process exists between its tasks.
 */
export async function readCrashed(
  client: ProtocolClient,
  runIds: readonly string[],
): Promise<ReadonlySet<string>> {
  const suspects = await send(
    client,
    `select r.run_id from etl.run r left join etl.lock l using (dag_id)
     where r.run_id = any($1) and r.state = 'running' and not r.by_task and not (${IS_LOCKED} and ${IS_NEWEST})`,
    [runIds],
  );
  // A run may end while the first query runs. Such a run closes its row before it frees the lock, so read the state
  // again.
  const { rows } = await send(
    client,
    `select run_id from etl.run where run_id = any($1) and state = 'running'`,
    [suspects.rows.map((row: { run_id: string }) => row.run_id)],
  );
  return new Set(rows.map((row: { run_id: string }) => row.run_id));
}

/**
 * True if a process holds the lock of the Dag of run `r` (see `takeLock`). In pg_locks, `classid` has the upper 32 bits
 * and `objid` the lower 32 bits of the lock's key, and `objsubid` is 1 for a key of 64 bits:
 * https://www.postgresql.org/docs/current/view-pg-locks.html
 */
const IS_LOCKED = `exists (
  select from pg_locks k
  where k.locktype = 'advisory' and k.objsubid = 1 and k.granted
    and k.database = (select oid from pg_database where datname = current_database())
    and (k.classid::bigint << 32 | k.objid::bigint) = hashtextextended('etl:' || r.dag_id, 0))`;

/**
 * True if the lock of the Dag can belong to run `r`. `l` is the row of `etl.lock`, which names the run with the newest
 * epoch. There are three cases: the Dag has no epoch yet, run `r` has the newest epoch, or run `r` started after the
 * newest epoch was taken and is about to take an epoch.
 */
const IS_NEWEST = `(l.run_id is null or l.run_id = r.run_id or l.taken_at < r.started_at)`;

/**
 * Counts the done tasks of these runs of a Dag, and the rows that the tasks wrote. A run without a done task is left
 * out.
 */
export async function countDone(
  client: ProtocolClient,
  dagId: string,
  runIds: readonly string[],
): Promise<readonly DoneCount[]> {
  const { rows } = await send(
    client,
    `select run_id as "runId", count(*)::float8 as tasks, coalesce(sum(rows), 0)::float8 as rows from etl.task
     where dag_id = $1 and run_id = any($2) and state = 'success' group by run_id`,
    [dagId, runIds],
  );
  return rows;
}

/** Reads the done tasks of a run, in the order in which they were committed. */
export async function readDoneRows(
  client: ProtocolClient,
  dagId: string,
  runId: string,
): Promise<readonly DoneRow[]> {
  const { rows } = await send(
    client,
    `select task_id as "taskId", attempt, rows::float8 as rows, started_at as "startedAt", committed_at as "committedAt"
     from etl.task
     where dag_id = $1 and run_id = $2 and state = 'success' order by committed_at, task_id`,
    [dagId, runId],
  );
  return rows.map((row: DoneRow) => Object.assign(row, { rows: row.rows ?? undefined }));
}

/** The maximum number of run IDs that `findRunIds` returns. A longer list would not help a person to choose. */
const MOST_IDS = 20;

/** Finds the run IDs that begin or end with `part`, the newest run first, at most `MOST_IDS`. */
export async function findRunIds(client: ProtocolClient, part: string): Promise<readonly string[]> {
  const { rows } = await send(
    client,
    `select run_id from etl.run where left(run_id, length($1)) = $1 or right(run_id, length($1)) = $1
     order by started_at desc limit ${MOST_IDS}`,
    [part],
  );
  return rows.map((row: { run_id: string }) => row.run_id);
}
