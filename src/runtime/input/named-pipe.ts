import { constants, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { toError } from '../../errors.js';
import { toBuffer } from '../postgres/value-text.js';
import { createUnreadableError } from './disk.js';
import type { DiskFile } from './input.js';

/**
 * Reads the bytes of a named pipe. The pipe is opened without waiting for its writer, and is read by the event loop: a
 * thread that waits in the system call could not be stopped, and the process could not end.
 *
 * Throws `EtlError` ETL-3501 if the pipe can't be read, and the reason of `signal` if it aborts.
 */
export async function* readPipeChunks(found: DiskFile, signal: AbortSignal): AsyncGenerator<Buffer> {
  signal.throwIfAborted();
  const pipe = openPipe(found);
  const stop = (): void => void pipe.destroy(toError(signal.reason));
  signal.addEventListener('abort', stop, { once: true });
  try {
    for await (const part of pipe as AsyncIterable<Buffer>) yield toBuffer(part);
  } catch (error) {
    signal.throwIfAborted();
    throw createUnreadableError(found.name, error);
  } finally {
    signal.removeEventListener('abort', stop);
    pipe.destroy();
  }
}

function openPipe({ path, name }: DiskFile): Socket {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return new Socket({ fd, readable: true, writable: false });
  } catch (error) {
    throw createUnreadableError(name, error);
  }
}
