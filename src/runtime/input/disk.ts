import { open, type FileHandle } from 'node:fs/promises';
import { EtlError } from '../../errors.js';
import { giveBack, takeChunk } from '../../hooks/chunks.js';
import { untilAborted } from '../waiting.js';
import { CHUNK_BYTES, type DiskFile } from './input.js';

/**
 * Reads the bytes of a file as they are on the disk, in chunks that can be given back. The next chunk is read while the
 * caller uses the current one.
 *
 * Throws `EtlError` ETL-3501 if the file can't be read, ETL-3571 if the file is not the same at the end as in
 * `found.state`, and the reason of `signal` if it aborts.
 */
export async function* readDiskChunks(found: DiskFile, signal: AbortSignal): AsyncGenerator<Buffer> {
  signal.throwIfAborted();
  const file = await open(found.path).catch((error: unknown) => {
    throw createUnreadableError(found.name, error);
  });
  let next = readPart(file);
  let bytes = 0;
  try {
    for (;;) {
      const part = await untilAborted(next, signal).catch((error: unknown) => {
        signal.throwIfAborted();
        throw createUnreadableError(found.name, error);
      });
      if (part.length === 0) return await assertUnchanged(found, file, bytes);
      bytes += part.length;
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

/**
 * Throws ETL-3571 if somebody has written to the file or replaced it since the load found it: the bytes that were read
 * may then be a part of the file, or parts of two versions of it. `bytes` is the number of bytes that were read up to the
 * end of the file. Undefined if only a part was read.
 *
 * Only a regular file has a size before it is read: a named pipe has none. Files whose content the system makes, as in
 * `/proc`, have the size 0.
 */
export async function assertUnchanged(
  { name, state: before }: DiskFile,
  file: FileHandle,
  bytes?: number,
): Promise<void> {
  if (!before.isFile()) return;
  const now = await file.stat({ bigint: true });
  const read = bytes === undefined || before.size === 0n ? now.size : BigInt(bytes);
  const isSame = now.ino === before.ino && now.dev === before.dev && now.mtimeNs === before.mtimeNs;
  if (isSame && now.size === before.size && read === before.size) return;
  const size = now.size === before.size ? read : now.size;
  throw new EtlError('ETL-3571', {
    what: `the file "${name}" changed while the load read it`,
    why:
      size === before.size
        ? 'another program wrote to it or replaced it'
        : `it had ${before.size} bytes when the load began, and ${size} bytes at its end`,
    fix: 'load a file only when it is complete: write it under another name and rename it; set `retries` to read it again',
  });
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'the path is a directory',
  EACCES: 'this user may not read the file',
};

/** Says in words why a file can't be read. `cause` is the error of the file system. */
export function explainFileError(cause: unknown): string {
  const code = (cause as NodeJS.ErrnoException).code ?? 'an unknown reason';
  return REASONS[code] ?? code;
}

/** Creates the error ETL-3501 for a file that can't be read. `cause` is the error of the file system. */
export function createUnreadableError(name: string, cause: unknown): EtlError {
  return new EtlError('ETL-3501', {
    what: `the file "${name}" can't be read`,
    why: explainFileError(cause),
    fix: "correct the path; a relative path starts at the directory of the Dag's config file, else at the working directory",
    cause,
  });
}
