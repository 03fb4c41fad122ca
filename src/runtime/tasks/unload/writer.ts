import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import { createCompressor } from './compression.js';
import type { OutputFile } from './output-file.js';
import type { UnloadCompression } from './output-target.js';

/** Writes complete records of a COPY to one file. */
export interface RowWriter {
  /** Writes records. `onWritten` is called when the bytes are no longer in use. */
  write(records: Buffer, onWritten?: (records: Buffer) => void): Promise<void>;
  /** Writes the rest of the data. The file is complete then, but still open. */
  end(): Promise<void>;
  /** Releases streams without writing the rest. Does nothing after `end`. */
  abandon?(): void;
}

/**
 * Creates a writer that writes records unchanged, through the compression. `write` waits if the compression has no room.
 * An error of the compression or of the file rejects a later `write`, or `end`.
 */
export function createTextWriter(file: OutputFile, compression: UnloadCompression): RowWriter {
  if (compression === 'none')
    return { write: (records, onWritten) => file.write(records, onWritten), end: async () => {} };
  const stream = createCompressor(compression).stream();
  const written = pipeline(stream, async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) await file.write(chunk);
  });
  // The next `write` or `end` throws the error. For an abandoned file the error does not matter.
  written.catch(() => undefined);
  return {
    write: async (records, onWritten) => {
      // Node.js calls the callback when the stream has read the records. After an error they are not given back.
      if (stream.write(records, (error) => error || onWritten?.(records))) return;
      // If writing the file fails, the stream never drains: then `written` rejects.
      await Promise.race([once(stream, 'drain'), written]);
    },
    end: async () => {
      stream.end();
      await written;
    },
    abandon: () => void stream.destroy(),
  };
}
