const MAGIC_BYTES = 4;
const MAGIC = 0xfd2fb528;
/** The magic numbers 0x184d2a50 to 0x184d2a5f begin a frame without data, which a reader skips. */
const SKIPPABLE_MAGIC = 0x184d2a50;
/** The size of the field that follows the magic number of a skippable frame: the number of bytes to skip. */
const SKIP_SIZE_BYTES = 4;
const BLOCK_HEADER_BYTES = 3;
const CHECKSUM_BYTES = 4;
/** The sizes of the fields in the header of a frame, by the two bits of the descriptor that say them. */
const DICTIONARY_BYTES = [0, 1, 2, 4];
const CONTENT_BYTES = [0, 2, 4, 8];
/** The type of a block that stores one byte and how often it is repeated. */
const REPEATED_BYTE = 1;

/** The part of a frame that comes next. `skip` and `block` are bytes whose values do not matter here. */
type Part = 'magic' | 'skip size' | 'descriptor' | 'header' | 'block header' | 'skip' | 'block' | 'checksum';

/**
 * Splits the bytes of a zstd file into its frames. The decompressors of Node.js treat a second frame differently in each
 * version, and some of them ignore it. RFC 8878 allows any number of frames in a file, as `pzstd` and `cat` make them.
 * https://www.rfc-editor.org/rfc/rfc8878#name-zstandard-frames
 */
export class ZstdFrames {
  readonly #chunks: AsyncIterator<Buffer>;
  /** The bytes that were read and belong to no frame yet. */
  #rest: Buffer = Buffer.alloc(0);
  #isWhole = true;

  constructor(chunks: AsyncIterable<Buffer>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** False if the file ended, or something else began, before the end of the frame that was read last. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** Returns true if more bytes follow. Call the method when the frame before is read to its end. */
  async hasMore(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) return false;
      this.#rest = next.value;
    }
    return true;
  }

  /**
   * Yields the bytes of the next frame. If the file ends too early, or if no frame begins here, yields all bytes to the
   * end of the file, and `isWhole` is false afterwards.
   */
  async *readFrame(): AsyncGenerator<Buffer> {
    const frame = new FrameEnd();
    this.#isWhole = false;
    while (await this.hasMore()) {
      const bytes = this.#rest;
      const end = frame.find(bytes);
      this.#rest = bytes.subarray(end ?? bytes.length);
      this.#isWhole = end !== undefined;
      yield bytes.subarray(0, end);
      if (end !== undefined) return;
    }
  }

  /** Closes the input. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}

/** Finds the end of one frame in bytes that come in chunks. */
class FrameEnd {
  #part: Part = 'magic';
  /** The number of bytes of the part that are still to come. */
  #left = MAGIC_BYTES;
  /** The bytes of the part that were read so far, unless their values do not matter. */
  #read: number[] = [];
  #hasChecksum = false;
  #isLastBlock = false;
  #isOver = false;

  /** Returns the index after the frame, or undefined if the frame does not end in this chunk. */
  find(chunk: Buffer): number | undefined {
    for (let at = 0; ;) {
      while (this.#left === 0 && !this.#isOver) this.#startNextPart();
      if (this.#isOver) return at;
      if (at === chunk.length) return undefined;
      const taken = Math.min(this.#left, chunk.length - at);
      if (this.#part !== 'block' && this.#part !== 'skip') this.#read.push(...chunk.subarray(at, at + taken));
      this.#left -= taken;
      at += taken;
    }
  }

  /** Decides by the bytes of the part that has just ended which part comes next and how long it is. */
  #startNextPart(): void {
    const value = this.#read.reduceRight((sum, byte) => sum * 256 + byte, 0);
    this.#read = [];
    switch (this.#part) {
      case 'magic':
        return this.#startAfterMagic(value);
      case 'skip size':
        return this.#start('skip', value);
      case 'descriptor':
        return this.#startAfterDescriptor(value);
      case 'header':
        return this.#start('block header', BLOCK_HEADER_BYTES);
      case 'block header': {
        this.#isLastBlock = (value & 1) === 1;
        return this.#start('block', ((value >> 1) & 3) === REPEATED_BYTE ? 1 : value >> 3);
      }
      case 'block':
        if (!this.#isLastBlock) return this.#start('block header', BLOCK_HEADER_BYTES);
        return this.#start('checksum', this.#hasChecksum ? CHECKSUM_BYTES : 0);
      case 'skip':
      case 'checksum':
        this.#isOver = true;
        return undefined;
      default:
        return this.#part satisfies never;
    }
  }

  #startAfterMagic(magic: number): void {
    if (magic === MAGIC) this.#start('descriptor', 1);
    else if (magic - (magic % 16) === SKIPPABLE_MAGIC) this.#start('skip size', SKIP_SIZE_BYTES);
    // No frame begins here. The decompressor gets all bytes, and refuses them.
    else this.#start('skip', Infinity);
  }

  #startAfterDescriptor(descriptor: number): void {
    const isSingleSegment = (descriptor & 0x20) !== 0;
    this.#hasChecksum = (descriptor & 0x04) !== 0;
    const contentBytes = CONTENT_BYTES[descriptor >> 6] || (isSingleSegment ? 1 : 0);
    const windowBytes = isSingleSegment ? 0 : 1;
    this.#start('header', windowBytes + (DICTIONARY_BYTES[descriptor & 3] ?? 0) + contentBytes);
  }

  #start(part: Part, bytes: number): void {
    this.#part = part;
    this.#left = bytes;
  }
}
