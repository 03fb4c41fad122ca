/**
 * Catches the timers that are set for exactly `ms`, a number that nothing else in the process uses. The test then decides
 * when a timeout of a run or a task ends. The result does not depend on the speed of the machine.
 */
export function holdTimers(ms: number): HeldTimers {
  return new HeldTimers(ms);
}

/** The caught timers. The object replaces `setTimeout` of the process until it is disposed of. */
export class HeldTimers implements Disposable {
  readonly #original = globalThis.setTimeout;
  readonly #held: (() => void)[] = [];
  #onTimer: (() => void) | undefined;

  constructor(ms: number) {
    const original = this.#original;
    const replacement = (callback: () => void, delay?: number, ...args: unknown[]): NodeJS.Timeout => {
      const timer = original(callback, delay, ...(args as []));
      if (delay === ms) {
        this.#held.push(callback);
        this.#onTimer?.();
      }
      return timer;
    };
    globalThis.setTimeout = Object.assign(replacement, original);
  }

  /** Waits until the next timer is set, and returns the function that ends the timer. */
  async next(): Promise<() => void> {
    const first = this.#held.shift();
    if (first !== undefined) return first;
    await new Promise<void>((resolve) => (this.#onTimer = resolve));
    return this.next();
  }

  [Symbol.dispose](): void {
    globalThis.setTimeout = this.#original;
  }
}
