import type { RunEvent } from './event.js';
import { rowsText } from './words.js';

type Moved = RunEvent & { readonly type: 'task_progress' };

/** What the tasks that are running have moved. */
export class Movements {
  readonly #startedAt = new Map<string, number>();
  readonly #texts = new Map<string, string>();

  /** Takes note of an event, of whatever kind. */
  see(event: RunEvent): void {
    if (event.type === 'task_started') this.#startedAt.set(event.taskId, event.at.getTime());
    if (event.type === 'task_progress') this.#texts.set(event.taskId, this.#textOf(event));
    if (event.type === 'task_started' || event.type === 'task_finished') this.#texts.delete(event.taskId);
  }

  /** `load  1,204,331 rows  81.2 MB  12.3 MB/s` for each, since its attempt began. */
  texts(): readonly string[] {
    return [...this.#texts.values()];
  }

  /** As `texts`, of one. */
  text(taskId: string): string | undefined {
    return this.#texts.get(taskId);
  }

  #textOf({ taskId, rows, bytes, at }: Moved): string {
    const seconds = (at.getTime() - (this.#startedAt.get(taskId) ?? at.getTime())) / 1000;
    const amount = [rows === 0 ? '' : rowsText(rows), bytes === 0 ? '' : megabytes(bytes)];
    return [taskId, ...amount, rateText({ rows, bytes }, seconds)].filter((each) => each !== '').join('  ');
  }
}

function rateText({ rows, bytes }: Pick<Moved, 'rows' | 'bytes'>, seconds: number): string {
  if (seconds <= 0) return '';
  return bytes > 0 ? `${megabytes(bytes / seconds)}/s` : `${rowsText(Math.round(rows / seconds))}/s`;
}

/** In millions, as disks and networks are sold. */
function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
