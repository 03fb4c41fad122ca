import { DEFAULT_ZONE, formatTime } from '../../runtime/interval/zone-time.js';
import { formatMarkedTable } from '../history/history-text.js';
import { type Paint, joinLines } from '../../runtime/report/words.js';
import type { WatermarkChange, WatermarkRow } from '../../runtime/ledger/watermark-row.js';
import type { InLedger } from '../program/ledgers.js';

/** Formats watermarks for a person: one line a watermark. */
export function formatWatermarks(rows: readonly InLedger<WatermarkRow>[], paint: Paint): string {
  const head = ['DAG', 'TASK', 'NAME', 'VALUE', `SET (${DEFAULT_ZONE})`, 'BY', 'CONNECTION'];
  const lines = rows.map((row) => [
    row.dagId,
    row.taskId,
    row.name,
    row.value,
    formatTime(row.setAt, DEFAULT_ZONE),
    row.runId ?? 'cli',
    row.connectionId,
  ]);
  return formatRowTable(head, lines, paint);
}

/** Formats changes of watermarks for a person: one line a change. */
export function formatWatermarkHistory(changes: readonly InLedger<WatermarkChange>[], paint: Paint): string {
  const lines = changes.map((each) => [
    formatTime(each.setAt, DEFAULT_ZONE),
    each.name,
    each.value ?? 'cleared',
    each.runId ?? each.setBy,
    each.connectionId,
  ]);
  return formatRowTable([`SET (${DEFAULT_ZONE})`, 'NAME', 'VALUE', 'BY', 'CONNECTION'], lines, paint);
}

/** Returns the JSON of a watermark for another program. */
export function buildWatermarkJson(row: InLedger<WatermarkRow>): unknown {
  return { ...buildCommonFields(row), value: row.value };
}

/** Returns the JSON of a change of a watermark; `value` is null if the watermark was removed. */
export function buildWatermarkChangeJson(change: InLedger<WatermarkChange>): unknown {
  return { ...buildCommonFields(change), value: change.value ?? null, set_by: change.setBy };
}

/** Returns the JSON fields that a watermark and an entry of its history have in common. */
function buildCommonFields(row: InLedger<Omit<WatermarkRow, 'value'>>): object {
  return {
    dag: row.dagId,
    task: row.taskId,
    name: row.name,
    type: row.type,
    run_id: row.runId,
    set_at: row.setAt,
    connection: row.connectionId,
  };
}

/** Formats a heading and one line a row. Control characters in a cell are replaced by their codes. */
function formatRowTable(
  head: readonly string[],
  lines: readonly (readonly string[])[],
  paint: Paint,
): string {
  const rows = lines.map((cells) => ({ state: 'set', cells }));
  return joinLines(formatMarkedTable([{ state: undefined, cells: head }, ...rows], paint));
}
