import { Chalk } from 'chalk';
import { writeSync } from 'node:fs';
import { type Paint, joinLines } from '../../runtime/report/words.js';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Whether to colour a stream: the flag, then NO_COLOR (https://no-color.org), FORCE_COLOR, TERM=dumb, and whether it
 * is a terminal. Chalk alone would ignore NO_COLOR (https://github.com/chalk/chalk/issues/547).
 */
export function isColoured(
  flag: boolean | undefined,
  environment: Environment,
  isTerminal: boolean,
): boolean {
  if (flag !== undefined) return flag;
  if (environment['NO_COLOR']) return false;
  const forced = environment['FORCE_COLOR'];
  if (forced !== undefined) return forced !== '0' && forced !== 'false';
  return environment['TERM'] !== 'dumb' && isTerminal;
}

/** Colours for reports, or none. */
export function paintOf(coloured: boolean): Paint {
  const chalk = new Chalk({ level: coloured ? 1 : 0 });
  return { good: chalk.green, bad: chalk.red, faint: chalk.dim, strong: chalk.bold };
}

/** A writer for a stream of this process that outlives the stream: a full disk or a closed pipe never ends a run. */
export type Write = (text: string) => void;

/** Secrets shorter than this would be masked out of ordinary words. */
const MASKED_FROM = 6;

/** Masks secrets in everything that is written: as they are, URL-encoded, and inside JSON. */
export class Mask {
  readonly #forms = new Set<string>();

  add(secrets: readonly string[]): void {
    for (const secret of secrets.filter(({ length }) => length >= MASKED_FROM)) {
      this.#forms.add(secret).add(encodeURIComponent(secret)).add(JSON.stringify(secret).slice(1, -1));
    }
  }

  apply(text: string): string {
    let masked = text;
    for (const form of this.#forms) masked = masked.replaceAll(form, '***');
    return masked;
  }
}

/**
 * Writes to a file descriptor at once, so that nothing is lost when the process ends. After the first failure (EPIPE,
 * ENOSPC) the rest is dropped: `onLost` is told, once.
 */
export function createWriter(descriptor: 1 | 2, mask: Mask, onLost: (error: Error) => void): Write {
  let isLost = false;
  return (text) => {
    if (isLost) return;
    try {
      writeAll(descriptor, Buffer.from(mask.apply(text)));
    } catch (error) {
      isLost = true;
      onLost(error as Error);
    }
  };
}

/** A pipe whose reader is slow refuses with EAGAIN for a while. */
function writeAll(descriptor: number, bytes: Buffer): void {
  let written = 0;
  while (written < bytes.length) {
    try {
      written += writeSync(descriptor, bytes, written);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(PAUSE, 0, 0, 1);
    }
  }
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4));

/** Rows in columns, each as wide as its widest cell; the last is not padded. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  const lines = rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return joinLines(lines);
}
