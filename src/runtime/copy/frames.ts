import type { Connection } from 'pg';
import { giveBack } from '../../hooks/chunks.js';

/** The type of the messages whose content is read here: `d` is CopyData, `D` is DataRow. */
export type FrameType = 'd' | 'D';

/** The receivers of the server's messages. */
export interface FrameReaders {
  readonly type: FrameType;
  /** Receives the content of the messages of `type`, without their headers. */
  readonly data: (bytes: Buffer) => void;
  /**
   * Receives every other message with its header, in one piece or in several. The bytes are a copy, because the memory
   * of the original may be used again.
   */
  readonly other: (bytes: Buffer) => void;
}

/** The type byte of ReadyForQuery. */
const READY = 0x5a;
const HEADER_BYTES = 5;

/**
 * Splits the bytes of the socket into messages, wherever the socket cuts them. The content of the messages is moved to
 * the front of the buffer that the socket delivered, so that no object is created for a row.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
export class Frames {
  readonly #readers: FrameReaders;
  readonly #type: number;
  /** The first bytes of a message whose header is incomplete. */
  #partialHeader = Buffer.alloc(0);
  /** The number of bytes that are still missing of the current message. */
  #left = 0;
  /** Whether the current message is of the readers' type. */
  #isData = false;

  constructor(readers: FrameReaders) {
    this.#readers = readers;
    this.#type = readers.type.charCodeAt(0);
  }

  /**
   * Reads the next bytes of the socket. Calls the readers with the messages in them. Returns the bytes from
   * ReadyForQuery on, which no longer belong to the statement. Returns undefined if ReadyForQuery has not arrived.
   */
  read(bytes: Buffer): Buffer | undefined {
    const chunk = this.#partialHeader.length === 0 ? bytes : this.#joinPart(bytes);
    this.#partialHeader = Buffer.alloc(0);
    let at = 0;
    /** The content of the messages so far is in `chunk`, up to this index. */
    let end = 0;
    while (at < chunk.length) {
      if (this.#left === 0) {
        if (chunk[at] === READY) break;
        if (chunk.length - at < HEADER_BYTES) {
          this.#partialHeader = Buffer.from(chunk.subarray(at));
          break;
        }
        this.#isData = chunk[at] === this.#type;
        // The length in the header counts itself, but not the type byte.
        this.#left = chunk.readUInt32BE(at + 1) + 1;
        if (this.#isData) {
          at += HEADER_BYTES;
          this.#left -= HEADER_BYTES;
        }
      }
      const stop = Math.min(at + this.#left, chunk.length);
      this.#left -= stop - at;
      if (this.#isData) {
        // Overwrites the headers before, which are read already.
        if (end !== at) chunk.copyWithin(end, at, stop);
        end += stop - at;
      } else this.#readers.other(Buffer.from(chunk.subarray(at, stop)));
      at = stop;
    }
    if (end > 0) this.#readers.data(chunk.subarray(0, end));
    return this.#left === 0 && chunk[at] === READY && this.#partialHeader.length === 0
      ? Buffer.from(chunk.subarray(at))
      : undefined;
  }

  /**
   * Returns the incomplete header of the chunk before and the new bytes as one buffer. Gives the chunk of `bytes` back.
   */
  #joinPart(bytes: Buffer): Buffer {
    const whole = Buffer.concat([this.#partialHeader, bytes]);
    giveBack(bytes);
    return whole;
  }
}

/**
 * Reads the socket instead of pg, until the next statement is done. pg would create an object for each row. Messages
 * that are not of the readers' type are passed to pg.
 *
 * In a transaction the server sends nothing between the ReadyForQuery of one statement and the first answer to the next
 * statement. The first byte that arrives here is therefore the first byte of a message.
 */
export function readFrames({ stream }: Connection, readers: Omit<FrameReaders, 'other'>): void {
  const listeners = stream.listeners('data') as ((bytes: Buffer) => void)[];
  const pass = (bytes: Buffer): void => listeners.forEach((listener) => listener.call(stream, bytes));
  const frames = new Frames({ ...readers, other: pass });
  const onData = (bytes: Buffer): void => {
    const rest = frames.read(bytes);
    if (rest === undefined) return;
    stream.removeListener('data', onData);
    for (const listener of listeners) stream.on('data', listener);
    // A reader may have paused the socket, and the next bytes do not belong to this reader.
    stream.resume();
    pass(rest);
  };
  for (const listener of listeners) stream.removeListener('data', listener);
  stream.on('data', onData);
}
