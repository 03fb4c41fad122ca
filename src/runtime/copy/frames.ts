import type { Connection } from 'pg';
import { giveBack } from '../../hooks/chunks.js';

/** The messages that are taken out: CopyData, or DataRow. */
export type FrameType = 'd' | 'D';

/** Where the parts of the server's messages go. */
export interface FrameReaders {
  readonly type: FrameType;
  /** What messages of that type carry. */
  readonly data: (bytes: Buffer) => void;
  /** Any other message, as it came, in one piece or in several: a copy, because what has the data may be used again. */
  readonly other: (bytes: Buffer) => void;
}

const READY = 0x5a;
const HEADER_BYTES = 5;

/**
 * Takes the server's messages apart, in whatever pieces the socket brings them. The bytes are moved
 * together in the buffer that they came in: nothing is made for a row.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
export class Frames {
  readonly #readers: FrameReaders;
  readonly #type: number;
  /** The first bytes of a message whose header is not whole yet. */
  #begun = Buffer.alloc(0);
  /** What is left of a message whose header came with earlier bytes. */
  #left = 0;
  #isData = false;

  constructor(readers: FrameReaders) {
    this.#readers = readers;
    this.#type = readers.type.charCodeAt(0);
  }

  /** Returns undefined, or from ReadyForQuery on the bytes that are not the statement's any more. */
  read(bytes: Buffer): Buffer | undefined {
    const chunk = this.#begun.length === 0 ? bytes : this.#joinPart(bytes);
    this.#begun = Buffer.alloc(0);
    let at = 0;
    let end = 0;
    while (at < chunk.length) {
      if (this.#left === 0) {
        if (chunk[at] === READY) break;
        if (chunk.length - at < HEADER_BYTES) {
          this.#begun = Buffer.from(chunk.subarray(at));
          break;
        }
        this.#isData = chunk[at] === this.#type;
        this.#left = chunk.readUInt32BE(at + 1) + 1;
        if (this.#isData) {
          at += HEADER_BYTES;
          this.#left -= HEADER_BYTES;
        }
      }
      const stop = Math.min(at + this.#left, chunk.length);
      this.#left -= stop - at;
      if (this.#isData) {
        if (end !== at) chunk.copyWithin(end, at, stop);
        end += stop - at;
      } else this.#readers.other(Buffer.from(chunk.subarray(at, stop)));
      at = stop;
    }
    if (end > 0) this.#readers.data(chunk.subarray(0, end));
    return this.#left === 0 && chunk[at] === READY && this.#begun.length === 0
      ? Buffer.from(chunk.subarray(at))
      : undefined;
  }

  #joinPart(bytes: Buffer): Buffer {
    const whole = Buffer.concat([this.#begun, bytes]);
    giveBack(bytes);
    return whole;
  }
}

/**
 * Reads the socket in place of pg, which would make an object of each row, until the statement that is sent next is
 * done; whatever is not of the readers' type goes on to pg.
 *
 * In a transaction nothing comes between the end of one statement and the next but the server's last word, so that the
 * first byte here is that of a message.
 */
export function readInPlace({ stream }: Connection, readers: Omit<FrameReaders, 'other'>): void {
  const listeners = stream.listeners('data') as ((bytes: Buffer) => void)[];
  const pass = (bytes: Buffer): void => listeners.forEach((listener) => listener.call(stream, bytes));
  const frames = new Frames({ ...readers, other: pass });
  const onData = (bytes: Buffer): void => {
    const rest = frames.read(bytes);
    if (rest === undefined) return;
    stream.removeListener('data', onData);
    for (const listener of listeners) stream.on('data', listener);
    // A reader may have paused it, and what comes next is not its own.
    stream.resume();
    pass(rest);
  };
  for (const listener of listeners) stream.removeListener('data', listener);
  stream.on('data', onData);
}
