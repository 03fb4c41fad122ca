import type { Trace, TracedStatement } from '../../hooks/statement-trace.js';
import { formatPosition } from '../../runtime/modules/location.js';
import { readFrame } from '../../runtime/modules/stack.js';
import { findCall } from '../../runtime/postgres/failed-statement.js';
import type { RunEvent } from '../../runtime/report/event.js';
import { describeCause, readChildren } from '../../runtime/report/causes.js';
import { joinLines } from '../../runtime/report/words.js';
import { cutText } from '../../runtime/secrets/secrets.js';
import { hideLiterals } from '../../runtime/sql/hide-literals.js';
import { taskScope } from '../../runtime/tasks/task-scope.js';

/** Options of `DebugLog`. */
export interface DebugOptions {
  /** Takes whole lines. Masks secrets, and makes the lines harmless for a terminal and for CI systems. */
  readonly write: (text: string) => void;
  /** Returns true if the lines may show values of rows. */
  readonly showsRowData: () => boolean;
  /** The directory that the paths of the user's files are relative to. */
  readonly directory: string;
}

/** The maximum length of a statement, in UTF-16 units. */
const STATEMENT_LIMIT = 10_000;
/** The maximum number of values, and the maximum length of one. */
const MOST_VALUES = 50;
const VALUE_LIMIT = 200;
/** The maximum number of errors of one chain of causes. */
const MOST_ERRORS = 20;

/** Writes what `--debug` shows: each session, each statement, and the stack of each error. Each entry begins with `debug`. */
export class DebugLog {
  readonly #options: DebugOptions;
  /** The errors whose stacks were written already. */
  readonly #written = new WeakSet<object>();

  constructor(options: DebugOptions) {
    this.#options = options;
  }

  /** Creates the trace of one connection. */
  createTrace(connectionId: string): Trace {
    return {
      opened: ({ pid, millis }) =>
        this.#write([
          `debug ${connectionId} pid ${pid ?? '?'}: session opened${millis === undefined ? '' : `  ${formatMillis(millis)}`}`,
        ]),
      statement: (statement) => this.#write(this.#formatStatement(connectionId, statement)),
      findTaskId: () => taskScope.getStore()?.taskId,
    };
  }

  /** Writes the stacks of the errors of an event. */
  addEvent(event: RunEvent): void {
    if (event.type === 'task_retrying' || event.type === 'task_finished')
      this.addError(event.error, `"${event.taskId}"`);
    if (event.type === 'run_finished') for (const error of event.errors) this.addError(error, 'the run');
  }

  /** Writes the stacks of an error and of all of its causes, once. `subject` says whose error it is. */
  addError(error: unknown, subject: string): void {
    if (error === undefined || this.#isWritten(error)) return;
    const lines = [`debug stack of the error of ${subject}`];
    const open: { readonly error: unknown; readonly depth: number }[] = [{ error, depth: 0 }];
    const seen = new Set<unknown>();
    while (open.length > 0 && seen.size < MOST_ERRORS) {
      const next = open.shift();
      if (next === undefined || seen.has(next.error)) continue;
      seen.add(next.error);
      const indent = '  '.repeat(next.depth + 1);
      lines.push(...this.#formatError(next.error, next.depth > 0).map((line) => indent + line));
      open.unshift(...readChildren(next.error).map((cause) => ({ error: cause, depth: next.depth + 1 })));
    }
    this.#write(lines);
  }

  #isWritten(error: unknown): boolean {
    if (typeof error !== 'object' || error === null) return false;
    if (this.#written.has(error)) return true;
    this.#written.add(error);
    return false;
  }

  #write(lines: readonly string[]): void {
    this.#options.write(joinLines(lines));
  }

  /**
   * Formats `debug shop pid 71 "load": 1.2 ms  INSERT 0 5`, and below it the statement and its values. Without row data, the
   * constants in the statement and the values are hidden.
   */
  #formatStatement(connectionId: string, statement: TracedStatement): readonly string[] {
    const { pid, taskId, sql, values, millis, tags, failure } = statement;
    const shows = this.#options.showsRowData();
    const who = taskId === undefined ? '' : ` "${taskId}"`;
    const answers = [...tags, ...(failure === undefined ? [] : [describeFailure(failure)])];
    const answer = answers.length === 0 ? 'no answer' : answers.join('; ');
    const text = cutText(shows ? sql : hideLiterals(sql), STATEMENT_LIMIT).trim();
    return [
      `debug ${connectionId} pid ${pid ?? '?'}${who}: ${formatMillis(millis)}  ${answer}`,
      ...(text === '' ? ['(an empty statement)'] : text.split('\n')).map((line) => `    ${line}`),
      ...formatValues(values, shows).map((line) => `    ${line}`),
    ];
  }

  /** Formats an error: its name and message, and its stack. Values of rows in its message are hidden. */
  #formatError(error: unknown, isCause: boolean): string[] {
    const { name, message, code } = describeCause(error);
    const prefix = isCause ? 'cause: ' : '';
    const head = [name, message].filter(Boolean).join(': ');
    const [first = '', ...more] = `${head}${code === undefined ? '' : ` (${code})`}`.split('\n');
    return [
      prefix + first,
      ...more,
      ...this.#formatStack(readStack(error)),
      ...(typeof error === 'object' && error !== null
        ? addTitle('  the query was awaited', this.#formatStack(findCall(error)))
        : []),
    ];
  }

  /** Formats the frames of a stack. A frame in a file of the user has the position in the file as the user wrote it. */
  #formatStack(stack: string | undefined): string[] {
    return listFrameLines(stack).map((line) => {
      const frame = readFrame(line);
      if (frame === undefined) return `  ${line}`;
      const name = /^at (?:async )?(?:(.*?) \()?/.exec(line)?.[1];
      const position = formatPosition(frame.file, frame, this.#options.directory);
      return `  at ${line.startsWith('at async ') ? 'async ' : ''}${name === undefined ? position : `${name} (${position})`}`;
    });
  }
}

/** Returns the lines of a stack after its message, without blanks at the start. */
function listFrameLines(stack: string | undefined): string[] {
  const lines = (stack ?? '').split('\n');
  // A message can contain such lines, too, and the frames are the lines after it.
  const last = lines.findLastIndex((line) => !/^\s+at \S/.test(line));
  return lines
    .slice(last + 1)
    .map((line) => line.trim())
    .filter((line) => /\(.*\)$|:\d+:\d+$/.test(line));
}

/** Reads the stack of anything that was thrown. A getter of the user may throw. */
function readStack(error: unknown): string | undefined {
  try {
    const { stack } = Object(error) as { stack?: unknown };
    return typeof stack === 'string' ? stack : undefined;
  } catch {
    // The error has no stack that can be shown.
    return undefined;
  }
}

function addTitle(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [title, ...lines.map((line) => `  ${line}`)];
}

function describeFailure(failure: string): string {
  if (failure === 'lost') return 'no answer: the connection has ended';
  return failure === 'skipped' ? 'skipped after the error before' : `failed with SQLSTATE ${failure}`;
}

/** Formats the bound values, one a line: `$1 = 'EU'`. Without row data, only their number. */
function formatValues(values: TracedStatement['values'], shows: boolean): readonly string[] {
  if (values.length === 0) return [];
  if (!shows)
    return [`${values.length} ${values.length === 1 ? 'value' : 'values'} hidden: --show-data shows them`];
  const lines = values.slice(0, MOST_VALUES).map((value, index) => `$${index + 1} = ${formatValue(value)}`);
  return values.length > MOST_VALUES ? [...lines, `… ${values.length - MOST_VALUES} more`] : lines;
}

function formatValue(value: string | Buffer | null): string {
  if (value === null) return 'null';
  const text = typeof value === 'string' ? value : `\\x${value.toString('hex')}`;
  return `'${cutText(text, VALUE_LIMIT).replaceAll('\n', '\\n')}'`;
}

function formatMillis(millis: number): string {
  return `${millis.toFixed(1)} ms`;
}
