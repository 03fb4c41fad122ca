import { createHash, randomUUID } from 'node:crypto';
import { lstat, mkdir, open, rename, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { EtlError } from '../../../errors.js';
import { listDirectories, listEntries, isPartName, buildPath, type Part, type Partition } from './layout.js';
import { OutputFile } from './output-file.js';

/**
 * The files of one unload. Each file is written under a temporary name, which no reader takes for a result. Then all
 * files are renamed and replace the old files. If the process dies in between, the next attempt removes the temporary
 * files.
 */
export class OutputFiles {
  readonly #path: string;
  readonly #partition: Partition | undefined;
  /** The beginning of all temporary names of this owner and path. */
  readonly #prefix: string;
  readonly #files: OutputFile[] = [];
  /** The directories whose entries have changed. */
  readonly #directories = new Set<string>();

  /**
   * `path` is the absolute path of the file, or the path from which the paths of several files are built. `owner` is the
   * task, as `<dag>/<task>`: temporary files of an earlier attempt with the same owner are removed.
   */
  constructor(path: string, partition: Partition | undefined, owner: string) {
    this.#path = path;
    this.#partition = partition;
    const hash = createHash('sha256')
      .update(`${owner}\0${basename(path)}`)
      .digest('hex');
    this.#prefix = `.etl-${hash.slice(0, 16)}-`;
  }

  /**
   * Removes the temporary files of a killed attempt. Throws `EtlError` ETL-3604 if something is at the path that a file must
   * not replace, such as a directory.
   */
  async prepare(): Promise<void> {
    if (this.#partition === undefined) await assertReplaceable(this.#path);
    for (const directory of await listDirectories(this.#path, this.#partition)) {
      for (const { name } of await listEntries(directory))
        if (name.startsWith(this.#prefix)) await rm(join(directory, name), { force: true });
    }
  }

  /** Creates a file under a temporary name. The file before it must be closed. */
  async create(part: Part): Promise<OutputFile> {
    const path = buildPath(this.#path, part, this.#partition);
    const directory = dirname(path);
    await this.#makeDirectory(directory);
    const temporary = join(directory, `${this.#prefix}${randomUUID().slice(0, 8)}.tmp`);
    // 'wx' fails if the name exists, so it follows no link and opens no file of another program.
    const file = new OutputFile(path, temporary, await open(temporary, 'wx'));
    this.#files.push(file);
    return file;
  }

  /**
   * Renames all files to their final names, and removes the files of an earlier run that this run has not written.
   * Resolves when all changes are on the disk.
   */
  async publish(signal: AbortSignal): Promise<readonly OutputFile[]> {
    for (const file of this.#files) {
      signal.throwIfAborted();
      await rename(file.temporaryPath, file.path);
    }
    for (const file of this.#files) await file.assertPublished();
    if (this.#partition !== undefined) await this.#removeStale();
    for (const directory of this.#directories) await syncDirectory(directory);
    return this.#files;
  }

  /** Closes all files and removes those that still have a temporary name. */
  async discard(): Promise<void> {
    for (const file of this.#files) {
      await file.abandon();
      await rm(file.temporaryPath, { force: true });
    }
  }

  /** Makes a directory and its missing parents. Adds all directories that got a new entry to `#directories`. */
  async #makeDirectory(directory: string): Promise<void> {
    // `mkdir` returns the outermost directory that it made. Undefined if the directory exists already.
    const first = await mkdir(directory, { recursive: true });
    this.#directories.add(directory);
    if (first === undefined) return;
    // From the directory up to `first`, each one is a new entry of its parent.
    for (let made = directory; made.length >= first.length; made = dirname(made))
      this.#directories.add(dirname(made));
  }

  /** Removes the files of earlier runs that this run has not written, and the directories that are empty then. */
  async #removeStale(): Promise<void> {
    const written = new Set(this.#files.map((file) => file.path));
    for (const directory of await listDirectories(this.#path, this.#partition)) {
      const stale = (await listEntries(directory))
        .filter((entry) => entry.isFile() && isPartName(entry.name, this.#path, this.#partition))
        .map(({ name }) => join(directory, name))
        .filter((each) => !written.has(each));
      for (const each of stale) await rm(each);
      if (stale.length === 0) continue;
      this.#directories.add(directory);
      // Only a directory such as `country=DE` belongs to the unload. The user's own directory stays.
      if (directory !== dirname(this.#path)) await this.#removeIfEmpty(directory);
    }
  }

  /** Removes a directory if it has no entries. Then its parent is synced instead. */
  async #removeIfEmpty(directory: string): Promise<void> {
    if ((await listEntries(directory)).length > 0) return;
    await rmdir(directory);
    this.#directories.delete(directory);
    this.#directories.add(dirname(directory));
  }
}

/**
 * Throws `EtlError` ETL-3604 if the path is a device, a pipe, a socket or a directory, which a file must not replace.
 * If the path is a link, the file replaces the link and not the file behind it.
 */
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

/** The errors of file systems and operating systems that can't sync a directory. */
const CANNOT_SYNC: ReadonlySet<string | undefined> = new Set(['EISDIR', 'EPERM', 'EINVAL', 'ENOTSUP']);

/** Syncs a directory, so that new names survive a power failure. Does nothing where directories can't be synced. */
async function syncDirectory(directory: string): Promise<void> {
  try {
    await using handle = await open(directory, 'r');
    await handle.sync();
  } catch (error) {
    if (!CANNOT_SYNC.has((error as NodeJS.ErrnoException).code)) throw error;
  }
}
