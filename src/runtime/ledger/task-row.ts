import { EtlError, type ErrorParts } from '../../errors.js';
import { type PipelineStatement, type ProtocolClient, send } from '../postgres/protocol.js';

/** Names one task of one run; `epoch` is that of the run's lock in this database. */
export interface TaskKey {
  readonly runId: string;
  readonly dagId: string;
  readonly taskId: string;
  readonly epoch: string;
}

/** A task that is done already, and what it gave. */
export interface DoneTask {
  readonly fingerprint: string;
  readonly result: unknown;
  readonly rows: number | undefined;
}

/** What a claim writes. */
export interface TaskClaim {
  readonly key: TaskKey;
  readonly fingerprint: string;
  /** From 1. */
  readonly attempt: number;
}

/** What the text of every claim begins with: `pg_stat_activity` shows by it who waits in one. */
export const CLAIM_START = 'insert into etl.task (run_id';

/**
 * Claims a task for the open transaction, as its first statement that writes. The unique key waits while an older
 * transaction of the same task is undecided. The row is sealed: it refers to a row of `etl.seal` that does not exist, so
 * the server refuses every COMMIT before the close. The tag says how many rows were claimed: none of a task that is done
 * with the same fingerprint; where nobody can have done it (`isFirst`), that is an error (23505) instead.
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

const UNLESS_DONE = `on conflict (run_id, task_id, map_key) do update
       set state = excluded.state, fingerprint = excluded.fingerprint, attempt = excluded.attempt, pid = excluded.pid,
           xid = excluded.xid, started_at = excluded.started_at, seal = excluded.seal, result = null, rows = null
       where etl.task.fingerprint <> excluded.fingerprint`;

/** Reads the row of a task that could not be claimed. */
export async function readClaimed(client: ProtocolClient, key: TaskKey): Promise<DoneTask> {
  const found = await send(
    client,
    `select fingerprint, result, rows from etl.task
     where run_id = $1 and task_id = $2 and map_key = '' and state = 'success'`,
    [key.runId, key.taskId],
  );
  if (found.rows[0] === undefined)
    throw new Error(`the ledger row of task ${key.taskId} is neither open nor done`);
  return toDoneTask(found.rows[0]);
}

/** What a close writes. */
export interface TaskClose {
  readonly key: TaskKey;
  /** JSON text. */
  readonly result: string;
  readonly rows: number;
}

/**
 * Records that the task is done and lifts the seal, as the last statement before COMMIT. It is also the health check
 * of the transaction: in an aborted one it fails with 25P02. When the row is not this transaction's, or is gone, or when a
 * newer run of the Dag has taken the lock, it fails with `NOT_CLOSED`, so that no COMMIT can follow: not even where the
 * task has switched off the triggers that check the seal.
 *
 * An INSERT that meets its row finds it by the unique key, whatever the table's size was when its plan was made.
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

/** SQLSTATE of a close that has found no row of its own: the division by zero in it. */
export const NOT_CLOSED = '22012';

/** Why a close has found no row. The transaction has been rolled back. */
export async function createNotClosedError(client: ProtocolClient, key: TaskKey): Promise<EtlError> {
  const { rows } = await send(client, 'select epoch::text as epoch from etl.lock where dag_id = $1', [
    key.dagId,
  ]);
  const newest = String(rows[0]?.epoch);
  if (newest !== key.epoch) {
    const why = newest === undefined ? undefined : `this run has epoch ${key.epoch}, the newest is ${newest}`;
    return createTakenOverError(key.dagId, { why });
  }
  return new EtlError('ETL-3202', {
    what: 'the transaction at the end of the task is not the one that it began in',
    why: 'the task sent COMMIT or ROLLBACK itself',
    fix: 'leave the transaction to the runner; for a part that may fail alone use session.transaction(…)',
    data: 'rows that the task wrote after its own ROLLBACK were rolled back; look at what it did before that',
  });
}

/** Records a task that worked outside a transaction, after the work. Throws when a newer run of the Dag has the lock. */
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

/** The tasks of a run that are done according to this database. */
export async function readDone(
  client: ProtocolClient,
  runId: string,
): Promise<ReadonlyMap<string, DoneTask>> {
  const { rows } = await send(
    client,
    `select task_id, fingerprint, result, rows from etl.task where run_id = $1 and state = 'success'`,
    [runId],
  );
  return new Map(rows.map((row: { task_id: string } & TaskRow) => [row.task_id, toDoneTask(row)]));
}

interface TaskRow {
  readonly fingerprint?: string;
  readonly result?: unknown;
  /** A bigint, which comes as text. */
  readonly rows?: string | null;
}

function toDoneTask(row: TaskRow | undefined): DoneTask {
  const rows = row?.rows;
  return {
    fingerprint: row?.fingerprint ?? '',
    result: row?.result,
    rows: rows === undefined || rows === null ? undefined : Number(rows),
  };
}

/** Makes the error of a run that is not the newest of its Dag any more. */
export function createTakenOverError(
  dagId: string,
  { why, data }: Pick<ErrorParts, 'why' | 'data'> = {},
): EtlError {
  return new EtlError('ETL-7503', {
    what: `a newer run of the Dag "${dagId}" has taken over`,
    why,
    fix: 'nothing: the newer run does the work',
    data,
  });
}
