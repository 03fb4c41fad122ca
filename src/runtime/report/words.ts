import type { ErrorCause, ErrorFields, EtlError } from '../../errors.js';
import { listCauses } from './causes.js';
import type { TaskSummary } from './event.js';

/** Functions that colour a text, or return the text unchanged if colours are off. */
export interface Paint {
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly faint: (text: string) => string;
  readonly strong: (text: string) => string;
}

/** The paint of a text without colours. */
export const NO_PAINT: Paint = {
  good: (text) => text,
  bad: (text) => text,
  faint: (text) => text,
  strong: (text) => text,
};

/** Joins lines to one text. Each line ends with a line break. */
export function joinLines(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('');
}

/** Builds the JSON fields of an error. The field `row_data` is present only if row data is allowed (`showsRowData`). */
export function buildErrorFields(error: EtlError, showsRowData = false): ErrorFields {
  const { code, what, where, why, fix, data, rowData, check } = error;
  const causes = listCauses(error);
  const parts = { code, what, where, why, fix, data, ...(check && { check }) };
  const fields: ErrorFields = causes.length === 0 ? parts : { ...parts, causes };
  return showsRowData && rowData !== undefined ? { ...fields, row_data: rowData } : fields;
}

/** The line of an error whose row data is not allowed. */
const HIDDEN = 'values are hidden; run with --show-data to see them';

/**
 * Formats an error as lines: the code with the message, and then a line for each part that the error has, such as
 * `  why   the file is empty`. Further lines of a part are indented. Without `showsRowData`, a line says that the row data
 * of the error is hidden.
 */
export function formatErrorLines(error: EtlError, paint: Paint, showsRowData = false): string[] {
  const fields = buildErrorFields(error, showsRowData);
  return formatErrorFields(error.rowData === undefined ? fields : { row_data: HIDDEN, ...fields }, paint);
}

/** Formats the JSON fields of an error in the same way. */
export function formatErrorFields(error: ErrorFields, paint: Paint): string[] {
  const parts: [string, string | undefined][] = [
    ['where', error.where],
    ['why', error.why],
    ['cause', error.causes?.flatMap(formatCause).join('\n')],
    ['do', error.fix],
    ['data', error.data],
    ['rows', error.row_data],
  ];
  const [what = '', ...more] = error.what.split('\n');
  const lines = [`${paint.strong(error.code)} ${what}`, ...more.map((line) => `  ${line}`)];
  for (const [name, text] of parts) {
    if (text === undefined || text === '') continue;
    const [first = '', ...rest] = text.split('\n');
    lines.push(`  ${paint.faint(name.padEnd(5))} ${first}`, ...rest.map((line) => `        ${line}`));
  }
  return lines;
}

/** Formats a cause as a line, with its own causes indented below. Example: `Error: connect refused (ECONNREFUSED)`. */
function formatCause({ name, message, code, causes = [] }: ErrorCause): string[] {
  const text = [name, message].filter(Boolean).join(': ');
  const own = `${text}${code === undefined ? '' : ` (${code})`}`.split('\n');
  return [...own, ...causes.flatMap(formatCause).map((line) => `  ${line}`)];
}

/** Formats a number of rows, such as `1,204,331 rows`. Returns an empty text for undefined. */
export function formatRows(rows: number | undefined): string {
  if (rows === undefined) return '';
  return `${groupDigits(rows)} ${rows === 1 ? 'row' : 'rows'}`;
}

/** Formats a whole number with commas, such as `12,345,678`. Does not use Intl, because Intl takes 10 ms to load. */
export function groupDigits(count: number): string {
  // Matches each position inside the number that has a multiple of three digits after it.
  return String(count).replace(/\B(?=(?:\d{3})+$)/g, ',');
}

/** Formats a number of rejected rows, such as `3 rejected`. Returns an empty text for 0. */
export function formatRejected(rejected = 0): string {
  return rejected === 0 ? '' : `${groupDigits(rejected)} rejected`;
}

/** Counts tasks by how they ended, such as `2 ok, 1 failed, 1 skipped`. A count of 0 is left out. */
export function formatCounts(tasks: readonly TaskSummary[]): string {
  const count = (...states: readonly string[]): number =>
    tasks.filter(({ state }) => states.includes(state)).length;
  const counts: [number, string][] = [
    [count('success'), 'ok'],
    [count('failed'), 'failed'],
    [count('skipped', 'upstream_failed'), 'skipped'],
  ];
  return counts
    .filter(([number]) => number > 0)
    .map(([number, word]) => `${number} ${word}`)
    .join(', ');
}
