/** Where the parts of a COPY's messages go. */
export interface FrameReaders {
  /** What CopyData messages carry. */
  readonly data: (bytes: Buffer) => void;
  /** Any other message, as it came, in one piece or in several. */
  readonly other: (bytes: Buffer) => void;
}

const COPY_DATA = 0x64;
const READY = 0x5a;
const HEADER_BYTES = 5;

/**
 * Takes the server's messages apart during a COPY, in whatever pieces the socket brings them. The bytes are moved
 * together in the buffer that they came in: nothing is made for a row.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
export class CopyFrames {
  readonly #readers: FrameReaders;
  /** The first bytes of a message whose header is not whole yet. */
  #begun = Buffer.alloc(0);
  /** What is left of a message whose header came with earlier bytes. */
  #left = 0;
  #isData = false;

  constructor(readers: FrameReaders) {
    this.#readers = readers;
  }

  /** Returns undefined, or from ReadyForQuery on the bytes that are not the COPY's any more. */
  read(bytes: Buffer): Buffer | undefined {
    const chunk = this.#begun.length === 0 ? bytes : Buffer.concat([this.#begun, bytes]);
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
        this.#isData = chunk[at] === COPY_DATA;
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
      } else this.#readers.other(chunk.subarray(at, stop));
      at = stop;
    }
    if (end > 0) this.#readers.data(chunk.subarray(0, end));
    return this.#left === 0 && chunk[at] === READY && this.#begun.length === 0
      ? chunk.subarray(at)
      : undefined;
  }
}
