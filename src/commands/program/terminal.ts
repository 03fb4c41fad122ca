import { Chalk } from 'chalk';
import { writeSync } from 'node:fs';
import { type Paint, joinLines } from '../../runtime/report/words.js';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Returns whether to colour a stream. The first of these decides: the flag, NO_COLOR (https://no-color.org),
 * FORCE_COLOR, TERM=dumb, and whether the stream is a terminal. Chalk alone ignores NO_COLOR
 * (https://github.com/chalk/chalk/issues/547).
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

/** Creates the colours of a report. Without colour, each function returns its text unchanged. */
export function createPaint(hasColour: boolean): Paint {
  const chalk = new Chalk({ level: hasColour ? 1 : 0 });
  return { good: chalk.green, bad: chalk.red, faint: chalk.dim, strong: chalk.bold };
}

/** Writes text to a stream of this process. Never throws, so a full disk or a closed pipe does not end a run. */
export type Write = (text: string) => void;

/** The minimum length of a secret that is masked. A shorter secret may be a part of an ordinary word. */
const MIN_SECRET_LENGTH = 6;

/** Masks secrets in the output: the secret itself, the URL-encoded secret, and the secret inside a JSON string. */
export class Mask {
  readonly #forms = new Set<string>();

  /** Adds secrets to mask. Ignores secrets shorter than `MIN_SECRET_LENGTH`. */
  add(secrets: readonly string[]): void {
    for (const secret of secrets.filter(({ length }) => length >= MIN_SECRET_LENGTH)) {
      this.#forms.add(secret).add(encodeURIComponent(secret)).add(JSON.stringify(secret).slice(1, -1));
    }
  }

  /** Returns the text with `***` for each secret. */
  apply(text: string): string {
    let masked = text;
    for (const form of this.#forms) masked = masked.replaceAll(form, '***');
    return masked;
  }
}

/**
 * Creates a writer for a file descriptor. The writer masks secrets and writes synchronously, so the process loses no
 * output when it ends. After the first failure (EPIPE, ENOSPC), the writer calls `onFailed` once and drops all later
 * output.
 */
export function createWriter(descriptor: 1 | 2, mask: Mask, onFailed: (error: Error) => void): Write {
  let hasFailed = false;
  return (text) => {
    if (hasFailed) return;
    try {
      writeAll(descriptor, Buffer.from(mask.apply(text)));
    } catch (error) {
      hasFailed = true;
      onFailed(error as Error);
    }
  };
}

/**
 * Writes all bytes to a file descriptor, and returns when they are written. If the reader of a pipe is slow, a write
 * fails with EAGAIN; it is then repeated after 1 ms. Throws any other error.
 */
function writeAll(descriptor: number, bytes: Buffer): void {
  let written = 0;
  while (written < bytes.length) {
    try {
      written += writeSync(descriptor, bytes, written);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      // Pauses this thread for 1 ms. The write is synchronous, so it can't await a timer.
      Atomics.wait(UNCHANGED_MEMORY, 0, 0, 1);
    }
  }
}

/** The memory that `Atomics.wait` waits on. Nobody changes it, so each wait lasts until its timeout. */
const UNCHANGED_MEMORY = new Int32Array(new SharedArrayBuffer(4));

/**
 * Formats rows in columns, one line a row. Each column is as wide as its widest cell, and two spaces separate columns.
 * Lines have no spaces at the end.
 */
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
