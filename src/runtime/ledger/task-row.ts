import { EtlError } from '../../errors.js';
import { send, type ProtocolClient } from '../protocol.js';

/** Names one task of one run; `epoch` is that of the run's lock in this database. */
export interface TaskKey {
  readonly runId: string;
  readonly dagId: string;
  readonly taskId: string;
  readonly epoch: string;
}

/** The transaction that does a task: exact enough to stop it and nothing else. */
export interface TransactionId {
  readonly pid: number;
  readonly xid: string;
}

/** A task that is done already, and what it gave. */
export interface DoneTask {
  readonly fingerprint: string;
  readonly result: unknown;
  readonly rows: number | undefined;
}

export type Claim =
  | { readonly state: 'claimed'; readonly transaction: TransactionId }
  | { readonly state: 'done'; readonly done: DoneTask };

/**
 * Claims a task for the transaction that is open on `client`, as its first statement. The unique key waits while an
 * older transaction of the same task is undecided; a task that is done with the same fingerprint is not claimed. The
 * row is sealed: it refers to a row of `etl.seal` that does not exist, so the server refuses every COMMIT before
 * `closeTask`.
 */
export async function claimTask(
  client: ProtocolClient,
  key: TaskKey,
  fingerprint: string,
  attempt: number,
): Promise<Claim> {
  const claimed = await send(
    client,
    `insert into etl.task (run_id, task_id, dag_id, state, fingerprint, attempt, pid, xid, started_at, seal)
     values ($1, $2, $3, 'running', $4, $5, pg_backend_pid(), pg_current_xact_id()::text, clock_timestamp(), 1)
     on conflict (run_id, task_id, map_key) do update
       set state = excluded.state, fingerprint = excluded.fingerprint, attempt = excluded.attempt, pid = excluded.pid,
           xid = excluded.xid, started_at = excluded.started_at, seal = excluded.seal, result = null, rows = null
       where etl.task.fingerprint <> excluded.fingerprint
     returning pid, xid`,
    [key.runId, key.taskId, key.dagId, fingerprint, attempt],
  );
  const row = claimed.rows[0] as TransactionId | undefined;
  if (row !== undefined) return { state: 'claimed', transaction: row };
  const found = await send(
    client,
    `select fingerprint, result, rows from etl.task
     where run_id = $1 and task_id = $2 and map_key = '' and state = 'success'`,
    [key.runId, key.taskId],
  );
  if (found.rows[0] === undefined)
    throw new Error(`the ledger row of task ${key.taskId} is neither open nor done`);
  return { state: 'done', done: doneTask(found.rows[0]) };
}

/** What `closeTask` writes. */
export interface TaskClose {
  /** JSON text. */
  readonly result: string;
  readonly rows: number;
}

/**
 * Records that the task is done and lifts the seal, as the last statement before COMMIT. It is also the health check
 * of the transaction: in an aborted one it fails with 25P02, and it throws when the row is not this transaction's, or
 * when a newer run of the Dag has taken the lock.
 */
export async function closeTask(
  client: ProtocolClient,
  key: TaskKey,
  transaction: TransactionId,
  close: TaskClose,
): Promise<void> {
  const closed = await send(
    client,
    `with fence as (select 1 from etl.lock where dag_id = $1 and epoch = $2 for share)
     update etl.task
     set state = 'success', seal = null, result = $3::jsonb, rows = $4, committed_at = clock_timestamp()
     where run_id = $5 and task_id = $6 and map_key = ''
       and xid = $7 and xid = pg_current_xact_id()::text and exists (select from fence)`,
    [key.dagId, key.epoch, close.result, close.rows, key.runId, key.taskId, transaction.xid],
  );
  if (closed.rowCount !== 1) throw await notOurs(client, key, transaction);
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
  if (rowCount !== 1) throw takenOver(key, undefined);
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
  return new Map(rows.map((row: { task_id: string } & TaskRow) => [row.task_id, doneTask(row)]));
}

interface TaskRow {
  readonly fingerprint?: string;
  readonly result?: unknown;
  /** A bigint, which comes as text. */
  readonly rows?: string | null;
}

function doneTask(row: TaskRow | undefined): DoneTask {
  const rows = row?.rows;
  return {
    fingerprint: row?.fingerprint ?? '',
    result: row?.result,
    rows: rows === undefined || rows === null ? undefined : Number(rows),
  };
}

async function notOurs(client: ProtocolClient, key: TaskKey, transaction: TransactionId): Promise<EtlError> {
  const { rows } = await send(
    client,
    `select (select epoch::text from etl.lock where dag_id = $1) as epoch, pg_current_xact_id()::text as xid`,
    [key.dagId],
  );
  if (rows[0]?.xid !== transaction.xid) {
    return new EtlError('ETL-3202', {
      what: 'the transaction at the end of the task is not the one that it began in',
      why: 'the task sent COMMIT or ROLLBACK itself',
      fix: 'leave the transaction to the runner; for a part that may fail alone use session.transaction(…)',
      data: 'rows that the task wrote after its own ROLLBACK were rolled back; look at what it did before that',
    });
  }
  return takenOver(key, String(rows[0]?.epoch));
}

function takenOver(key: TaskKey, newest: string | undefined): EtlError {
  return new EtlError('ETL-7503', {
    what: `a newer run of the Dag "${key.dagId}" has taken over`,
    why: newest === undefined ? undefined : `this run has epoch ${key.epoch}, the newest is ${newest}`,
    fix: 'nothing: the newer run does the work',
  });
}
