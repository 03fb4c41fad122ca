import type { DataInterval } from '../../runtime/interval/interval.js';
import type { Paint } from '../../runtime/report/words.js';
import { formatTable } from '../program/terminal.js';

/** Returns the JSON of an interval for another program. */
export function buildIntervalJson(
  interval: DataInterval | undefined,
): { start: Date; end: Date } | undefined {
  return interval && { start: interval.start, end: interval.end };
}

/**
 * Pads the cells of a column with spaces on the left, so that all cells are as wide as the widest cell. Example:
 * `['1', '10']` -> `[' 1', '10']`.
 */
export function alignRight(cells: readonly string[]): readonly string[] {
  const width = Math.max(0, ...cells.map(({ length }) => length));
  return cells.map((cell) => cell.padStart(width));
}

/** The mark and the colour of each state of a run or a task. All other states get a faint dot. */
const MARKS: Readonly<Record<string, readonly [mark: string, colour: keyof Paint]>> = {
  success: ['✔', 'good'],
  failed: ['✖', 'bad'],
  crashed: ['✖', 'bad'],
  running: ['▸', 'strong'],
  skipped: ['↷', 'faint'],
  upstream_failed: ['↷', 'faint'],
};

/**
 * Formats rows in columns, and returns one line a row. Each line begins with the mark of the row's state. Example:
 * ` ✔ load-orders  1,200 rows`. A row without a state is a heading and gets no mark.
 *
 * A column is left out if no row has a text in it, apart from the heading. Colours are added after the columns are
 * aligned, because escape codes would count as characters of a cell.
 */
export function formatMarkedTable(
  rows: readonly { readonly state: string | undefined; readonly cells: readonly string[] }[],
  paint: Paint,
): readonly string[] {
  const hasText = (_cell: string, column: number): boolean =>
    rows.some(({ state, cells }) => state !== undefined && cells[column]?.trim());
  const lines = formatTable(rows.map(({ cells }) => cells.filter(hasText))).split('\n');
  return rows.map(({ state }, index) => {
    const line = lines[index] ?? '';
    if (state === undefined) return `   ${paint.faint(line)}`;
    const [mark, colour] = MARKS[state] ?? ['·', 'faint'];
    return ` ${paint[colour](mark)} ${line}`;
  });
}
