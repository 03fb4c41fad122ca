import type { EtlError } from '../../errors.js';
import type { TaskSummary } from './event.js';

/** Colours a text, or leaves it as it is. */
export interface Paint {
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly faint: (text: string) => string;
  readonly strong: (text: string) => string;
}

/** Lines as one text, each with its line break. */
export function joinLines(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('');
}

/**
 * Makes text of others (data in an error, a log line) harmless in a terminal and in a log: control characters and
 * those that change the direction of the text are shown, not obeyed. Line breaks stay.
 */
export function neutralizeText(text: string): string {
  return text.replace(/[\p{Cc}\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/gu, (character) => {
    if (character === '\n' || character === '\t') return character;
    return `\\x${(character.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`;
  });
}

/** An error for another program. */
export function buildErrorFields({ code, message: what, where, why, fix, data }: EtlError) {
  return { code, what, where, why, fix, data };
}

/** An error in its parts, one a line, the lines of one part under each other. */
export function formatErrorLines(error: EtlError, paint: Paint): string[] {
  const parts: [string, string | undefined][] = [
    ['where', error.where],
    ['why', error.why],
    ['do', error.fix],
    ['data', error.data],
  ];
  const lines = [`${paint.strong(error.code)} ${neutralizeText(error.message)}`];
  for (const [name, text] of parts) {
    if (text === undefined || text === '') continue;
    const [first = '', ...rest] = neutralizeText(text).split('\n');
    lines.push(`  ${paint.faint(name.padEnd(5))} ${first}`, ...rest.map((line) => `        ${line}`));
  }
  return lines;
}

/** `1,204,331 rows`, or nothing. */
export function formatRows(rows: number | undefined): string {
  if (rows === undefined) return '';
  return `${groupDigits(rows)} ${rows === 1 ? 'row' : 'rows'}`;
}

/** `12,345,678`. Intl would do it as well, and take 10 ms to load. */
export function groupDigits(count: number): string {
  return String(count).replace(/\B(?=(?:\d{3})+$)/g, ',');
}

/** `3 rejected`, or nothing where no row was put aside. */
export function formatRejected(rejected = 0): string {
  return rejected === 0 ? '' : `${rejected.toLocaleString('en-US')} rejected`;
}

/** `2 ok, 1 failed, 1 skipped`: what is not there is left out. */
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
