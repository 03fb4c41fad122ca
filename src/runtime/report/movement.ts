import type { RunEvent } from './event.js';
import { formatRows } from './words.js';

/** The event that says how much a task has moved. */
type Moved = RunEvent & { readonly type: 'task_progress' };

/** Collects how many rows and bytes each running task has moved, and formats them. */
export class Movements {
  /** The time at which the attempt of each task began, in milliseconds since 1970. */
  readonly #startedAt = new Map<string, number>();
  /** The newest text of each running task. */
  readonly #texts = new Map<string, string>();

  /** Adds an event. Ignores kinds of events that say nothing about progress. */
  addEvent(event: RunEvent): void {
    if (event.type === 'task_started') this.#startedAt.set(event.taskId, event.at.getTime());
    if (event.type === 'task_progress') this.#texts.set(event.taskId, this.#formatText(event));
    if (event.type === 'task_started' || event.type === 'task_finished') this.#texts.delete(event.taskId);
  }

  /** Returns a text for each running task with progress, such as `load  1,204,331 rows  81.2 MB  12.3 MB/s`. */
  formatAll(): readonly string[] {
    return [...this.#texts.values()];
  }

  /** Returns the text of one task. Undefined if the task has no progress yet, or has ended. */
  formatTask(taskId: string): string | undefined {
    return this.#texts.get(taskId);
  }

  /** Formats `<task>  <rows>  <bytes>  <rate>`. Leaves out a part that is 0. */
  #formatText({ taskId, rows, bytes, at }: Moved): string {
    const seconds = (at.getTime() - (this.#startedAt.get(taskId) ?? at.getTime())) / 1000;
    const amount = [rows === 0 ? '' : formatRows(rows), bytes === 0 ? '' : formatMegabytes(bytes)];
    return [taskId, ...amount, formatRate({ rows, bytes }, seconds)].filter((each) => each !== '').join('  ');
  }
}

/** Formats bytes per second, or rows per second if there are no bytes. Returns an empty text if no time has passed. */
function formatRate({ rows, bytes }: Pick<Moved, 'rows' | 'bytes'>, seconds: number): string {
  if (seconds <= 0) return '';
  return bytes > 0 ? `${formatMegabytes(bytes / seconds)}/s` : `${formatRows(Math.round(rows / seconds))}/s`;
}

/** Formats bytes in decimal megabytes: 1 MB is 1,000,000 bytes. */
function formatMegabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
