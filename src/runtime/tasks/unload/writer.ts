import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import type { Transform } from 'node:stream';
import { createCompressor } from './compression.js';
import type { OutputFile } from './output-file.js';
import type { UnloadCompression } from './output-target.js';

/** Writes complete records of a COPY to one file. */
export interface RowWriter {
  /** Writes records. `onWritten` is called when the bytes are no longer in use. */
  write(records: Buffer, onWritten?: (records: Buffer) => void): Promise<void>;
  /** Writes the rest of the data. The file is complete then, but still open. */
  end(): Promise<void>;
  /** Releases memory and streams without writing the rest. Does nothing after `end`. */
  abandon(): void;
}

/** Creates a writer that writes records unchanged, through the compression. */
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
    // The next `write` or `end` throws the error. For an abandoned file the error does not matter.
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
