import { parseDuration, type Duration } from '../runtime/duration.js';

/** A point in a task where the task waits until a test opens the gate. */
export interface Gate {
  /** Resolves when the task has come to the gate. Rejects if it does not come within the limit. */
  readonly arrived: Promise<void>;
  /** Called by the task. Resolves when the gate is open. Rejects if nobody opens it within the limit. */
  pass(): Promise<void>;
  /** Lets the task go on, also if it comes later. */
  open(): void;
}

/**
 * Creates a gate, with which a test decides the order of what happens at once, without pauses: the task calls
 * `await gate.pass()`; the test waits for `gate.arrived`, does something, and calls `gate.open()`. `limit` bounds both
 * waits.
 */
export function createGate(limit: Duration = '30s'): Gate {
  const limitMs = parseDuration(limit, 'the limit of the gate');
  const [arrival, opening] = [createSignal(), createSignal()];
  const arrived = waitFor(arrival.promise, limitMs, 'no task came to the gate');
  // A test may not look at `arrived`.
  arrived.catch(() => undefined);
  return {
    arrived,
    async pass() {
      arrival.resolve();
      await waitFor(opening.promise, limitMs, 'nobody opened the gate');
    },
    open: () => opening.resolve(),
  };
}

function createSignal(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** Waits for a promise. Rejects after `limitMs`. The timer does not keep the process alive. */
async function waitFor(promise: Promise<void>, limitMs: number, what: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} within ${limitMs / 1000} s`)), limitMs);
    timer.unref();
  });
  try {
    await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}
