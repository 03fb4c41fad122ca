import { writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** The longest time that one write blocks this thread because the reader of a pipe is slow. */
const BLOCK_MS = 50;
/** The pause between two tries to write what a slow reader has not taken yet. */
const PAUSE_MS = 10;
/** The maximum number of bytes that wait for a slow reader. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** The limit for a reader that takes no byte at the end of the process. A pager can stand still while a person reads. */
const DRAIN_MS = 600_000;

/** Bytes that wait, and the function that takes the failure of their write. */
interface Waiting {
  readonly bytes: Buffer;
  readonly fail: (error: Error) => void;
}

/**
 * Writes to a file descriptor. The bytes are written at once, unless the descriptor is a pipe whose reader is slow. Then
 * they wait in memory, and the thread goes on: a reader that does not read holds up neither the tasks of a run nor its
 * timeouts and signals.
 */
class PipeWriter {
  readonly #descriptor: number;
  readonly #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** Writes bytes after all bytes that wait. Calls `fail` if they can't be written, now or later. Never throws. */
  write(bytes: Buffer, fail: (error: Error) => void): void {
    if (this.#waitingBytes + bytes.length > MAX_WAITING_BYTES && this.#waitingBytes > 0) {
      fail(new Error('the reader of the pipe does not read'));
      return;
    }
    this.#waiting.push({ bytes, fail });
    this.#waitingBytes += bytes.length;
    // If bytes wait already, the timer writes them.
    if (this.#timer === undefined) this.#writeWaiting(BLOCK_MS);
  }

  /**
   * Waits until all bytes are written. Gives up, and reports a failure, if the reader takes no byte for `DRAIN_MS`.
   * Signals have their effect meanwhile.
   */
  async drain(): Promise<void> {
    let left = this.#waitingBytes;
    let movedAt = performance.now();
    while (this.#waitingBytes > 0) {
      await delay(PAUSE_MS);
      if (this.#waitingBytes < left) movedAt = performance.now();
      left = this.#waitingBytes;
      if (performance.now() - movedAt > DRAIN_MS)
        this.#failAll(new Error('the reader of the pipe does not read'));
    }
  }

  /** Writes what waits, and sets a timer for the rest. Blocks the thread for at most `blockMs` while no byte is taken. */
  #writeWaiting(blockMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
        const rest = this.#writeSome(next.bytes, blockMs);
        this.#waitingBytes -= next.bytes.length - rest.length;
        if (rest.length > 0) {
          this.#waiting[0] = { ...next, bytes: rest };
          this.#timer = setTimeout(() => this.#writeWaiting(0), PAUSE_MS);
          return;
        }
        this.#waiting.shift();
      }
    } catch (error) {
      this.#failAll(error as Error);
    }
  }

  /** Writes bytes until the reader has taken none for `blockMs`. Returns the rest. Throws any error but EAGAIN. */
  #writeSome(bytes: Buffer, blockMs: number): Buffer {
    let written = 0;
    for (let tries = 0; written < bytes.length;) {
      try {
        written += writeSync(this.#descriptor, bytes, written);
        tries = 0;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        if (++tries > blockMs) break;
        // Pauses this thread for 1 ms: most readers are only a little slower, and the order of all output is kept.
        Atomics.wait(UNCHANGED_MEMORY, 0, 0, 1);
      }
    }
    return bytes.subarray(written);
  }

  /** Drops all bytes that wait, and reports the failure to their writers. */
  #failAll(error: Error): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waitingBytes = 0;
    for (const { fail } of this.#waiting.splice(0)) fail(error);
  }
}

/** The memory that `Atomics.wait` waits on. Nobody changes it, so each wait lasts until its timeout. */
const UNCHANGED_MEMORY = new Int32Array(new SharedArrayBuffer(4));

/** The writers of stdout and stderr. Each descriptor has one writer, which keeps the order of its output. */
export const pipeWriters: Readonly<Record<1 | 2, PipeWriter>> = {
  1: new PipeWriter(1),
  2: new PipeWriter(2),
};

/** Waits until the readers of stdout and stderr have taken all output, with a limit. */
export async function drainOutput(): Promise<void> {
  await pipeWriters[1].drain();
  await pipeWriters[2].drain();
}
