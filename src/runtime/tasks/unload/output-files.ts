import { createHash, randomUUID } from 'node:crypto';
import { lstat, mkdir, open, rename, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { EtlError } from '../../../errors.js';
import { listDirectories, listEntries, isPartName, buildPath, type Part, type Partition } from './layout.js';
import { OutputFile } from './output-file.js';

export interface OutputPlan {
  /** Absolute. */
  readonly path: string;
  readonly partition: Partition | undefined;
  /** Who writes it: what an earlier attempt of the same owner has left half done is removed. */
  readonly owner: string;
}

/**
 * The files of one unload. Each is written under a name that no reader takes for a result; then all get their own
 * names, in the place of what was there. A process that dies in between leaves what the next attempt removes.
 */
export class OutputFiles {
  readonly #plan: OutputPlan;
  readonly #prefix: string;
  readonly #files: OutputFile[] = [];
  /** Those whose entries have changed. */
  readonly #directories = new Set<string>();

  constructor(plan: OutputPlan) {
    this.#plan = plan;
    const owner = createHash('sha256')
      .update(`${plan.owner}\0${basename(plan.path)}`)
      .digest('hex');
    this.#prefix = `.etl-${owner.slice(0, 16)}-`;
  }

  /** Removes what a killed attempt has left, and refuses a path that is no place for a file. */
  async prepare(): Promise<void> {
    if (this.#plan.partition === undefined) await assertReplaceable(this.#plan.path);
    for (const directory of await this.#listDirectories()) {
      for (const { name } of await listEntries(directory))
        if (name.startsWith(this.#prefix)) await rm(join(directory, name), { force: true });
    }
  }

  /** Begins a file; the one before it must have been closed. */
  async create(part: Part): Promise<OutputFile> {
    const path = buildPath(this.#plan.path, part, this.#plan.partition);
    const directory = dirname(path);
    await this.#makeDirectory(directory);
    const temporary = join(directory, `${this.#prefix}${randomUUID().slice(0, 8)}.tmp`);
    // 'wx' follows no link and opens no file of somebody else.
    const file = new OutputFile(path, temporary, await open(temporary, 'wx'));
    this.#files.push(file);
    return file;
  }

  /**
   * Gives all files their names, and removes the parts of an earlier run that this one has not written. When it
   * returns, all of it is on the disk.
   */
  async publish(signal: AbortSignal): Promise<readonly OutputFile[]> {
    for (const file of this.#files) {
      signal.throwIfAborted();
      await rename(file.temporaryPath, file.path);
    }
    for (const file of this.#files) await file.assertPublished();
    if (this.#plan.partition !== undefined) await this.#removeStale();
    for (const directory of this.#directories) await syncDirectory(directory);
    return this.#files;
  }

  /** Removes whatever has not got its name. */
  async discard(): Promise<void> {
    for (const file of this.#files) {
      await file.abandon();
      await rm(file.temporaryPath, { force: true });
    }
  }

  async #listDirectories(): Promise<ReadonlySet<string>> {
    const { path, partition } = this.#plan;
    return new Set(await listDirectories(path, partition));
  }

  async #makeDirectory(directory: string): Promise<void> {
    const first = await mkdir(directory, { recursive: true });
    this.#directories.add(directory);
    if (first === undefined) return;
    for (let made = directory; made.length >= first.length; made = dirname(made))
      this.#directories.add(dirname(made));
  }

  async #removeStale(): Promise<void> {
    const { path, partition } = this.#plan;
    const written = new Set(this.#files.map((file) => file.path));
    for (const directory of await this.#listDirectories()) {
      const stale = (await listEntries(directory))
        .filter((entry) => entry.isFile() && isPartName(entry.name, path, partition))
        .map(({ name }) => join(directory, name))
        .filter((each) => !written.has(each));
      for (const each of stale) await rm(each);
      if (stale.length > 0) this.#directories.add(directory);
      if (stale.length > 0 && directory !== dirname(path)) await this.#removeEmpty(directory);
    }
  }

  async #removeEmpty(directory: string): Promise<void> {
    if ((await listEntries(directory)).length > 0) return;
    await rmdir(directory);
    this.#directories.delete(directory);
    this.#directories.add(dirname(directory));
  }
}

/** A device, a pipe or a directory can't be replaced by a file without harm; a link is, its target is not. */
async function assertReplaceable(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined || found.isFile() || found.isSymbolicLink()) return;
  throw new EtlError('ETL-3604', {
    what: `"${path}" can't be replaced by a file`,
    why: found.isDirectory() ? 'it is a directory' : 'it is a device, a pipe or a socket',
    fix: 'unload to the path of a file',
    data: 'no file was written',
  });
}

/** What a file system answers that has no such thing, or an operating system. */
const CANNOT_SYNC: ReadonlySet<string | undefined> = new Set(['EISDIR', 'EPERM', 'EINVAL', 'ENOTSUP']);

/** So that the new name outlives a power failure, too. */
async function syncDirectory(directory: string): Promise<void> {
  try {
    await using handle = await open(directory, 'r');
    await handle.sync();
  } catch (error) {
    if (!CANNOT_SYNC.has((error as NodeJS.ErrnoException).code)) throw error;
  }
}
