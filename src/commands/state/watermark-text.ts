import { formatLocalTime, formatMarkedTable } from '../history/history-text.js';
import { neutralizeText, type Paint, joinLines } from '../../runtime/report/words.js';
import type { WatermarkChange, WatermarkRow } from '../../runtime/ledger/watermark-row.js';
import type { InLedger } from './watermarks.js';

/** Watermarks for a person, one a line. */
export function formatState(rows: readonly InLedger<WatermarkRow>[], paint: Paint): string {
  const head = ['DAG', 'TASK', 'NAME', 'VALUE', 'SET', 'BY', 'CONNECTION'];
  const lines = rows.map((row) => [
    row.dagId,
    row.taskId,
    row.name,
    row.value,
    formatLocalTime(row.setAt),
    row.runId ?? 'cli',
    row.connectionId,
  ]);
  return formatTable(head, lines, paint);
}

/** Changes of watermarks for a person, one a line. */
export function formatStateHistory(changes: readonly InLedger<WatermarkChange>[], paint: Paint): string {
  const lines = changes.map((each) => [
    formatLocalTime(each.setAt),
    each.name,
    each.value ?? 'cleared',
    each.runId ?? each.setBy,
    each.connectionId,
  ]);
  return formatTable(['SET', 'NAME', 'VALUE', 'BY', 'CONNECTION'], lines, paint);
}

/** A watermark for another program. */
export function buildStateJson(row: InLedger<WatermarkRow>): unknown {
  return { ...getKeys(row), value: row.value };
}

/** A change of one, for another program. */
export function buildStateChangeJson(change: InLedger<WatermarkChange>): unknown {
  return { ...getKeys(change), value: change.value ?? null, set_by: change.setBy };
}

function getKeys(row: InLedger<Omit<WatermarkRow, 'value'>>): object {
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

function formatTable(head: readonly string[], lines: readonly (readonly string[])[], paint: Paint): string {
  const rows = lines.map((cells) => ({ state: 'set', cells: cells.map(neutralizeText) }));
  return joinLines(formatMarkedTable([{ state: undefined, cells: head }, ...rows], paint));
}
