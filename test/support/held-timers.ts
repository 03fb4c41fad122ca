/**
 * Catches the timers that are set for exactly `ms`, a number that nothing else in the process uses, or for which the
 * function returns true. The test then decides when a timeout of a run or a task ends. The result does not depend on the
 * speed of the machine.
 */
export function holdTimers(ms: number | ((ms: number) => boolean)): HeldTimers {
  return new HeldTimers(typeof ms === 'function' ? ms : (each) => each === ms);
}

/** The caught timers. The object replaces `setTimeout` and `clearTimeout` of the process until it is disposed of. */
export class HeldTimers implements Disposable {
  readonly #original = globalThis.setTimeout;
  readonly #originalClear = globalThis.clearTimeout;
  /** The timers that were set and not cleared, with their functions. */
  readonly #held = new Map<unknown, () => void>();
  #onTimer: (() => void) | undefined;

  constructor(isHeld: (ms: number) => boolean) {
    const original = this.#original;
    const replacement = (callback: () => void, delay?: number, ...args: unknown[]): NodeJS.Timeout => {
      const timer = original(callback, delay, ...(args as []));
      if (isHeld(delay ?? 0)) {
        this.#held.set(timer, callback);
        this.#onTimer?.();
      }
      return timer;
    };
    globalThis.setTimeout = Object.assign(replacement, original);
    globalThis.clearTimeout = (timer) => {
      this.#held.delete(timer);
      this.#originalClear(timer);
    };
  }

  /** Waits until there is a timer that was not cleared, and returns the function that ends the timer. */
  async next(): Promise<() => void> {
    const [first] = this.#held;
    if (first !== undefined) {
      this.#held.delete(first[0]);
      return first[1];
    }
    await new Promise<void>((resolve) => (this.#onTimer = resolve));
    return this.next();
  }

  [Symbol.dispose](): void {
    globalThis.setTimeout = this.#original;
    globalThis.clearTimeout = this.#originalClear;
  }
}
