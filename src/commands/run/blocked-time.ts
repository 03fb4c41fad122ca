/**
 * Measures for how long the event loop of another thread is blocked. A timer of that thread increments a counter, and
 * this class looks at the counter once in `tickMs`.
 */
export class BlockedTime {
  readonly #tickMs: number;
  #beats = -1;
  #lookedAt: number;
  #blockedMs = 0;

  /** `now` is a time in milliseconds that never goes back. */
  constructor(tickMs: number, now: number) {
    this.#tickMs = tickMs;
    this.#lookedAt = now;
  }

  /**
   * Takes the counter. Returns for how many milliseconds the event loop has been blocked for certain.
   *
   * A look that comes late proves nothing: the whole process stood still, because it was stopped (SIGSTOP), its machine
   * slept, or other processes had the processor. The time before a late look does not count.
   */
  look(beats: number, now: number): number {
    const passed = now - this.#lookedAt;
    this.#lookedAt = now;
    if (beats !== this.#beats) this.#blockedMs = 0;
    else if (passed < 2 * this.#tickMs) this.#blockedMs += passed;
    this.#beats = beats;
    return this.#blockedMs;
  }
}
