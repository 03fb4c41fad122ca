import { EtlError } from '../../errors.js';
import { type PipelineStatement, send } from '../postgres/protocol.js';
import { type Epoch, isSame, readEpoch } from './epoch.js';
import { buildOnce, type Ledger, type LedgerSchema } from './ledger.js';
import { describeHolder } from './lock.js';
import { createNotWrittenError } from './row-not-written.js';
import { createTakenOverError } from './taken-over.js';

/** Names one task of one run. */
export interface TaskKey {
  readonly runId: string;
  readonly dagId: string;
  readonly taskId: string;
  readonly epoch: Epoch;
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

/** Returns the first words of each claim's text. `pg_stat_activity` shows a session that waits in a claim by these words. */
export function buildClaimStart({ sql }: LedgerSchema): string {
  return `insert into ${sql}.task (run_id`;
}

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
  schema: LedgerSchema,
  { key, fingerprint, attempt }: TaskClaim,
  isFirst: boolean,
): PipelineStatement {
  return {
    text: isFirst ? buildFastClaim(schema) : buildSafeClaim(schema),
    keep: true,
    values: [key.runId, key.taskId, key.dagId, fingerprint, String(attempt)],
  };
}

const buildFastClaim = buildOnce(
  (
    schema,
  ) => `${buildClaimStart(schema)}, task_id, dag_id, state, fingerprint, attempt, pid, xid, started_at, seal)
     values ($1, $2, $3, 'running', $4, $5, pg_catalog.pg_backend_pid(),
       pg_catalog.pg_current_xact_id()::pg_catalog.text, pg_catalog.clock_timestamp(), 1)`,
);

const buildSafeClaim = buildOnce((schema) => `${buildFastClaim(schema)} ${buildUnlessDone(schema)}`);

/** The command tag of a claim that has claimed the task. */
export const CLAIMED = 'INSERT 0 1';

/**
 * Replaces the row of the task, unless the task is done with the same fingerprint. Only a committed row can be found
 * here. A committed row that is not done belongs to a task that has switched off its seal and sent COMMIT.
 */
const buildUnlessDone = ({ sql }: LedgerSchema): string => `on conflict (run_id, task_id, map_key) do update
       set state = excluded.state, fingerprint = excluded.fingerprint, attempt = excluded.attempt, pid = excluded.pid,
           xid = excluded.xid, started_at = excluded.started_at, seal = excluded.seal, result = null, rows = null
       where ${sql}.task.fingerprint operator(pg_catalog.<>) excluded.fingerprint
         or ${sql}.task.state operator(pg_catalog.<>) 'success'`;

/**
 * Reads the record of a task that could not be claimed because the task is done with this fingerprint. Throws ETL-4009 if
 * there is no such record: then the server has dropped the row of the claim.
 */
export async function readClaimed(
  { client, schema }: Ledger,
  key: TaskKey,
  fingerprint: string,
): Promise<DoneTask> {
  const found = await send(
    client,
    `select fingerprint, result, rows from ${schema.sql}.task
     where run_id operator(pg_catalog.=) $1 and task_id operator(pg_catalog.=) $2 and map_key operator(pg_catalog.=) ''
       and state operator(pg_catalog.=) 'success' and fingerprint operator(pg_catalog.=) $3`,
    [key.runId, key.taskId, fingerprint],
  );
  const [row] = found.rows as readonly DoneTask[];
  if (row === undefined) throw createNotWrittenError(schema, 'task');
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
 * - The close computes the logarithm of zero (`CLOSE_DROPPED`) if the server has dropped the row.
 *
 * The statement is an INSERT with a conflict, not an UPDATE: the INSERT always finds the row by the unique key, however
 * large the table was when the server made the plan. If the task has deleted its row, the INSERT adds a new row, whose
 * state is not `success`, so the check fails. `for share` waits for a newer run that is taking the epoch.
 */
export function createCloseStatement(
  schema: LedgerSchema,
  { key, result, rows }: TaskClose,
): PipelineStatement {
  return {
    text: buildClose(schema),
    keep: true,
    values: [key.runId, key.taskId, key.dagId, key.epoch.number, key.epoch.holder, result, String(rows)],
  };
}

const buildClose = buildOnce(
  ({ sql }) => `with closed as (
       insert into ${sql}.task as own (run_id, task_id, dag_id, state, fingerprint, attempt, started_at)
       values ($1, $2, $3, 'running', '', 0, pg_catalog.clock_timestamp())
       on conflict (run_id, task_id, map_key) do update
         set state = 'success', seal = null, result = $6, rows = $7, committed_at = pg_catalog.clock_timestamp()
       returning own.state operator(pg_catalog.=) 'success' and own.seal is null
         and own.xid operator(pg_catalog.=) pg_catalog.pg_current_xact_id()::pg_catalog.text
         and exists (select from ${sql}.lock where dag_id operator(pg_catalog.=) $3
           and epoch operator(pg_catalog.=) $4 and holder operator(pg_catalog.=) $5 for share) as is_own)
     select pg_catalog.ln(pg_catalog.count(*)::pg_catalog.float8),
       1 operator(pg_catalog./) pg_catalog.count(*) filter (where is_own) from closed`,
);

/** The SQLSTATE of a close that found no row of its own transaction. The close then divides by zero. */
export const NOT_CLOSED = '22012';
/** The SQLSTATE of a close whose row the server has dropped. The close then computes the logarithm of zero. */
export const CLOSE_DROPPED = '2201E';

/**
 * Reads the newest epoch of the Dag, and creates the error that says why a close failed with `NOT_CLOSED`: ETL-7503 if
 * another process has the epoch, else ETL-3202. The transaction must have been rolled back before.
 */
export async function createNotClosedError(ledger: Ledger, key: TaskKey): Promise<EtlError> {
  if (!isSame(await readEpoch(ledger, key.dagId), key.epoch))
    return createTakenOverError(key.dagId, { why: await describeHolder(ledger, key.dagId) });
  return new EtlError('ETL-3202', {
    what: 'the task ended in another transaction than it began in',
    why: 'the task sent COMMIT or ROLLBACK itself',
    fix: 'do not send COMMIT or ROLLBACK; use session.transaction(…) for a part that may fail alone',
    data: 'rows that the task wrote after its own COMMIT or ROLLBACK were rolled back; check the rows that the task wrote before',
  });
}

/**
 * Records a task that worked outside a transaction, after its work. Throws ETL-7503 if a newer run of the Dag has the
 * lock, and ETL-4009 if the row was not written.
 */
export async function recordTask(
  ledger: Ledger,
  key: TaskKey,
  record: {
    readonly fingerprint: string;
    readonly attempt: number;
    readonly startedAt: Date;
    readonly result: string;
  },
): Promise<void> {
  const { client, schema } = ledger;
  // `fence` has no row if a newer run has the epoch. Nothing is inserted then.
  const { rowCount } = await send(
    client,
    `with fence as (select from ${schema.sql}.lock where dag_id operator(pg_catalog.=) $3
       and epoch operator(pg_catalog.=) $8 and holder operator(pg_catalog.=) $9 for share)
     insert into ${schema.sql}.task
       (run_id, task_id, dag_id, state, fingerprint, attempt, result, started_at, committed_at)
     select $1, $2, $3, 'success', $4, $5, $6, $7, pg_catalog.clock_timestamp() from fence
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
      record.startedAt.toISOString(),
      key.epoch.number,
      key.epoch.holder,
    ],
  );
  if (rowCount === 1) return;
  if (isSame(await readEpoch(ledger, key.dagId), key.epoch)) throw createNotWrittenError(schema, 'task');
  throw createTakenOverError(key.dagId, { why: await describeHolder(ledger, key.dagId) });
}

/** Reads the tasks of a run that are done according to this database. The key of the result is the task ID. */
export async function readDone(
  { client, schema }: Ledger,
  runId: string,
): Promise<ReadonlyMap<string, DoneTask>> {
  const { rows } = await send(
    client,
    `select task_id as "taskId", fingerprint, result, rows from ${schema.sql}.task
     where run_id operator(pg_catalog.=) $1 and state operator(pg_catalog.=) 'success'`,
    [runId],
  );
  return new Map(
    rows.map(({ taskId, ...task }: { taskId: string } & DoneTask) => [
      taskId,
      { ...task, rows: task.rows ?? undefined },
    ]),
  );
}
