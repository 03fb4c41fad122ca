import type { DataInterval } from '../../runtime/interval/interval.js';
import type { Paint } from '../../runtime/report/words.js';
import { formatTable } from '../program/terminal.js';

/** `2026-11-23 05:46:45`, in the time zone of this process. */
export function formatLocalTime(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')}`;
}

/** `[2026-03-01 02:00, 2026-04-01 02:00)` in the time zone of this process; undefined without a schedule. */
export function formatInterval(interval: DataInterval | undefined): string | undefined {
  if (interval === undefined) return undefined;
  const [start, end] = [interval.start, interval.end].map((date) =>
    formatLocalTime(date).replace(/:00$/, ''),
  );
  return `[${start}, ${end})`;
}

/** An interval for another program. */
export function buildIntervalJson(
  interval: DataInterval | undefined,
): { start: Date; end: Date } | undefined {
  return interval && { start: interval.start, end: interval.end };
}

/** The cells of a column of numbers, each as wide as the widest. */
export function alignRight(cells: readonly string[]): readonly string[] {
  const width = Math.max(0, ...cells.map(({ length }) => length));
  return cells.map((cell) => cell.padStart(width));
}

const MARKS: Readonly<Record<string, readonly [mark: string, colour: keyof Paint]>> = {
  success: ['✔', 'good'],
  failed: ['✖', 'bad'],
  crashed: ['✖', 'bad'],
  running: ['▸', 'strong'],
  skipped: ['↷', 'faint'],
  upstream_failed: ['↷', 'faint'],
};

/**
 * Lines in columns, each behind the sign of its state; a column in which nothing is said is left out. Colours come
 * last, because columns are counted in characters. A line without a state is a heading.
 */
export function formatMarkedTable(
  rows: readonly { readonly state: string | undefined; readonly cells: readonly string[] }[],
  paint: Paint,
): readonly string[] {
  const isSaid = (_cell: string, column: number): boolean =>
    rows.some(({ state, cells }) => state !== undefined && cells[column]?.trim());
  const lines = formatTable(rows.map(({ cells }) => cells.filter(isSaid))).split('\n');
  return rows.map(({ state }, index) => {
    const line = lines[index] ?? '';
    if (state === undefined) return `   ${paint.faint(line)}`;
    const [mark, colour] = MARKS[state] ?? ['·', 'faint'];
    return ` ${paint[colour](mark)} ${line}`;
  });
}
