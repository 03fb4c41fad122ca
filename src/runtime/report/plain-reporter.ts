import type { EtlError } from '../../errors.js';
import { formatDuration } from '../duration.js';
import { formatInterval } from '../interval/zone-time.js';
import { formatResumeCommand } from './command-line.js';
import type { Reporter, RunEvent, RunFinished, TaskSummary } from './event.js';
import { Movements } from './movement.js';
import {
  formatCounts,
  formatErrorLines,
  formatRejected,
  formatRows,
  type Paint,
  joinLines,
} from './words.js';

/** Options of `createPlainReporter`. */
export interface PlainOptions {
  /** Gets one or more whole lines, each with its line break. */
  readonly write: (text: string) => void;
  readonly paint: Paint;
  /** True: prints nothing if the run succeeds, and the whole report if the run fails. */
  readonly quiet: boolean;
  /** True if errors may show values of rows. */
  readonly showsRowData: boolean;
}

/** The time between two progress lines of a task. Events come ten times a second, which is too often for a log. */
const PROGRESS_MS = 10_000;

/**
 * Creates the reporter for logs, mails of cron and persons. Writes lines for each event that a person should see, and
 * at most every ten seconds a line for a task with progress. With `quiet`, keeps the lines until the run ends, and
 * writes them only if the run failed.
 */
export function createPlainReporter({ write, paint, quiet, showsRowData }: PlainOptions): Reporter {
  const buffered: string[] = [];
  const progress = new ProgressLines(paint);
  const shown = new ShownErrors(showsRowData);
  let isRecorded = false;
  return {
    report(event) {
      if (event.type === 'run_started') isRecorded = event.home !== undefined;
      const text = joinLines([
        ...progress.formatEventLines(event),
        ...(shown.formatRepeatedLines(event, paint) ?? formatEventLines(event, paint, showsRowData)),
        ...formatResumeHint(event, isRecorded),
      ]);
      if (!quiet) return write(text);
      buffered.push(text);
      if (event.type === 'run_finished' && event.state !== 'success') write(buffered.join(''));
    },
  };
}

/**
 * Formats progress lines: for each task at most one every ten seconds, the first ten seconds after the task started.
 */
class ProgressLines {
  readonly #paint: Paint;
  readonly #movements = new Movements();
  /** The time of the last line of each task, or of the task's start, in milliseconds since 1970. */
  readonly #printedAt = new Map<string, number>();

  constructor(paint: Paint) {
    this.#paint = paint;
  }

  /** Returns one line if the event says the progress of a task and a line of the task is due, else no line. */
  formatEventLines(event: RunEvent): readonly string[] {
    this.#movements.addEvent(event);
    const at = event.at.getTime();
    if (event.type === 'task_started') this.#printedAt.set(event.taskId, at);
    if (event.type !== 'task_progress' || at - (this.#printedAt.get(event.taskId) ?? at) < PROGRESS_MS)
      return [];
    this.#printedAt.set(event.taskId, at);
    return [` ${this.#paint.faint(`· ${this.#movements.formatTask(event.taskId)}`)}`];
  }
}

/**
 * Formats the command that resumes a failed run. Returns no line if the run succeeded or the ledger has no record of
 * the run.
 */
function formatResumeHint(event: RunEvent, isRecorded: boolean): readonly string[] {
  if (event.type !== 'run_finished' || event.state === 'success' || !isRecorded) return [];
  // A run that a signal has stopped needs no correction.
  const isStopped = event.tasks.every(({ error }) => error === undefined || error.code === 'ETL-3302');
  const label = isStopped ? 'resume' : 'resume after the correction';
  return [`${label}: ${formatResumeCommand(event.dagId, event.runId)}`];
}

/** Formats an event as lines. Returns no lines for the start and the progress of a task. */
function formatEventLines(event: RunEvent, paint: Paint, showsRowData: boolean): readonly string[] {
  switch (event.type) {
    case 'run_started':
      return [formatStartLine(event, paint)];
    case 'run_resumed':
      return formatResumeLines(event, paint);
    case 'task_started':
    case 'task_progress':
      return [];
    case 'task_log':
      return [` ${paint.faint('·')} ${event.taskId}: ${indentLines(formatLogText(event))}`];
    case 'task_retrying':
      return [
        formatRetryLine(event, paint, 'failed'),
        ...formatErrorLines(event.error, paint, showsRowData).map((line) => `   ${line}`),
      ];
    case 'task_finished':
      return formatTaskLines(event, paint, showsRowData);
    case 'notice':
      return [` ${paint.faint('note:')} ${indentLines(event.text)}`];
    case 'run_finished':
      return formatFinishLines(event, paint, showsRowData);
    default:
      return event satisfies never;
  }
}

type RetryEvent = RunEvent & { type: 'task_retrying' };

/** Formats ` ↻ load: attempt 1 failed, the next starts in 5.0s`. */
function formatRetryLine({ taskId, attempt, delayMs }: RetryEvent, paint: Paint, how: string): string {
  return ` ${paint.bad('↻')} ${taskId}: attempt ${attempt} ${how}, the next starts in ${formatDuration(delayMs)}`;
}

/** The errors of tasks that the report has shown, so that an error that comes again takes one line. */
class ShownErrors {
  readonly #showsRowData: boolean;
  /** The last error of each task that is retried, and the attempt under which the report has shown the error. */
  readonly #last = new Map<string, { readonly text: string; readonly attempt: number }>();

  constructor(showsRowData: boolean) {
    this.#showsRowData = showsRowData;
  }

  /** Returns the lines of an attempt that failed as the attempt before. Returns undefined for any other event. */
  formatRepeatedLines(event: RunEvent, paint: Paint): readonly string[] | undefined {
    if (event.type !== 'task_retrying' && event.type !== 'task_finished') return undefined;
    const { taskId, error } = event;
    if (error === undefined) return undefined;
    const text = this.#describe(error);
    const last = this.#last.get(taskId);
    if (last?.text === text) {
      if (event.type === 'task_retrying')
        return [formatRetryLine(event, paint, 'failed with the same error')];
      return [
        formatTaskLine(event, paint),
        `   ${paint.strong(error.code)} ${error.what.split('\n', 1)[0]}: the same error as in attempt ${last.attempt}, above`,
      ];
    }
    if (event.type === 'task_retrying') this.#last.set(taskId, { text, attempt: event.attempt });
    return undefined;
  }

  /**
   * Returns the text by which two errors are the same. The reason and the place of a row in its table do not count: they
   * differ in each attempt.
   */
  #describe({ code, what, where = '', fix, data, rowData }: EtlError): string {
    const place = where.replaceAll(/\(\d+,\d+\)/g, '');
    return [code, what, place, fix, data, this.#showsRowData ? rowData : ''].join('\n');
  }
}

/**
 * Formats `<dag> run <run ID> [<start>, <end>) <home connection>`. Leaves out the parts that the Dag does not have.
 */
function formatStartLine(event: RunEvent & { type: 'run_started' }, paint: Paint): string {
  const parts = [`run ${event.runId}`];
  if (event.interval) parts.push(formatInterval(event.interval, event.timezone));
  if (event.home !== undefined) parts.push(event.home);
  return `${paint.strong(event.dagId)}  ${paint.faint(parts.join('  '))}`;
}

/** Formats how the run ended before, and then a line for each task that runs again, with the reason. */
function formatResumeLines(event: RunEvent & { type: 'run_resumed' }, paint: Paint): readonly string[] {
  const ago = formatDuration(event.at.getTime() - event.startedAt.getTime());
  const was = event.was === 'running' ? 'died' : event.was === 'failed' ? 'failed' : 'succeeded';
  return [
    ` ${paint.faint(`resumed: the run ${was}, started ${ago} ago;`)} ${event.reused.length} reused, ${event.toRun.length} to run`,
    ...event.toRun.map(({ taskId, why }) => `   ${taskId}  ${paint.faint(why)}`),
  ];
}

/** Indents the further lines of a text, so that no text of a task looks like a line of the report. */
function indentLines(text: string): string {
  return text.replaceAll('\n', '\n     ');
}

/** Formats a log line of a task: the message, and then the fields, such as `loaded a file name="a.csv" size=12`. */
function formatLogText({ message, fields }: RunEvent & { type: 'task_log' }): string {
  const values = Object.entries(fields).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return [message, ...values].join(' ');
}

/** The sign before the name of a task that has ended. */
const MARKS = { success: '✔', failed: '✖', upstream_failed: '↷', skipped: '↷' } as const;

/**
 * Formats how a task ended:
 *
 * - ` ✔ load  12 rows  1.2s` for a task that ran, with the lines of its error if it failed
 * - ` = load  12 rows  1.2s  reused` for a task whose result was in the ledger
 * - ` ↷ load  skipped: <reason>` for a task with a reason
 */
export function formatTaskLines(task: TaskSummary, paint: Paint, showsRowData: boolean): readonly string[] {
  const line = formatTaskLine(task, paint);
  return task.error === undefined || task.reason !== undefined
    ? [line]
    : [line, ...formatErrorLines(task.error, paint, showsRowData).map((each) => `   ${each}`)];
}

/** Formats the line that says how a task ended, without the lines of its error. */
function formatTaskLine(task: TaskSummary, paint: Paint): string {
  const colour = task.state === 'success' ? paint.good : task.state === 'failed' ? paint.bad : paint.faint;
  const mark = colour(task.reused ? '=' : MARKS[task.state]);
  if (task.reason !== undefined)
    return ` ${mark} ${task.taskId}  ${paint.faint(`${task.state}: ${indentLines(task.reason)}`)}`;
  const attempts = task.attempts > 1 ? `attempt ${task.attempts}` : '';
  const details = [
    formatRows(task.rows),
    formatRejected(task.rejected),
    formatDuration(task.durationMs),
    task.reused ? 'reused' : '',
    attempts,
  ];
  return ` ${mark} ${task.taskId}  ${paint.faint(details.filter((each) => each !== '').join('  '))}`;
}

/** Formats the errors of the run itself, and then a line such as `OK  2 ok, 12 rows, 1.2s`. */
function formatFinishLines(
  event: RunEvent & { type: 'run_finished' },
  paint: Paint,
  showsRowData: boolean,
): readonly string[] {
  // A task that was stopped has shown why.
  const shown = new Set(event.tasks.map(({ error }) => error && `${error.code} ${error.what}`));
  const errors = event.errors.filter(({ code, what }) => !shown.has(`${code} ${what}`));
  return [
    ...errors.flatMap((error) => formatErrorLines(error, paint, showsRowData)),
    formatTotalLine(event, paint),
  ];
}

/** Formats how a run has ended: `OK  2 ok, 12 rows, 1.2s`. */
export function formatTotalLine(
  { state, tasks, durationMs }: Pick<RunFinished, 'state' | 'tasks' | 'durationMs'>,
  paint: Paint,
): string {
  const rows = tasks.reduce((sum, task) => sum + (task.rows ?? 0), 0);
  const word = state === 'success' ? paint.good('OK') : paint.bad('FAILED');
  const rejected = tasks.reduce((sum, task) => sum + (task.rejected ?? 0), 0);
  const summary = [
    formatCounts(tasks),
    formatRows(rows),
    formatRejected(rejected),
    formatDuration(durationMs),
  ];
  return `${word}  ${summary.filter((each) => each !== '').join(', ')}`;
}
