import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import type { Transform } from 'node:stream';
import { createCompressor } from './compression.js';
import type { OutputFile } from './output-file.js';
import type { UnloadCompression } from './output-target.js';

/** Takes whole records, in the form of its COPY, and puts them into one file. */
export interface RowWriter {
  /** `onWritten` is called once nothing reads the bytes any more. */
  write(records: Buffer, onWritten?: (records: Buffer) => void): Promise<void>;
  /** After this the file is complete, and open. */
  end(): Promise<void>;
  /** Lets go of what it holds; after `end` that is nothing. */
  abandon(): void;
}

/** Writes records as they come, through the compression. */
export function createTextWriter(file: OutputFile, compression: UnloadCompression): RowWriter {
  if (compression === 'none') {
    return {
      write: (records, onWritten) => file.write(records, onWritten),
      end: async () => {},
      abandon: () => {},
    };
  }
  return new CompressedWriter(createCompressor(compression).stream(), file);
}

class CompressedWriter implements RowWriter {
  readonly #stream: Transform;
  readonly #written: Promise<void>;

  constructor(stream: Transform, file: OutputFile) {
    this.#stream = stream;
    this.#written = pipeline(stream, async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of chunks) await file.write(chunk);
    });
    // The next `write` or `end` throws it; an abandoned file needs no error.
    this.#written.catch(() => undefined);
  }

  async write(records: Buffer, onWritten?: (records: Buffer) => void): Promise<void> {
    if (this.#stream.write(records, (error) => error || onWritten?.(records))) return;
    await Promise.race([once(this.#stream, 'drain'), this.#written]);
  }

  async end(): Promise<void> {
    this.#stream.end();
    await this.#written;
  }

  abandon(): void {
    this.#stream.destroy();
  }
}
