import { send, type ProtocolClient } from '../postgres/protocol.js';

/** How much of a run is done, according to one database. */
export interface DoneCount {
  readonly tasks: number;
  readonly rows: number;
}

/** A task that is done, and the attempt that did it. */
export interface DoneRow {
  readonly taskId: string;
  readonly attempt: number;
  /** Undefined for a task without a connection. */
  readonly rows: number | undefined;
  readonly startedAt: Date;
  readonly committedAt: Date;
}

/** Tells a database from any other, whatever connection leads to it, until its server starts again. */
export async function readDatabaseIdentity(client: ProtocolClient): Promise<string> {
  const { rows } = await send(
    client,
    `select concat_ws(' ', extract(epoch from pg_postmaster_start_time()), oid) as identity
     from pg_database where datname = current_database()`,
  );
  return String(rows[0]?.identity);
}

/**
 * Those of these runs that say `running` while no process holds the lock of their Dag for them: their process died. The
 * lock is a fact of the server; the process ID in the row may be another machine's, or somebody else's by now. A run
 * whose tasks another scheduler starts has no process between them.
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
  // A run that ended while its lock was looked for has closed its row before it let go of the lock.
  const { rows } = await send(
    client,
    `select run_id from etl.run where run_id = any($1) and state = 'running'`,
    [suspects.rows.map((row: { run_id: string }) => row.run_id)],
  );
  return new Set(rows.map((row: { run_id: string }) => row.run_id));
}

/** How `takeLock` shows in https://www.postgresql.org/docs/current/view-pg-locks.html */
const IS_LOCKED = `exists (
  select from pg_locks k
  where k.locktype = 'advisory' and k.objsubid = 1 and k.granted
    and k.database = (select oid from pg_database where datname = current_database())
    and (k.classid::bigint << 32 | k.objid::bigint) = hashtextextended('etl:' || r.dag_id, 0))`;

/** A run that has just begun has its row before it has its epoch. */
const IS_NEWEST = `(l.run_id is null or l.run_id = r.run_id or l.taken_at < r.started_at)`;

/** How many tasks of these runs of a Dag are done, and the rows they wrote, by run ID. */
export async function countDone(
  client: ProtocolClient,
  dagId: string,
  runIds: readonly string[],
): Promise<ReadonlyMap<string, DoneCount>> {
  const { rows } = await send(
    client,
    `select run_id, count(*) as tasks, coalesce(sum(rows), 0) as rows from etl.task
     where dag_id = $1 and run_id = any($2) and state = 'success' group by run_id`,
    [dagId, runIds],
  );
  // Both are numbers of the server that come as text.
  return new Map(
    rows.map((row: { run_id: string; tasks: string; rows: string }) => [
      row.run_id,
      { tasks: Number(row.tasks), rows: Number(row.rows) },
    ]),
  );
}

/** The tasks of a run that are done, in the order in which they ended. */
export async function readDoneRows(
  client: ProtocolClient,
  dagId: string,
  runId: string,
): Promise<readonly DoneRow[]> {
  const { rows } = await send(
    client,
    `select task_id, attempt, rows, started_at, committed_at from etl.task
     where dag_id = $1 and run_id = $2 and state = 'success' order by committed_at, task_id`,
    [dagId, runId],
  );
  return rows.map((row: DoneColumns) => ({
    taskId: row.task_id,
    attempt: row.attempt,
    rows: row.rows === null ? undefined : Number(row.rows),
    startedAt: row.started_at,
    committedAt: row.committed_at,
  }));
}

interface DoneColumns {
  readonly task_id: string;
  readonly attempt: number;
  /** A bigint, which comes as text. */
  readonly rows: string | null;
  readonly started_at: Date;
  readonly committed_at: Date;
}

/** More would not help anybody to choose. */
const MOST_IDS = 20;

/** The IDs of runs that begin or end with `part`, the newest first, at most 20. */
export async function findRunIds(client: ProtocolClient, part: string): Promise<readonly string[]> {
  const { rows } = await send(
    client,
    `select run_id from etl.run where left(run_id, length($1)) = $1 or right(run_id, length($1)) = $1
     order by started_at desc limit ${MOST_IDS}`,
    [part],
  );
  return rows.map((row: { run_id: string }) => row.run_id);
}
