import { lstat, type FileHandle } from 'node:fs/promises';
import { EtlError } from '../../../errors.js';

/** Chunks of a socket are small: a write each would take longer than the rest of the way. */
const BATCH_BYTES = 128 * 1024;
/** So much goes to the disk while the next is written; otherwise the end would wait for all of it. */
const SYNC_BYTES = 32 * 1024 * 1024;

/** A file that is being written under another name. While one batch is written the next is collected. */
export class OutputFile {
  /** Where it will be. */
  readonly path: string;
  readonly temporaryPath: string;
  readonly #handle: FileHandle;
  #inode: bigint | undefined;
  #waiting: PendingWrite[] = [];
  #waitingBytes = 0;
  #writing: Promise<void> = Promise.resolve();
  #syncing: Promise<void> | undefined;
  #unsyncedBytes = 0;
  /** So far. */
  bytes = 0;

  constructor(path: string, temporary: string, handle: FileHandle) {
    this.path = path;
    this.temporaryPath = temporary;
    this.#handle = handle;
  }

  /** Keeps the bytes: they must not change before `onWritten`. May throw the error of an earlier call. */
  async write<Bytes extends Uint8Array>(bytes: Bytes, onWritten?: (bytes: Bytes) => void): Promise<void> {
    this.bytes += bytes.length;
    this.#waiting.push({ bytes, onWritten: onWritten && (() => onWritten(bytes)) });
    this.#waitingBytes += bytes.length;
    if (this.#waitingBytes >= BATCH_BYTES) await this.#startBatch();
  }

  /** Returns when all of it is on the disk. */
  async close(): Promise<void> {
    await this.#startBatch();
    await this.#writing;
    await this.#syncing;
    await this.#handle.sync();
    const { size, ino } = await this.#handle.stat({ bigint: true });
    await this.#handle.close();
    if (size !== BigInt(this.bytes))
      throw this.#createChangedError(`it has ${size} bytes, and ${this.bytes} were written`);
    this.#inode = ino;
  }

  /** Closes it as it is; it may have been closed. */
  async abandon(): Promise<void> {
    // The error that it is abandoned for.
    await Promise.allSettled([this.#writing, this.#syncing]);
    await this.#handle.close();
  }

  /** A file system that takes two names for one would have replaced it by a later file of the same task. */
  async assertPublished(): Promise<void> {
    const { ino } = await lstat(this.path, { bigint: true });
    if (ino !== this.#inode) throw this.#createChangedError('another file was put in its place');
  }

  async #startBatch(): Promise<void> {
    await this.#writing;
    const batch = this.#waiting;
    this.#waiting = [];
    this.#unsyncedBytes += this.#waitingBytes;
    this.#waitingBytes = 0;
    this.#writing = writeAll(this.#handle, batch);
    this.#writing.catch(() => undefined); // Whoever waits for it gets it.
    if (this.#unsyncedBytes < SYNC_BYTES || this.#syncing !== undefined) return;
    this.#syncing = this.#sync();
    this.#syncing.catch(() => undefined); // A file system tells an error once, here or in `close`, which throws both.
  }

  async #sync(): Promise<void> {
    this.#unsyncedBytes = 0;
    await this.#handle.datasync();
    this.#syncing = undefined;
  }

  #createChangedError(why: string): EtlError {
    return new EtlError('ETL-3605', {
      what: `the file "${this.path}" is not what was written`,
      why,
      fix: 'see that nothing else writes there, and that no two names differ in upper and lower case only',
      data: 'do not use the files of this task before it has succeeded',
    });
  }
}

interface PendingWrite {
  readonly bytes: Uint8Array;
  readonly onWritten: (() => void) | undefined;
}

/** A system call may write less than it was given. */
async function writeAll(handle: FileHandle, batch: readonly PendingWrite[]): Promise<void> {
  let rest: readonly Uint8Array[] = batch.map(({ bytes }) => bytes);
  while (rest.length > 0) {
    const { bytesWritten } = await handle.writev(rest);
    rest = dropBytes(rest, bytesWritten);
  }
  for (const { onWritten } of batch) onWritten?.();
}

/** What comes after so many bytes. */
function dropBytes(parts: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let skipped = bytes;
  const first = parts.findIndex((part) => {
    if (skipped < part.length) return true;
    skipped -= part.length;
    return false;
  });
  if (first === -1) return [];
  return [parts[first]?.subarray(skipped) ?? new Uint8Array(), ...parts.slice(first + 1)];
}
