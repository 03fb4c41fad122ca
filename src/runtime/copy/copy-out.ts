import type { Connection } from 'pg';
import { cancelStatement } from '../../hooks/client.js';
import { asError } from '../outcome.js';
import type { ProtocolClient } from '../protocol.js';
import { within } from '../waiting.js';
import { Wire } from '../wire.js';
import type { CopyOptions } from './copy-in.js';
import { ANSWER_MS, Exchange } from './exchange.js';
import { CopyFrames } from './frames.js';

/** As much as may wait to be taken before the socket is paused. */
const WAITING_BYTES = 256 * 1024;

/**
 * `COPY … TO STDOUT` on a connection. While it runs it reads the socket in place of pg, which would make an object of
 * each row; whatever is not data goes on to pg.
 */
export class CopyOut extends Exchange {
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #isDropping = false;
  #connection: Connection | undefined;
  #wake: (() => void) | undefined;

  /**
   * In a transaction nothing comes between the end of one statement and the next but the server's last word, so that
   * the first byte here is that of a message.
   */
  override submit(connection: Connection): void {
    this.#connection = connection;
    const { stream } = connection;
    const listeners = stream.listeners('data') as ((bytes: Buffer) => void)[];
    const pass = (bytes: Buffer): void => listeners.forEach((listener) => listener.call(stream, bytes));
    const frames = new CopyFrames({ data: (bytes) => this.#take(bytes), other: pass });
    const onData = (bytes: Buffer): void => {
      const rest = frames.read(bytes);
      if (rest === undefined) return;
      stream.removeListener('data', onData);
      for (const listener of listeners) stream.on('data', listener);
      this.#connection = undefined;
      stream.resume();
      pass(rest);
    };
    for (const listener of listeners) stream.removeListener('data', listener);
    stream.on('data', onData);
    connection.query(this.text);
  }

  /** The next bytes; undefined when there are no more. Rejects with the server's error. */
  async next(): Promise<Buffer | undefined> {
    while (this.#waiting.length === 0 && !this.isOver && !this.#isDropping) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const bytes = this.#waiting.shift();
    if (bytes === undefined) await (this.isOver ? this.over : undefined);
    else {
      this.#waitingBytes -= bytes.length;
      if (this.#waitingBytes < WAITING_BYTES) this.#connection?.stream.resume();
    }
    return bytes;
  }

  /** From now on what comes is dropped, so that the server comes to an end; `next` returns at once. */
  drop(): void {
    this.#isDropping = true;
    this.#waiting.length = this.#waitingBytes = 0;
    this.#connection?.stream.resume();
    this.#wake?.();
  }

  /** For a server that does not come to an end. */
  cut(): void {
    this.#connection?.stream.destroy();
  }

  protected override onOver(): void {
    this.#wake?.();
  }

  #take(bytes: Buffer): void {
    if (this.#isDropping) return;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (this.#waitingBytes >= WAITING_BYTES) this.#connection?.stream.pause();
    this.#wake?.();
  }
}

/** The bytes of a COPY, and the number of its rows when they have all come. */
export interface CopyOutput extends AsyncIterable<Buffer> {
  /** By the server's tag; 0 before the end. */
  readonly rows: number;
}

/**
 * The bytes that a `COPY … TO STDOUT` sends, in parts that hold many rows and end anywhere. The statement is sent when
 * the reading begins; reading once is all there is. While nobody takes the next part the server waits.
 *
 * Whoever stops reading (`break`, an error, `signal`) has the statement cancelled, which leaves the transaction failed
 * up to its last savepoint; a server that does not react is cut off.
 */
export function copyOut(
  wire: Wire | ProtocolClient,
  text: string,
  { signal, moved }: CopyOptions,
): CopyOutput {
  const copy = new CopyOut(text);
  return {
    get rows() {
      return copy.rows;
    },
    async *[Symbol.asyncIterator]() {
      signal.throwIfAborted();
      const stop = (): void => copy.drop();
      signal.addEventListener('abort', stop, { once: true });
      try {
        wire.query(copy);
        for (let bytes = await copy.next(); bytes !== undefined; bytes = await copy.next()) {
          moved?.(bytes.length);
          yield bytes;
        }
        if (signal.aborted) throw asError(signal.reason);
      } finally {
        signal.removeEventListener('abort', stop);
        if (!copy.isOver) await giveUp(wire, copy);
      }
    },
  };
}

async function giveUp(wire: Wire | ProtocolClient, copy: CopyOut): Promise<void> {
  copy.drop();
  const cancelled = wire instanceof Wire ? wire.cancel() : cancelStatement(wire, ANSWER_MS);
  if (!(await within(Promise.all([cancelled, copy.over]), ANSWER_MS))) copy.cut();
}
