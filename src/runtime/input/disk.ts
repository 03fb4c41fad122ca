import { open, type FileHandle } from 'node:fs/promises';
import { EtlError } from '../../errors.js';
import { giveBack, takeChunk } from '../../hooks/chunks.js';
import { untilAborted } from '../waiting.js';
import { CHUNK_BYTES } from './input.js';

/**
 * Reads the bytes of a file as they are on the disk, in chunks that can be given back. The next chunk is read while the
 * caller uses the current one. `name` is the name of the file, for messages.
 *
 * Throws `EtlError` ETL-3501 if the file can't be read, and the reason of `signal` if it aborts.
 */
export async function* readDiskChunks(
  path: string,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  signal.throwIfAborted();
  const file = await open(path).catch((error: unknown) => {
    throw createUnreadableError(name, error);
  });
  let next = readPart(file);
  try {
    for (;;) {
      const part = await untilAborted(next, signal).catch((error: unknown) => {
        signal.throwIfAborted();
        throw createUnreadableError(name, error);
      });
      if (part.length === 0) return;
      next = readPart(file);
      yield part;
    }
  } finally {
    // The read of a named pipe may never end, so an aborted task does not wait for it.
    const closed = next.then(giveBack, () => undefined).then(() => file.close());
    if (!signal.aborted) await closed;
  }
}

/**
 * Reads the next part of the file into a chunk of `hooks/chunks.ts`. Returns an empty buffer at the end of the file.
 */
async function readPart(file: FileHandle): Promise<Buffer> {
  const chunk = takeChunk(CHUNK_BYTES);
  const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES);
  return chunk.subarray(0, bytesRead);
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'the path is a directory',
  EACCES: 'this user may not read the file',
};

/** Creates the error ETL-3501 for a file that can't be read. `cause` is the error of the file system. */
export function createUnreadableError(name: string, cause: unknown): EtlError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'an unknown reason';
  return new EtlError('ETL-3501', {
    what: `the file "${name}" can't be read`,
    why: REASONS[code] ?? code,
    fix: 'correct the path; a relative path starts at the directory of the config file',
    cause,
  });
}
