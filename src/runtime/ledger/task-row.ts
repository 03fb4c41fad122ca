import { EtlError, type ErrorParts } from '../../errors.js';
import { type PipelineStatement, type ProtocolClient, send } from '../postgres/protocol.js';

/** Names one task of one run. `epoch` is the epoch of the run in this database. */
export interface TaskKey {
  readonly runId: string;
  readonly dagId: string;
  readonly taskId: string;
  readonly epoch: string;
}

/** The record of a task that is already done. */
export interface DoneTask {
  readonly fingerprint: string;
  readonly result: unknown;
  readonly rows: number | undefined;
}

/** The values that a claim writes. */
export interface TaskClaim {
  readonly key: TaskKey;
  readonly fingerprint: string;
  /** The number of the attempt, from 1. */
  readonly attempt: number;
}

/** The first words of each claim's text. `pg_stat_activity` shows a session that waits in a claim by these words. */
export const CLAIM_START = 'insert into etl.task (run_id';

/**
 * Creates the statement that claims a task for the open transaction. The claim is the first statement of the
 * transaction that writes.
 *
 * - The unique key makes the claim wait while an older transaction of the same task is undecided.
 * - The row is sealed: its column `seal` refers to a row of `etl.seal` that does not exist. The server checks the
 *   reference at COMMIT, so it refuses each COMMIT before the close.
 * - The command tag says how many rows were claimed: 0 if the task is done with the same fingerprint.
 * - With `isFirst`, for a task that nobody can have done, a row that exists already is an error (23505) instead.
 */
export function createClaimStatement(
  { key, fingerprint, attempt }: TaskClaim,
  isFirst: boolean,
): PipelineStatement {
  return {
    text: `${CLAIM_START}, task_id, dag_id, state, fingerprint, attempt, pid, xid, started_at, seal)
     values ($1, $2, $3, 'running', $4, $5, pg_backend_pid(), pg_current_xact_id()::text, clock_timestamp(), 1)
     ${isFirst ? '' : UNLESS_DONE}`,
    keep: true,
    values: [key.runId, key.taskId, key.dagId, fingerprint, String(attempt)],
  };
}

/**
 * Replaces the row of the task, unless the task is done with the same fingerprint. Only a committed row can be found
 * here, and a row is committed only if its task is done.
 */
const UNLESS_DONE = `on conflict (run_id, task_id, map_key) do update
       set state = excluded.state, fingerprint = excluded.fingerprint, attempt = excluded.attempt, pid = excluded.pid,
           xid = excluded.xid, started_at = excluded.started_at, seal = excluded.seal, result = null, rows = null
       where etl.task.fingerprint <> excluded.fingerprint`;

/**
 * Reads the record of a task that could not be claimed because the task is done. Throws `Error` if there is no such
 * record.
 */
export async function readClaimed(client: ProtocolClient, key: TaskKey): Promise<DoneTask> {
  const found = await send(
    client,
    `select fingerprint, result, rows::float8 as rows from etl.task
     where run_id = $1 and task_id = $2 and map_key = '' and state = 'success'`,
    [key.runId, key.taskId],
  );
  const [row] = found.rows as readonly DoneTask[];
  if (row === undefined) throw new Error(`the ledger row of task ${key.taskId} is neither open nor done`);
  return { ...row, rows: row.rows ?? undefined };
}

/** The values that a close writes. */
export interface TaskClose {
  readonly key: TaskKey;
  /** The task's result as JSON text. */
  readonly result: string;
  readonly rows: number;
}

/**
 * Creates the close: the last statement before COMMIT, which records that the task is done and lifts the seal. The
 * close is also the health check of the transaction:
 *
 * - In an aborted transaction the close fails with 25P02.
 * - The close divides by zero (`NOT_CLOSED`) if the row belongs to another transaction, if the row is gone, or if a
 *   newer run of the Dag has taken the epoch. After the error no COMMIT can succeed. This holds even for a task that
 *   has switched off the foreign key of the seal, for example with `session_replication_role`.
 *
 * The statement is an INSERT with a conflict, not an UPDATE: the INSERT always finds the row by the unique key, however
 * large the table was when the server made the plan. If the task has deleted its row, the INSERT adds a new row, whose
 * state is not `success`, so the check fails. The expression after `returning` is `1 / 1` if all conditions are true,
 * and `1 / 0` otherwise, which is an error. `for share` waits for a newer run that is taking the epoch.
 */
export function createCloseStatement({ key, result, rows }: TaskClose): PipelineStatement {
  return {
    text: `insert into etl.task as own (run_id, task_id, dag_id, state, fingerprint, attempt, started_at)
     values ($1, $2, $3, 'running', '', 0, clock_timestamp())
     on conflict (run_id, task_id, map_key) do update
       set state = 'success', seal = null, result = $5::jsonb, rows = $6, committed_at = clock_timestamp()
     returning 1 / (own.state = 'success' and own.xid = pg_current_xact_id()::text
       and exists (select from etl.lock where dag_id = $3 and epoch = $4 for share))::int`,
    keep: true,
    values: [key.runId, key.taskId, key.dagId, key.epoch, result, String(rows)],
  };
}

/** The SQLSTATE of a close that found no row of its own transaction. The close then divides by zero. */
export const NOT_CLOSED = '22012';

/**
 * Reads the newest epoch of the Dag, and creates the error that says why a close failed with `NOT_CLOSED`: ETL-7503 if
 * a newer run has the epoch, else ETL-3202. The transaction must have been rolled back before.
 */
export async function createNotClosedError(client: ProtocolClient, key: TaskKey): Promise<EtlError> {
  const { rows } = await send(client, 'select epoch::text as epoch from etl.lock where dag_id = $1', [
    key.dagId,
  ]);
  const newest = rows[0]?.epoch as string | undefined;
  if (newest !== key.epoch) {
    const why = newest && `this run has epoch ${key.epoch}, the newest is ${newest}`;
    return createTakenOverError(key.dagId, { why });
  }
  return new EtlError('ETL-3202', {
    what: 'the task ended in another transaction than it began in',
    why: 'the task sent COMMIT or ROLLBACK itself',
    fix: 'do not send COMMIT or ROLLBACK; use session.transaction(…) for a part that may fail alone',
    data: 'rows that the task wrote after its own COMMIT or ROLLBACK were rolled back; check the rows that the task wrote before',
  });
}

/**
 * Records a task that worked outside a transaction, after its work. Throws ETL-7503 if a newer run of the Dag has the
 * lock.
 */
export async function recordTask(
  client: ProtocolClient,
  key: TaskKey,
  record: {
    readonly fingerprint: string;
    readonly attempt: number;
    readonly startedAt: Date;
    readonly result: string;
  },
): Promise<void> {
  // `fence` has no row if a newer run has the epoch. Nothing is inserted then.
  const { rowCount } = await send(
    client,
    `with fence as (select 1 from etl.lock where dag_id = $3 and epoch = $8 for share)
     insert into etl.task (run_id, task_id, dag_id, state, fingerprint, attempt, result, started_at, committed_at)
     select $1, $2, $3, 'success', $4, $5, $6::jsonb, $7, clock_timestamp() from fence
     on conflict (run_id, task_id, map_key) do update
       set fingerprint = excluded.fingerprint, attempt = excluded.attempt, result = excluded.result,
           started_at = excluded.started_at, committed_at = excluded.committed_at`,
    [
      key.runId,
      key.taskId,
      key.dagId,
      record.fingerprint,
      record.attempt,
      record.result,
      record.startedAt,
      key.epoch,
    ],
  );
  if (rowCount !== 1) throw createTakenOverError(key.dagId);
}

/** Reads the tasks of a run that are done according to this database. The key of the result is the task ID. */
export async function readDone(
  client: ProtocolClient,
  runId: string,
): Promise<ReadonlyMap<string, DoneTask>> {
  const { rows } = await send(
    client,
    `select task_id as "taskId", fingerprint, result, rows::float8 as rows
     from etl.task where run_id = $1 and state = 'success'`,
    [runId],
  );
  return new Map(
    rows.map(({ taskId, ...task }: { taskId: string } & DoneTask) => [
      taskId,
      { ...task, rows: task.rows ?? undefined },
    ]),
  );
}

/** Creates ETL-7503, the error of a run that is no longer the newest of its Dag. */
export function createTakenOverError(
  dagId: string,
  { why, data }: Pick<ErrorParts, 'why' | 'data'> = {},
): EtlError {
  return new EtlError('ETL-7503', {
    what: `a newer run of the Dag "${dagId}" has taken over`,
    why,
    fix: 'do nothing: the newer run does the work',
    data,
  });
}
