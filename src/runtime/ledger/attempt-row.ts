import type { ErrorFields } from '../../errors.js';
import { send } from '../postgres/protocol.js';
import type { Ledger } from './ledger.js';
import { selectMilliseconds } from './milliseconds.js';
import { assertWritten } from './row-not-written.js';
import { createToStorable, listTexts, mapTexts } from './storable-text.js';

/** A row of `etl.attempt`: an attempt that did not succeed, or a task that was not started. */
export interface AttemptRow {
  readonly taskId: string;
  /** The number of the attempt, from 1. 0 for a task that was not started. */
  readonly attempt: number;
  readonly state: 'up_for_retry' | 'failed' | 'skipped' | 'upstream_failed';
  /** The code of the error, such as `ETL-3001`. Undefined if there was no error. */
  readonly code: string | undefined;
  readonly sqlstate: string | undefined;
  readonly message: string;
  /** The error with its parts and causes, as JSON. Contains no values of rows. Undefined if there was no error. */
  readonly error?: ErrorFields | null | undefined;
  /** Values of rows that explain the error. Undefined if there are none or if the ledger may not contain them. */
  readonly rowData?: string | null | undefined;
  readonly startedAt: Date;
  readonly finishedAt: Date | undefined;
}

/**
 * Records attempts that did not succeed, in the order of `attempts`, with one statement. An attempt without
 * `finishedAt` is recorded as finished now. The texts come from anywhere, so they are made storable.
 */
export async function insertAttempts(
  { client, schema }: Ledger,
  runId: string,
  attempts: readonly AttemptRow[],
): Promise<void> {
  const rows = attempts.map((each) => ({
    task_id: each.taskId,
    attempt: each.attempt,
    state: each.state,
    code: each.code,
    sqlstate: each.sqlstate,
    message: each.message,
    error: each.error,
    row_data: each.rowData,
    started_at: each.startedAt,
    finished_at: each.finishedAt ?? new Date(),
  }));
  const { rowCount } = await send(
    client,
    `insert into ${schema.sql}.attempt (run_id, task_id, attempt, state, code, sqlstate, message, error, row_data,
       started_at, finished_at)
     select $1, a.* from pg_catalog.json_to_recordset($2) as a (task_id pg_catalog.text, attempt int,
       state pg_catalog.text, code pg_catalog.text, sqlstate pg_catalog.text, message pg_catalog.text,
       error pg_catalog.jsonb, row_data pg_catalog.text, started_at timestamp with time zone,
       finished_at timestamp with time zone)`,
    [runId, JSON.stringify(mapTexts(rows, await createToStorable(client, listTexts(rows))))],
  );
  assertWritten(rowCount, attempts.length, { schema, table: 'attempt' });
}

/** Reads the unsuccessful attempts of a run, in the order in which they were recorded. The ledger records no others. */
export async function readAttempts(
  { client, schema }: Ledger,
  runId: string,
): Promise<readonly AttemptRow[]> {
  const { rows } = await send(
    client,
    `select task_id as "taskId", attempt, state, code, sqlstate, message, error, row_data as "rowData",
            ${selectMilliseconds('started_at')} as "startedAt", ${selectMilliseconds('finished_at')} as "finishedAt"
     from ${schema.sql}.attempt where run_id operator(pg_catalog.=) $1 order by id`,
    [runId],
  );
  return rows.map((row) =>
    Object.assign(row, { startedAt: new Date(row.startedAt), finishedAt: new Date(row.finishedAt) }),
  ) as AttemptRow[];
}
