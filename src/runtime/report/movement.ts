import type { RunEvent } from './event.js';
import { formatRows } from './words.js';

type Moved = RunEvent & { readonly type: 'task_progress' };

/** What the tasks that are running have moved. */
export class Movements {
  readonly #startedAt = new Map<string, number>();
  readonly #texts = new Map<string, string>();

  /** Takes note of an event, of whatever kind. */
  addEvent(event: RunEvent): void {
    if (event.type === 'task_started') this.#startedAt.set(event.taskId, event.at.getTime());
    if (event.type === 'task_progress') this.#texts.set(event.taskId, this.#getText(event));
    if (event.type === 'task_started' || event.type === 'task_finished') this.#texts.delete(event.taskId);
  }

  /** `load  1,204,331 rows  81.2 MB  12.3 MB/s` for each, since its attempt began. */
  formatAll(): readonly string[] {
    return [...this.#texts.values()];
  }

  /** As `texts`, of one. */
  formatTask(taskId: string): string | undefined {
    return this.#texts.get(taskId);
  }

  #getText({ taskId, rows, bytes, at }: Moved): string {
    const seconds = (at.getTime() - (this.#startedAt.get(taskId) ?? at.getTime())) / 1000;
    const amount = [rows === 0 ? '' : formatRows(rows), bytes === 0 ? '' : formatMegabytes(bytes)];
    return [taskId, ...amount, formatRate({ rows, bytes }, seconds)].filter((each) => each !== '').join('  ');
  }
}

function formatRate({ rows, bytes }: Pick<Moved, 'rows' | 'bytes'>, seconds: number): string {
  if (seconds <= 0) return '';
  return bytes > 0 ? `${formatMegabytes(bytes / seconds)}/s` : `${formatRows(Math.round(rows / seconds))}/s`;
}

/** In millions, as disks and networks are sold. */
function formatMegabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
