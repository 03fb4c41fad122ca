import { formatDuration } from '../duration.js';
import { formatResumeCommand } from './command-line.js';
import type { Reporter, RunEvent, TaskSummary } from './event.js';
import { Movements } from './movement.js';
import {
  formatCounts,
  formatErrorLines,
  neutralizeText,
  formatRejected,
  formatRows,
  type Paint,
  joinLines,
} from './words.js';

export interface PlainOptions {
  /** Takes lines; they end with a line break. */
  readonly write: (text: string) => void;
  readonly paint: Paint;
  /** Say nothing of a run that succeeds; of one that fails say everything. */
  readonly quiet: boolean;
}

/** A log is no place for what changes ten times a second. */
const PROGRESS_MS = 10_000;

/** A line an event, and one for what moves every ten seconds: for a log, a mail of cron, or a person. */
export function createPlainReporter({ write, paint, quiet }: PlainOptions): Reporter {
  const kept: string[] = [];
  const progress = new ProgressLines(paint);
  let isRecorded = false;
  return {
    report(event) {
      if (event.type === 'run_started') isRecorded = event.home !== undefined;
      const text = joinLines([
        ...progress.formatEventLines(event),
        ...formatEventLines(event, paint),
        ...describeHint(event, isRecorded),
      ]);
      if (!quiet) return write(text);
      kept.push(text);
      if (event.type === 'run_finished' && event.state !== 'success') write(kept.join(''));
    },
  };
}

/** A line for a task that moves much, now and then. */
class ProgressLines {
  readonly #paint: Paint;
  readonly #movements = new Movements();
  /** When something was last said of each task. */
  readonly #saidAt = new Map<string, number>();

  constructor(paint: Paint) {
    this.#paint = paint;
  }

  formatEventLines(event: RunEvent): readonly string[] {
    this.#movements.addEvent(event);
    const at = event.at.getTime();
    if (event.type === 'task_started') this.#saidAt.set(event.taskId, at);
    if (event.type !== 'task_progress' || at - (this.#saidAt.get(event.taskId) ?? at) < PROGRESS_MS)
      return [];
    this.#saidAt.set(event.taskId, at);
    return [` ${this.#paint.faint(`· ${this.#movements.formatTask(event.taskId)}`)}`];
  }
}

/** How to go on with a run that failed. */
function describeHint(event: RunEvent, isRecorded: boolean): readonly string[] {
  if (event.type !== 'run_finished' || event.state === 'success' || !isRecorded) return [];
  return [`resume: ${formatResumeCommand(event.dagId, event.runId)}`];
}

function formatEventLines(event: RunEvent, paint: Paint): readonly string[] {
  switch (event.type) {
    case 'run_started':
      return [startLine(event, paint)];
    case 'run_resumed':
      return resumeLines(event, paint);
    case 'task_started':
    case 'task_progress':
      return [];
    case 'task_log':
      return [` ${paint.faint('·')} ${event.taskId}: ${neutralizeText(logText(event))}`];
    case 'task_retrying':
      return [
        ` ${paint.bad('↻')} ${event.taskId}: attempt ${event.attempt} failed, the next in ${formatDuration(event.delayMs)}`,
        ...formatErrorLines(event.error, paint).map((line) => `   ${line}`),
      ];
    case 'task_finished':
      return formatTaskLines(event, paint);
    case 'notice':
      return [` ${paint.faint('note:')} ${neutralizeText(event.text)}`];
    case 'run_finished':
      return finishLines(event, paint);
    default:
      return event satisfies never;
  }
}

function startLine(event: RunEvent & { type: 'run_started' }, paint: Paint): string {
  const parts = [`run ${event.runId}`];
  if (event.interval)
    parts.push(`[${event.interval.start.toISOString()}, ${event.interval.end.toISOString()})`);
  if (event.home !== undefined) parts.push(event.home);
  return `${paint.strong(event.dagId)}  ${paint.faint(parts.join('  '))}`;
}

function resumeLines(event: RunEvent & { type: 'run_resumed' }, paint: Paint): readonly string[] {
  const ago = formatDuration(event.at.getTime() - event.startedAt.getTime());
  const was = event.was === 'running' ? 'died' : event.was === 'failed' ? 'failed' : 'succeeded';
  return [
    ` ${paint.faint(`resumed: it ${was}, and was begun ${ago} ago;`)} ${event.reused.length} reused, ${event.toRun.length} to run`,
    ...event.toRun.map(({ taskId, why }) => `   ${taskId}  ${paint.faint(why)}`),
  ];
}

function logText({ message, fields }: RunEvent & { type: 'task_log' }): string {
  const values = Object.entries(fields).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return [message, ...values].join(' ');
}

const MARKS = { success: '✔', failed: '✖', upstream_failed: '↷', skipped: '↷' } as const;

function formatTaskLines(task: TaskSummary, paint: Paint): readonly string[] {
  const colour = task.state === 'success' ? paint.good : task.state === 'failed' ? paint.bad : paint.faint;
  const mark = colour(task.reused ? '=' : MARKS[task.state]);
  if (task.reason !== undefined)
    return [` ${mark} ${task.taskId}  ${paint.faint(`${task.state}: ${neutralizeText(task.reason)}`)}`];
  const attempts = task.attempts > 1 ? `attempt ${task.attempts}` : '';
  const details = [
    formatRows(task.rows),
    formatRejected(task.rejected),
    formatDuration(task.durationMs),
    task.reused ? 'reused' : '',
    attempts,
  ];
  const line = ` ${mark} ${task.taskId}  ${paint.faint(details.filter((each) => each !== '').join('  '))}`;
  return task.error === undefined
    ? [line]
    : [line, ...formatErrorLines(task.error, paint).map((each) => `   ${each}`)];
}

function finishLines(event: RunEvent & { type: 'run_finished' }, paint: Paint): readonly string[] {
  const rows = event.tasks.reduce((sum, task) => sum + (task.rows ?? 0), 0);
  const word = event.state === 'success' ? paint.good('OK') : paint.bad('FAILED');
  const rejected = event.tasks.reduce((sum, task) => sum + (task.rejected ?? 0), 0);
  const summary = [
    formatCounts(event.tasks),
    formatRows(rows),
    formatRejected(rejected),
    formatDuration(event.durationMs),
  ];
  return [
    ...event.errors.flatMap((error) => formatErrorLines(error, paint)),
    `${word}  ${summary.filter((each) => each !== '').join(', ')}`,
  ];
}
