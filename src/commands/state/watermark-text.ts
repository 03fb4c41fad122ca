import { localTime, markedTable } from '../history/history-text.js';
import { harmless, type Paint, joinLines } from '../../runtime/report/words.js';
import type { WatermarkChange, WatermarkRow } from '../../runtime/ledger/watermark-row.js';
import type { InLedger } from './watermarks.js';

/** Watermarks for a person, one a line. */
export function stateText(rows: readonly InLedger<WatermarkRow>[], paint: Paint): string {
  const head = ['DAG', 'TASK', 'NAME', 'VALUE', 'SET', 'BY', 'CONNECTION'];
  const lines = rows.map((row) => [
    row.dagId,
    row.taskId,
    row.name,
    row.value,
    localTime(row.setAt),
    row.runId ?? 'cli',
    row.connectionId,
  ]);
  return tableText(head, lines, paint);
}

/** Changes of watermarks for a person, one a line. */
export function stateHistoryText(changes: readonly InLedger<WatermarkChange>[], paint: Paint): string {
  const lines = changes.map((each) => [
    localTime(each.setAt),
    each.name,
    each.value ?? 'cleared',
    each.runId ?? each.setBy,
    each.connectionId,
  ]);
  return tableText(['SET', 'NAME', 'VALUE', 'BY', 'CONNECTION'], lines, paint);
}

/** A watermark for another program. */
export function stateJson(row: InLedger<WatermarkRow>): unknown {
  return { ...keysOf(row), value: row.value };
}

/** A change of one, for another program. */
export function stateChangeJson(change: InLedger<WatermarkChange>): unknown {
  return { ...keysOf(change), value: change.value ?? null, set_by: change.setBy };
}

function keysOf(row: InLedger<Omit<WatermarkRow, 'value'>>): object {
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

function tableText(head: readonly string[], lines: readonly (readonly string[])[], paint: Paint): string {
  const rows = lines.map((cells) => ({ state: 'set', cells: cells.map(harmless) }));
  return joinLines(markedTable([{ state: undefined, cells: head }, ...rows], paint));
}
