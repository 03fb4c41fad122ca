import { send, type ProtocolClient } from '../postgres/protocol.js';
import { selectMilliseconds } from './milliseconds.js';

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

/** Who sets a watermark: a task of a run, or a person on the command line. */
export type WatermarkSetter = { readonly by: 'task'; readonly runId: string } | { readonly by: 'cli' };

/**
 * Sets watermarks of a task, and records the changes, in the open transaction. The command tag of the statement is
 * SELECT, so the rows do not count as rows of the task.
 */
export async function writeWatermarks(
  client: Pick<ProtocolClient, 'query'>,
  { dagId, taskId }: WatermarkOwner,
  given: readonly GivenWatermark[],
  setter: WatermarkSetter,
): Promise<void> {
  const runId = setter.by === 'task' ? setter.runId : null;
  // The inserts are CTEs, which the server runs although the last `select` uses neither of them.
  await send(
    client,
    `with given as (select * from json_to_recordset($3) as g (name text, value text, type text)),
     current as (
       insert into etl.watermark (dag_id, task_id, name, value, type, run_id, set_at)
       select $1, $2, name, value, type, $4, clock_timestamp() from given
       on conflict (dag_id, task_id, map_key, name) do update
         set value = excluded.value, type = excluded.type, run_id = excluded.run_id, set_at = excluded.set_at
     ), history as (
       insert into etl.watermark_history (dag_id, task_id, name, value, type, run_id, set_by)
       select $1, $2, name, value, type, $4, $5 from given
     )
     select`,
    [dagId, taskId, JSON.stringify(given), runId, setter.by],
  );
}

/**
 * Removes one watermark of a task, or all if `name` is undefined, and records the change. Returns the removed names.
 */
export async function clearWatermarks(
  client: ProtocolClient,
  { dagId, taskId }: WatermarkOwner,
  name: string | undefined,
): Promise<readonly string[]> {
  const { rows } = await send(
    client,
    `with gone as (
       delete from etl.watermark where dag_id = $1 and task_id = $2 and ($3::text is null or name = $3)
       returning dag_id, task_id, map_key, name, type
     )
     insert into etl.watermark_history (dag_id, task_id, map_key, name, value, type, set_by)
     select dag_id, task_id, map_key, name, null, type, 'cli' from gone order by name returning name`,
    [dagId, taskId, name ?? null],
  );
  return rows.map((row: { name: string }) => row.name);
}

/** Reads the watermarks that the filter selects, in the order of Dag, task and name. */
export async function readWatermarks(
  client: Pick<ProtocolClient, 'query'>,
  { dagId, taskId }: WatermarkFilter,
): Promise<readonly WatermarkRow[]> {
  const { rows } = await send(
    client,
    `select ${COLUMNS} from etl.watermark
     where ($1::text is null or dag_id = $1) and ($2::text is null or task_id = $2)
     order by dag_id, task_id, name`,
    [dagId ?? null, taskId ?? null],
  );
  return rows.map((row) => Object.assign(row, toFields(row)));
}

/** Reads the changes of a task's watermarks, the newest first. */
export async function readWatermarkHistory(
  client: ProtocolClient,
  { dagId, taskId }: WatermarkOwner,
): Promise<readonly WatermarkChange[]> {
  const { rows } = await send(
    client,
    `select ${COLUMNS}, set_by as "setBy" from etl.watermark_history
     where dag_id = $1 and task_id = $2 order by id desc`,
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
