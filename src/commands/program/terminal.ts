import { Chalk } from 'chalk';
import { randomBytes } from 'node:crypto';
import { pipeWriters } from './pipe-writer.js';
import { makeSafe } from '../../runtime/report/safe-text.js';
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

/**
 * Stands for the beginning of a colour's control sequence until the text is written. The mark differs in each process, so
 * no text from elsewhere can contain it. Undefined until a text has a colour.
 */
let colourMark: string | undefined;

function getColourMark(): string {
  return (colourMark ??= `\u{F0000}${randomBytes(6).toString('hex')}`);
}

/**
 * Creates the colours of a report. Without colour, each function returns its text unchanged. Only `Output.text` writes
 * coloured texts: it removes the control characters of the text and keeps the colours.
 */
export function createPaint(hasColour: boolean): Paint {
  const chalk = new Chalk({ level: hasColour ? 1 : 0 });
  const mark = (colour: (text: string) => string): ((text: string) => string) => {
    const [before = '', after = ''] = colour('|').replaceAll('\u001b[', getColourMark).split('|');
    return (text) => before + text + after;
  };
  return { good: mark(chalk.green), bad: mark(chalk.red), faint: mark(chalk.dim), strong: mark(chalk.bold) };
}

/** Writes text to a stream of this process. Never throws, so a full disk or a closed pipe does not end a run. */
export type Write = (text: string) => void;

/**
 * A stream of this process. Everything that etl writes goes through one of these functions. `PipeWriter` says what
 * happens if the reader of the stream is slow. After the first failure (EPIPE, ENOSPC), all later output is dropped.
 */
export interface Output {
  /**
   * Writes whole lines for a person. Masks secrets, and replaces everything that a terminal or a CI system would obey,
   * except the colours of `createPaint`.
   */
  readonly text: Write;
  /** Writes JSON that `formatJson` made, as it is. */
  readonly json: Write;
  /** Writes a control sequence for the terminal, as it is. */
  readonly control: Write;
  /** Writes lines that a CI system obeys, which `formatAnnotations` made, as they are. */
  readonly command: Write;
}

/** Returns a text as `Output.text` writes it. */
export function renderText(text: string): string {
  const shown = makeSafe(text);
  return colourMark === undefined ? shown : shown.replaceAll(colourMark, '\u001b[');
}

/** Creates the output for a file descriptor. Calls `onFailed` once, after the first failure. */
export function createOutput(descriptor: 1 | 2, onFailed: (error: Error) => void): Output {
  let hasFailed = false;
  const fail = (error: Error): void => {
    if (!hasFailed) onFailed(error);
    hasFailed = true;
  };
  const write: Write = (text) => {
    if (!hasFailed) pipeWriters[descriptor].write(Buffer.from(text), fail);
  };
  return {
    text: (text) => write(renderText(text)),
    json: write,
    control: write,
    command: write,
  };
}

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
