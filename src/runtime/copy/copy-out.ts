import type { Connection } from 'pg';
import { giveBack, copyBytes, takeChunk } from '../../hooks/chunks.js';
import { cancelStatement } from '../../hooks/client.js';
import type { ProtocolClient } from '../postgres/protocol.js';
import { COPY_END_MS, within } from '../waiting.js';
import { TaskConnection } from '../postgres/task-connection.js';
import type { CopyOptions } from './copy-in.js';
import { Exchange } from './exchange.js';
import { readInPlace } from './frames.js';
import { toError } from '../../errors.js';

const PART_BYTES = 256 * 1024;

/**
 * `COPY … TO STDOUT` on a connection, read from the socket itself. A busy machine brings a few rows at a time: they are
 * put together, so that whatever is done with a part is done once for many. The socket is paused while one part waits
 * to be taken, and what it has brought by then goes to the next.
 */
export class CopyOut extends Exchange {
  /** A part of it is being used. */
  isHeld = false;
  readonly #waiting: Buffer[] = [];
  /** The part that is not full yet. */
  #part: Buffer | undefined;
  #filled = 0;
  #isDropping = false;
  #connection: Connection | undefined;
  #wake: (() => void) | undefined;

  override submit(connection: Connection): void {
    this.#connection = connection;
    readInPlace(connection, { type: 'd', data: (bytes) => this.#take(bytes) });
    connection.query(this.text);
  }

  /** The next bytes; undefined when there are no more. Rejects with the server's error. */
  async next(): Promise<Buffer | undefined> {
    while (this.#waiting.length === 0 && !this.isOver && !this.#isDropping) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const bytes = this.#waiting.shift() ?? this.#takeLast();
    if (bytes === undefined) await (this.isOver ? this.over : undefined);
    else if (this.#waiting.length === 0 && !this.isOver) this.#connection?.stream.resume();
    return bytes;
  }

  /** From now on what comes is dropped, so that the server comes to an end; `next` returns at once. */
  drop(): void {
    this.#isDropping = true;
    this.#waiting.length = this.#filled = 0;
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

  #put(part: Buffer): void {
    this.#waiting.push(part);
    this.#part = undefined;
    this.#filled = 0;
    this.#wake?.();
  }

  #takeLast(): Buffer | undefined {
    const bytes = this.#part?.subarray(0, this.#filled);
    this.#part = undefined;
    this.#filled = 0;
    return bytes?.length === 0 ? undefined : bytes;
  }
}

/** What takes bytes from the server. */
export interface CopyOutOptions extends CopyOptions {
  /** Whoever takes the chunks gives them back; otherwise each has memory of its own. */
  readonly isLending?: boolean;
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
          copy.isHeld = true;
          yield isLending ? bytes : copyBytes(bytes);
          copy.isHeld = false;
        }
        if (signal.aborted) throw toError(signal.reason);
      } finally {
        signal.removeEventListener('abort', stop);
        copy.isHeld = false;
        if (!copy.isOver) await giveUp(taskConnection, copy);
      }
    },
  };
}

async function giveUp(taskConnection: TaskConnection | ProtocolClient, copy: CopyOut): Promise<void> {
  copy.drop();
  const cancelled =
    taskConnection instanceof TaskConnection
      ? taskConnection.cancel()
      : cancelStatement(taskConnection, COPY_END_MS);
  if (!(await within(Promise.all([cancelled, copy.over]), COPY_END_MS))) copy.cut();
}
