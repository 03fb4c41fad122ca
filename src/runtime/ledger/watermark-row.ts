import { send, type ProtocolClient } from '../postgres/protocol.js';
import type { Ledger } from './ledger.js';
import { selectMilliseconds } from './milliseconds.js';
import { assertWritten } from './row-not-written.js';
import { buildFence } from './run-row.js';
import { createTakenOverError } from './taken-over.js';

/** Names the watermarks of one task. */
export interface WatermarkOwner {
  readonly dagId: string;
  readonly taskId: string;
}

/** Selects watermarks. An undefined field selects all Dags or all tasks. */
export interface WatermarkFilter {
  readonly dagId?: string | undefined;
  readonly taskId?: string | undefined;
}

/** A row of `etl.watermark`. */
export interface WatermarkRow extends WatermarkOwner {
  readonly name: string;
  /** SQL text with full precision. A JS `Date` would lose the microseconds. */
  readonly value: string;
  /**
   * The SQL type of the cursor of an incremental task. Undefined if the task's own code or the command line set the
   * value.
   */
  readonly type: string | undefined;
  /** The run that set the value. Undefined if the command line set the value. */
  readonly runId: string | undefined;
  readonly setAt: Date;
}

/** A row of `etl.watermark_history`: one change of a watermark. */
export interface WatermarkChange extends Omit<WatermarkRow, 'value'> {
  /** The new value. Undefined if the watermark was cleared. */
  readonly value: string | undefined;
  readonly setBy: 'task' | 'cli';
}

/** A value to record. */
export type GivenWatermark = Pick<WatermarkRow, 'name' | 'value' | 'type'>;

/**
 * Who sets a watermark: a task of a run, or a person on the command line. The process of the command line has taken the
 * epoch of the Dag as `holder`.
 */
export type WatermarkSetter =
  { readonly by: 'task'; readonly runId: string } | { readonly by: 'cli'; readonly holder: string };

/** A connection that can send statements, also the task connection of an attempt. */
type SendingLedger = Ledger<Pick<ProtocolClient, 'query'>>;

/**
 * Sets watermarks of a task, and records the changes, in the open transaction. The command tag of the statement is
 * SELECT, so the rows do not count as rows of the task. Throws ETL-4009 if a row was not written. Throws ETL-7503, and
 * changes nothing, if a newer process has taken the epoch of the process of the command line.
 */
export async function writeWatermarks(
  { client, schema }: SendingLedger,
  { dagId, taskId }: WatermarkOwner,
  given: readonly GivenWatermark[],
  setter: WatermarkSetter,
): Promise<void> {
  const [runId, fence] =
    setter.by === 'task' ? [setter.runId, 'fence as (select)'] : [null, buildFence(schema, '$1', '$6')];
  // The inserts are CTEs, which the server runs although the last `select` only counts their rows.
  const { rows } = await send(
    client,
    `with ${fence}, given as (
       select * from pg_catalog.json_to_recordset($3)
         as g (name pg_catalog.text, value pg_catalog.text, type pg_catalog.text)
       where exists (select from fence)
     ), current as (
       insert into ${schema.sql}.watermark (dag_id, task_id, name, value, type, run_id, set_at)
       select $1, $2, name, value, type, $4, pg_catalog.clock_timestamp() from given
       on conflict (dag_id, task_id, map_key, name) do update
         set value = excluded.value, type = excluded.type, run_id = excluded.run_id, set_at = excluded.set_at
       returning 1
     ), history as (
       insert into ${schema.sql}.watermark_history (dag_id, task_id, name, value, type, run_id, set_by)
       select $1, $2, name, value, type, $4, $5 from given returning 1
     )
     select (select pg_catalog.count(*) from given) as given, (select pg_catalog.count(*) from current) as current,
       (select pg_catalog.count(*) from history) as history`,
    [dagId, taskId, JSON.stringify(given), runId, setter.by, ...(setter.by === 'cli' ? [setter.holder] : [])],
  );
  const counts = rows[0] as { readonly given: number; readonly current: number; readonly history: number };
  if (counts.given === 0) throw createTakenOverError(dagId, { data: 'nothing was changed' });
  assertWritten(counts.current, given.length, { schema, table: 'watermark' });
  assertWritten(counts.history, given.length, { schema, table: 'watermark_history' });
}

/**
 * Removes one watermark of a task, or all if `name` is undefined, and records the change. Returns the removed names.
 * Changes nothing if a newer process has taken the epoch of `holder`, which is this process. Throws ETL-4009 if a row was
 * not written.
 */
export async function clearWatermarks(
  { client, schema }: Ledger,
  { dagId, taskId, holder }: WatermarkOwner & { readonly holder: string },
  name: string | undefined,
): Promise<readonly string[]> {
  const { rows } = await send(
    client,
    `with ${buildFence(schema, '$1', '$4')}, known as (
       select map_key, name from ${schema.sql}.watermark
       where dag_id operator(pg_catalog.=) $1 and task_id operator(pg_catalog.=) $2
         and ($3::pg_catalog.text is null or name operator(pg_catalog.=) $3) and exists (select from fence)
     ), gone as (
       delete from ${schema.sql}.watermark as w using known
       where w.dag_id operator(pg_catalog.=) $1 and w.task_id operator(pg_catalog.=) $2
         and w.map_key operator(pg_catalog.=) known.map_key and w.name operator(pg_catalog.=) known.name
       returning w.map_key, w.name, w.type
     ), history as (
       insert into ${schema.sql}.watermark_history (dag_id, task_id, map_key, name, value, type, set_by)
       select $1, $2, map_key, name, null, type, 'cli' from gone order by name returning name
     )
     select pg_catalog.to_json(array(select name from history)) as names, (select pg_catalog.count(*) from gone) as gone,
       (select pg_catalog.count(*) from known) as known, (select pg_catalog.count(*) from history) as history`,
    [dagId, taskId, name ?? null, holder],
  );
  const { names, ...counts } = rows[0] as Record<'gone' | 'known' | 'history', number> & { names: string[] };
  assertWritten(counts.gone, counts.known, { schema, table: 'watermark' });
  assertWritten(counts.history, counts.known, { schema, table: 'watermark_history' });
  return names;
}

/** Reads the watermarks that the filter selects, in the order of Dag, task and name. */
export async function readWatermarks(
  { client, schema }: SendingLedger,
  { dagId, taskId }: WatermarkFilter,
): Promise<readonly WatermarkRow[]> {
  const { rows } = await send(
    client,
    `select ${COLUMNS} from ${schema.sql}.watermark
     where ($1::pg_catalog.text is null or dag_id operator(pg_catalog.=) $1)
       and ($2::pg_catalog.text is null or task_id operator(pg_catalog.=) $2)
     order by dag_id, task_id, name`,
    [dagId ?? null, taskId ?? null],
  );
  return rows.map((row) => Object.assign(row, toFields(row)));
}

/** Reads the changes of a task's watermarks, the newest first. */
export async function readWatermarkHistory(
  { client, schema }: Ledger,
  { dagId, taskId }: WatermarkOwner,
): Promise<readonly WatermarkChange[]> {
  const { rows } = await send(
    client,
    `select ${COLUMNS}, set_by as "setBy" from ${schema.sql}.watermark_history
     where dag_id operator(pg_catalog.=) $1 and task_id operator(pg_catalog.=) $2 order by id desc`,
    [dagId, taskId],
  );
  return rows.map((row) => Object.assign(row, toFields(row), { value: row.value ?? undefined }));
}

/** The columns that `etl.watermark` and `etl.watermark_history` have in common, by their names in `WatermarkRow`. */
const COLUMNS = `dag_id as "dagId", task_id as "taskId", name, value, type, run_id as "runId",
  ${selectMilliseconds('set_at')} as "setAt"`;

/** Returns `type` and `runId` with undefined instead of null, and `setAt` as a `Date` instead of milliseconds. */
function toFields(row: {
  readonly type: string | null;
  readonly runId: string | null;
  readonly setAt: number;
}) {
  return { type: row.type ?? undefined, runId: row.runId ?? undefined, setAt: new Date(row.setAt) };
}
