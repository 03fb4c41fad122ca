import type { Moved } from '../tasks/task-body.js';

/** The progress of a task since its attempt began. */
export interface Totals {
  readonly rows: number;
  readonly bytes: number;
}

/** The minimum time between two reports. A bulk task moves thousands of chunks a second. */
const INTERVAL_MS = 100;

/**
 * Adds up the progress of an attempt, and reports the totals at most every `INTERVAL_MS`. There is no timer: totals
 * that were not reported are reported with a later movement, or at the end.
 */
export class Progress {
  readonly #report: (totals: Totals) => void;
  readonly #now: () => number;
  #totals: Totals = { rows: 0, bytes: 0 };
  #isReported = true;
  #reportedAt = -Infinity;

  /** `now` returns a time in milliseconds. */
  constructor(report: (totals: Totals) => void, now: () => number) {
    this.#report = report;
    this.#now = now;
  }

  /** Adds the progress since the last call. Reports the totals if the last report is at least `INTERVAL_MS` old. */
  addMovement({ rows = 0, bytes = 0 }: Moved): void {
    this.#totals = { rows: this.#totals.rows + rows, bytes: this.#totals.bytes + bytes };
    this.#isReported = false;
    if (this.#now() - this.#reportedAt >= INTERVAL_MS) this.finish();
  }

  /** Reports the totals if they have changed since the last report. */
  finish(): void {
    if (this.#isReported) return;
    this.#isReported = true;
    this.#reportedAt = this.#now();
    this.#report(this.#totals);
  }
}
