import { createReadStream } from 'node:fs';
import { EtlError } from '../../errors.js';
import { CHUNK_BYTES } from './source.js';

/** How a file is read. */
export interface DiskReading {
  readonly signal: AbortSignal;
  /** As much as is read at a time. Default `CHUNK_BYTES`. */
  readonly bytes?: number | undefined;
}

/** The bytes of a file as it is. Throws `EtlError` ETL-3501, and the reason of `signal`. `name` is for messages. */
export async function* diskChunks(
  path: string,
  name: string,
  { signal, bytes = CHUNK_BYTES }: DiskReading,
): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: bytes, signal })) {
      yield chunk as Buffer;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw (error as NodeJS.ErrnoException).syscall === undefined ? error : unreadable(name, error);
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a directory',
  EACCES: 'it may not be read by this user',
};

/** The error of a file that can't be read, for this reason. */
export function unreadable(name: string, cause: unknown): EtlError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'an unknown reason';
  return new EtlError('ETL-3501', {
    what: `the file "${name}" can't be read`,
    why: REASONS[code] ?? code,
    fix: 'the path starts at the directory of the config file',
    cause,
  });
}
