import { open, type FileHandle } from 'node:fs/promises';
import { EtlError } from '../../errors.js';
import { giveBack, takeChunk } from '../../hooks/chunks.js';
import { untilAborted } from '../waiting.js';
import { CHUNK_BYTES } from './input.js';

/**
 * The bytes of a file as it is, one part ahead, in chunks that can be given back. Throws `EtlError` ETL-3501, and the
 * reason of `signal`. `name` is for messages.
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
    // A pipe may never give the part that is asked for.
    const closed = next.then(giveBack, () => undefined).then(() => file.close());
    if (!signal.aborted) await closed;
  }
}

async function readPart(file: FileHandle): Promise<Buffer> {
  const chunk = takeChunk(CHUNK_BYTES);
  const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES);
  return chunk.subarray(0, bytesRead);
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a directory',
  EACCES: 'it may not be read by this user',
};

/** The error of a file that can't be read, for this reason. */
export function createUnreadableError(name: string, cause: unknown): EtlError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'an unknown reason';
  return new EtlError('ETL-3501', {
    what: `the file "${name}" can't be read`,
    why: REASONS[code] ?? code,
    fix: 'the path starts at the directory of the config file',
    cause,
  });
}
