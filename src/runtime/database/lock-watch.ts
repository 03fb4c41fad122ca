/** The pause between two questions, in ticks. */
const PAUSE_TICKS = 5;
/** The number of ticks without an answer after which the connection counts as lost. */
const SILENT_TICKS = 15;
/** The length of a tick. */
export const TICK_MS = 1000;

/** The connection that holds a Dag's lock. */
export interface WatchedLock {
  /** Asks the server anything. Rejects if the connection is lost. */
  readonly ask: () => Promise<unknown>;
  /** Returns true if the transaction of the lock was open at the last answer. */
  readonly isOpen: () => boolean;
  /** Called once, if the transaction is not open any more or if the server does not answer. */
  readonly onLost: () => void;
}

/**
 * Watches the idle connection that holds a Dag's lock. Every `PAUSE_TICKS` a question shows whether the transaction is
 * still open. A connection counts as lost if the transaction is not open any more, or if the server does not
 * answer for `SILENT_TICKS`. So a lost connection is noticed within 20 seconds. A network that drops all packets, and a
 * proxy that stays open, send no error.
 *
 * A tick that is late proves nothing: this process was suspended or busy, and the answer can wait in a buffer. Late ticks
 * do not count.
 */
export class LockWatch {
  readonly #lock: WatchedLock;
  readonly #timer: NodeJS.Timeout;
  #lastTickAt = performance.now();
  /** The ticks since the last answer, or since the question that has no answer yet. */
  #ticks = 0;
  #isAsking = false;

  constructor(lock: WatchedLock) {
    this.#lock = lock;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  /** Ends the watch. */
  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const now = performance.now();
    const isLate = now - this.#lastTickAt > 2 * TICK_MS;
    this.#lastTickAt = now;
    if (isLate) return;
    this.#ticks++;
    if (this.#isAsking) {
      if (this.#ticks >= SILENT_TICKS) this.#lose();
    } else if (this.#ticks >= PAUSE_TICKS) void this.#ask();
  }

  async #ask(): Promise<void> {
    this.#isAsking = true;
    this.#ticks = 0;
    try {
      await this.#lock.ask();
    } catch {
      // The connection is lost. Its `end` event reports the loss.
      return this.stop();
    }
    this.#isAsking = false;
    this.#ticks = 0;
    if (!this.#lock.isOpen()) this.#lose();
  }

  #lose(): void {
    this.stop();
    this.#lock.onLost();
  }
}
