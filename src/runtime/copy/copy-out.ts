import type { Connection } from 'pg';
import { giveBack, copyBytes, takeChunk } from '../../hooks/chunks.js';
import { cancelStatement } from '../../hooks/client.js';
import type { ProtocolClient } from '../postgres/protocol.js';
import { COPY_END_MS, within } from '../waiting.js';
import { TaskConnection } from '../postgres/task-connection.js';
import type { CopyOptions } from './copy-in.js';
import { Exchange } from './exchange.js';
import { readFrames } from './frames.js';
import { toError } from '../../errors.js';

/** The size of a full part. */
const PART_BYTES = 256 * 1024;

/**
 * A `COPY … TO STDOUT` on a connection, read directly from the socket. On a busy machine the socket delivers a few rows
 * at a time. `CopyOut` collects these rows in parts of 256 KiB, so that the reader works on many rows at once. The
 * socket is paused while a full part waits for the reader. Bytes that arrive before the pause go into the next part.
 */
export class CopyOut extends Exchange {
  /** The full parts that the reader has not taken yet. */
  readonly #waiting: Buffer[] = [];
  /** The part that is not full yet. Its first `#filled` bytes are set. */
  #part: Buffer | undefined;
  #filled = 0;
  #isDropping = false;
  #connection: Connection | undefined;
  /** Ends the wait of `next`. */
  #wake: (() => void) | undefined;

  /** True until the COPY has ended: the server waits while the reader works on a part. */
  get isHeld(): boolean {
    return !this.isOver;
  }

  override submit(connection: Connection): void {
    this.#connection = connection;
    readFrames(connection, { type: 'd', data: (bytes) => this.#take(bytes) });
    connection.query(this.text);
  }

  /** Returns the next part, or undefined after the last part. Rejects with the error of the server. */
  async next(): Promise<Buffer | undefined> {
    while (this.#waiting.length === 0 && !this.isOver && !this.#isDropping) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const bytes = this.#waiting.shift() ?? this.#takeLast();
    // After the last part, `over` rejects if the server has reported an error. The socket flows again when no full part
    // waits.
    if (bytes === undefined) await (this.isOver ? this.over : undefined);
    else if (this.#waiting.length === 0 && !this.isOver) this.#connection?.stream.resume();
    return bytes;
  }

  /** Discards all further bytes, so that the server can end the COPY. `next` returns at once. */
  drop(): void {
    this.#isDropping = true;
    this.#waiting.length = this.#filled = 0;
    this.#connection?.stream.resume();
    this.#wake?.();
  }

  /** Destroys the connection of a server that does not end the COPY. */
  cut(): void {
    this.#connection?.stream.destroy();
  }

  protected override onOver(): void {
    this.#wake?.();
  }

  /**
   * Copies bytes of the server into parts, and gives the chunk of the socket back. Pauses the socket if a full part
   * waits for the reader. Discards the bytes after `drop`.
   */
  #take(bytes: Buffer): void {
    for (let at = 0; at < bytes.length && !this.#isDropping;) {
      this.#part ??= takeChunk(PART_BYTES);
      const copied = bytes.copy(this.#part, this.#filled, at);
      this.#filled += copied;
      at += copied;
      if (this.#filled === PART_BYTES) this.#put(this.#part);
    }
    giveBack(bytes);
    if (this.#waiting.length > 0) this.#connection?.stream.pause();
  }

  /** Hands a full part to the reader, and begins a new part. */
  #put(part: Buffer): void {
    this.#waiting.push(part);
    this.#part = undefined;
    this.#filled = 0;
    this.#wake?.();
  }

  /**
   * Returns the rows of the part that is not full, and begins a new part. Returns undefined if the part has no bytes.
   */
  #takeLast(): Buffer | undefined {
    const bytes = this.#part?.subarray(0, this.#filled);
    this.#part = undefined;
    this.#filled = 0;
    return bytes?.length === 0 ? undefined : bytes;
  }
}

/** The options of a COPY from the server. */
export interface CopyOutOptions extends CopyOptions {
  /**
   * True if the reader gives each chunk back to `hooks/chunks.ts`. Otherwise each part is a copy with its own memory.
   */
  readonly isLending?: boolean;
}

/** The bytes of a COPY, and the number of its rows. */
export interface CopyOutput extends AsyncIterable<Buffer> {
  /** The number of rows in the server's command tag. 0 before the end of the COPY. */
  readonly rows: number;
}

/**
 * Returns the bytes of a `COPY … TO STDOUT`, in parts of many rows. A part may end in the middle of a row. The
 * statement is sent when the reading begins. The bytes can be read only once. The server waits while nobody reads the
 * next part.
 *
 * The statement is cancelled if the reading ends early (`break`, an error, `signal`). The transaction is then failed up
 * to its last savepoint. The connection is destroyed if the server does not react within `COPY_END_MS`.
 */
export function copyOut(
  taskConnection: TaskConnection | ProtocolClient,
  text: string,
  { signal, moved, isLending = false }: CopyOutOptions,
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
        taskConnection.query(copy);
        for (let bytes = await copy.next(); bytes !== undefined; bytes = await copy.next()) {
          moved?.(bytes.length);
          yield isLending ? bytes : copyBytes(bytes);
        }
        if (signal.aborted) throw toError(signal.reason);
      } finally {
        signal.removeEventListener('abort', stop);
        if (!copy.isOver) await endEarly(taskConnection, copy);
      }
    },
  };
}

/**
 * Cancels a COPY that is not read to its end, and waits until it has ended. Destroys the connection if that takes
 * longer than `COPY_END_MS`.
 */
async function endEarly(taskConnection: TaskConnection | ProtocolClient, copy: CopyOut): Promise<void> {
  copy.drop();
  const cancelled =
    taskConnection instanceof TaskConnection
      ? taskConnection.cancel()
      : cancelStatement(taskConnection, COPY_END_MS);
  if (!(await within(Promise.all([cancelled, copy.over]), COPY_END_MS))) copy.cut();
}
