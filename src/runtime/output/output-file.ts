import { lstat, type FileHandle } from 'node:fs/promises';
import { EtlError } from '../../errors.js';

/** A file that is being written under another name. */
export class OutputFile {
  /** Where it will be. */
  readonly path: string;
  readonly temporary: string;
  readonly #handle: FileHandle;
  #inode: bigint | undefined;
  /** So far. */
  bytes = 0;

  constructor(path: string, temporary: string, handle: FileHandle) {
    this.path = path;
    this.temporary = temporary;
    this.#handle = handle;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await this.#handle.write(bytes, done);
      done += bytesWritten;
    }
    this.bytes += bytes.length;
  }

  /** Returns when all of it is on the disk. */
  async close(): Promise<void> {
    await this.#handle.sync();
    const { size, ino } = await this.#handle.stat({ bigint: true });
    await this.#handle.close();
    if (size !== BigInt(this.bytes))
      throw this.#changed(`it has ${size} bytes, and ${this.bytes} were written`);
    this.#inode = ino;
  }

  /** Closes it as it is; it may have been closed. */
  async abandon(): Promise<void> {
    await this.#handle.close();
  }

  /** A file system that takes two names for one would have replaced it by a later file of the same task. */
  async assertPublished(): Promise<void> {
    const { ino } = await lstat(this.path, { bigint: true });
    if (ino !== this.#inode) throw this.#changed('another file was put in its place');
  }

  #changed(why: string): EtlError {
    return new EtlError('ETL-3605', {
      what: `the file "${this.path}" is not what was written`,
      why,
      fix: 'see that nothing else writes there, and that no two names differ in upper and lower case only',
      data: 'do not use the files of this task before it has succeeded',
    });
  }
}
