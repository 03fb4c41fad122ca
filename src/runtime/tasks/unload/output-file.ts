import { lstat, type FileHandle } from 'node:fs/promises';
import { EtlError } from '../../../errors.js';

/**
 * The size of one write, in bytes. Chunks of a socket are small, and one write for each would take most of the time.
 */
const BATCH_BYTES = 128 * 1024;
/** The file is synced each time this many bytes were written. Otherwise the sync in `close` would take long. */
const SYNC_BYTES = 32 * 1024 * 1024;

/** A file that is written under a temporary name. While one batch is written, the next batch is collected. */
export class OutputFile {
  /** The final path. */
  readonly path: string;
  /** The path until `publish` of `OutputFiles`. */
  readonly temporaryPath: string;
  readonly #handle: FileHandle;
  /** The inode of the file, which `close` reads. */
  #inode: bigint | undefined;
  /** The next batch. */
  #waiting: PendingWrite[] = [];
  #waitingBytes = 0;
  /** Resolves when the batch that was started last is written. */
  #writing: Promise<void> = Promise.resolve();
  /** The running sync, or the failed sync. Undefined if no sync runs. */
  #syncing: Promise<void> | undefined;
  #unsyncedBytes = 0;
  /** The number of bytes that were given to `write` so far. */
  bytes = 0;

  constructor(path: string, temporary: string, handle: FileHandle) {
    this.path = path;
    this.temporaryPath = temporary;
    this.#handle = handle;
  }

  /**
   * Adds bytes to the next batch. The bytes must not change before `onWritten` is called. Can throw the error of an
   * earlier write.
   */
  async write<Bytes extends Uint8Array>(bytes: Bytes, onWritten?: (bytes: Bytes) => void): Promise<void> {
    this.bytes += bytes.length;
    this.#waiting.push({ bytes, onWritten: onWritten && (() => onWritten(bytes)) });
    this.#waitingBytes += bytes.length;
    if (this.#waitingBytes >= BATCH_BYTES) await this.#startBatch();
  }

  /**
   * Writes the rest and closes the file. Resolves when all bytes are on the disk. Throws `EtlError` ETL-3605 if the
   * file does not have the size that was written.
   */
  async close(): Promise<void> {
    await this.#startBatch();
    await this.#writing;
    await this.#syncing;
    await this.#handle.sync();
    const { size, ino } = await this.#handle.stat({ bigint: true });
    await this.#handle.close();
    if (size !== BigInt(this.bytes))
      throw this.#createChangedError(`it has ${size} bytes, but the task wrote ${this.bytes}`);
    this.#inode = ino;
  }

  /** Closes the file without writing the rest. The file may be closed already. */
  async abandon(): Promise<void> {
    // Their errors are dropped: the caller already handles the first one.
    await Promise.allSettled([this.#writing, this.#syncing]);
    await this.#handle.close();
  }

  /**
   * Throws `EtlError` ETL-3605 if another file is at the final path. This happens if a file system takes two names for
   * the same name: a later file of the task then replaces this file.
   */
  async assertPublished(): Promise<void> {
    const { ino } = await lstat(this.path, { bigint: true });
    if (ino !== this.#inode) throw this.#createChangedError('another file replaced it');
  }

  /**
   * Waits for the previous batch, and starts to write the next batch without waiting for it. So one batch is written while
   * the caller collects another. Also starts a sync if enough bytes were written since the last sync.
   */
  async #startBatch(): Promise<void> {
    await this.#writing;
    const batch = this.#waiting;
    this.#waiting = [];
    this.#unsyncedBytes += this.#waitingBytes;
    this.#waitingBytes = 0;
    this.#writing = writeAll(this.#handle, batch);
    this.#writing.catch(() => undefined); // The next `write` or `close` throws the error.
    if (this.#unsyncedBytes < SYNC_BYTES || this.#syncing !== undefined) return;
    this.#syncing = this.#sync();
    // A file system reports an error only once: to this sync or to the sync of `close`. `close` awaits both, so it throws
    // the error in both cases.
    this.#syncing.catch(() => undefined);
  }

  /** Syncs the bytes that were written so far. If it rejects, `#syncing` stays rejected, and `close` throws the error. */
  async #sync(): Promise<void> {
    this.#unsyncedBytes = 0;
    await this.#handle.datasync();
    this.#syncing = undefined;
  }

  /** Creates the error ETL-3605 for a file that another program or another file of the task has changed. */
  #createChangedError(why: string): EtlError {
    return new EtlError('ETL-3605', {
      what: `the file "${this.path}" is not the file that the task wrote`,
      why,
      fix: 'make sure that nothing else writes there, and that no two names differ only in upper and lower case',
      data: 'do not use the files of this task before it has succeeded',
    });
  }
}

/** Bytes that wait for the next batch, and the callback for when they are written. */
interface PendingWrite {
  readonly bytes: Uint8Array;
  readonly onWritten: (() => void) | undefined;
}

/** Writes a batch. Repeats the system call if it wrote fewer bytes than it was given. */
async function writeAll(handle: FileHandle, batch: readonly PendingWrite[]): Promise<void> {
  let rest: readonly Uint8Array[] = batch.map(({ bytes }) => bytes);
  while (rest.length > 0) {
    const { bytesWritten } = await handle.writev(rest);
    rest = dropBytes(rest, bytesWritten);
  }
  for (const { onWritten } of batch) onWritten?.();
}

/**
 * Returns the parts without their first `bytes` bytes: dropping 5 bytes from parts of 3, 4 and 2 bytes leaves parts of 2
 * and 2 bytes.
 */
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
