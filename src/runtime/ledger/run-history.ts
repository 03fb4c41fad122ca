import { send, type ProtocolClient } from '../postgres/protocol.js';
import { quoteLiteral } from '../sql/quote.js';
import { formatLockName, type Ledger, type LedgerSchema } from './ledger.js';
import { buildIsLocked } from './lock.js';
import { selectMilliseconds } from './milliseconds.js';

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
    `select pg_catalog.concat_ws(' ', extract(epoch from pg_catalog.pg_postmaster_start_time()), oid) as identity
     from pg_catalog.pg_database where datname operator(pg_catalog.=) pg_catalog.current_database()`,
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
  { client, schema }: Ledger,
  runIds: readonly string[],
): Promise<ReadonlySet<string>> {
  const suspects = await send(
    client,
    `select r.run_id from ${schema.sql}.run r
     left join ${schema.sql}.lock l on l.dag_id operator(pg_catalog.=) r.dag_id
     where r.run_id operator(pg_catalog.=) any($1) and r.state operator(pg_catalog.=) 'running' and not r.by_task
       and not (${buildIsRunLocked(schema)} and ${IS_NEWEST})`,
    [runIds],
  );
  // A run may end while the first query runs. Such a run closes its row before it frees the lock, so read the state
  // again.
  const { rows } = await send(
    client,
    `select run_id from ${schema.sql}.run
     where run_id operator(pg_catalog.=) any($1) and state operator(pg_catalog.=) 'running'`,
    [suspects.rows.map((row: { run_id: string }) => row.run_id)],
  );
  return new Set(rows.map((row: { run_id: string }) => row.run_id));
}

/** Builds the SQL condition that a process holds the lock of the Dag of run `r` (see `takeLock`). */
function buildIsRunLocked(schema: LedgerSchema): string {
  return buildIsLocked(`(${quoteLiteral(formatLockName(schema, ''))} operator(pg_catalog.||) r.dag_id)`);
}

/**
 * True if the lock of the Dag can belong to run `r`. `l` is the row of `etl.lock`, which names the run with the newest
 * epoch. There are three cases: the Dag has no epoch yet, run `r` has the newest epoch, or run `r` started after the
 * newest epoch was taken and is about to take an epoch.
 */
const IS_NEWEST = `(l.run_id is null or l.run_id operator(pg_catalog.=) r.run_id
  or l.taken_at operator(pg_catalog.<) r.started_at)`;

/**
 * Counts the done tasks of these runs of a Dag, and the rows that the tasks wrote. A run without a done task is left
 * out.
 */
export async function countDone(
  { client, schema }: Ledger,
  dagId: string,
  runIds: readonly string[],
): Promise<readonly DoneCount[]> {
  const { rows } = await send(
    client,
    `select run_id as "runId", pg_catalog.count(*) as tasks,
       coalesce(pg_catalog.sum(rows), 0)::pg_catalog.int8 as rows from ${schema.sql}.task
     where dag_id operator(pg_catalog.=) $1 and run_id operator(pg_catalog.=) any($2)
       and state operator(pg_catalog.=) 'success' group by run_id`,
    [dagId, runIds],
  );
  return rows;
}

/** Reads the done tasks of a run, in the order in which they were committed. */
export async function readDoneRows(
  { client, schema }: Ledger,
  dagId: string,
  runId: string,
): Promise<readonly DoneRow[]> {
  const { rows } = await send(
    client,
    `select task_id as "taskId", attempt, rows, ${selectMilliseconds('started_at')} as "startedAt",
       ${selectMilliseconds('committed_at')} as "committedAt"
     from ${schema.sql}.task
     where dag_id operator(pg_catalog.=) $1 and run_id operator(pg_catalog.=) $2
       and state operator(pg_catalog.=) 'success' order by committed_at, task_id`,
    [dagId, runId],
  );
  return rows.map((row: DoneRow) =>
    Object.assign(row, {
      rows: row.rows ?? undefined,
      startedAt: new Date(row.startedAt),
      committedAt: new Date(row.committedAt),
    }),
  );
}

/** The maximum number of run IDs that `findRunIds` returns. A longer list would not help a person to choose. */
const MOST_IDS = 20;

/** Finds the run IDs that begin or end with `part`, the newest run first, at most `MOST_IDS`. */
export async function findRunIds({ client, schema }: Ledger, part: string): Promise<readonly string[]> {
  const { rows } = await send(
    client,
    `select run_id from ${schema.sql}.run
     where pg_catalog."left"(run_id, pg_catalog.length($1)) operator(pg_catalog.=) $1
       or pg_catalog."right"(run_id, pg_catalog.length($1)) operator(pg_catalog.=) $1
     order by started_at desc limit ${MOST_IDS}`,
    [part],
  );
  return rows.map((row: { run_id: string }) => row.run_id);
}
