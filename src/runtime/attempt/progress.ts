import type { Moved } from '../tasks/task-body.js';

/** How much of a task is done. */
export interface Totals {
  readonly rows: number;
  readonly bytes: number;
}

/** A report at most this often: a bulk task has thousands of chunks a second. */
const INTERVAL_MS = 100;

/**
 * Adds up what an attempt has done, and reports the sum now and then. It has no timer: what is new is reported with the
 * next movement, and at the end.
 */
export class Progress {
  readonly #report: (totals: Totals) => void;
  readonly #now: () => number;
  #totals: Totals = { rows: 0, bytes: 0 };
  #isReported = true;
  #reportedAt = -Infinity;

  /** `now` in milliseconds. */
  constructor(report: (totals: Totals) => void, now: () => number) {
    this.#report = report;
    this.#now = now;
  }

  addMovement({ rows = 0, bytes = 0 }: Moved): void {
    this.#totals = { rows: this.#totals.rows + rows, bytes: this.#totals.bytes + bytes };
    this.#isReported = false;
    if (this.#now() - this.#reportedAt >= INTERVAL_MS) this.finish();
  }

  /** Reports what has not been reported. */
  finish(): void {
    if (this.#isReported) return;
    this.#isReported = true;
    this.#reportedAt = this.#now();
    this.#report(this.#totals);
  }
}
