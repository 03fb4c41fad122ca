import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

/** The bits of a mode that let the group and all other users write. */
const OTHERS_WRITE = 0o022;
const MONTH_MS = 30 * 24 * 3600 * 1000;

/**
 * Opens the cache for compiled code: the directory `.etl/cache/config` below `root`, which is created if it does not
 * exist. Returns undefined if the directory can't be created or is not safe, because its files will be executed.
 *
 * Each of the three directories is safe if it belongs to this user, is not a link, and only this user can write to it.
 * New directories get mode 0700. `getuid` is undefined on Windows, where the owner and the mode are not checked.
 */
export function openCodeCache(root: string, getuid: (() => number) | undefined): CodeCache | undefined {
  let directory = root;
  for (const name of ['.etl', 'cache', 'config']) {
    directory = join(directory, name);
    if (!ensurePrivate(directory, getuid)) return undefined;
  }
  return new CodeCache(directory, getuid);
}

/** Texts of compiled code, by a name that says what each text was made from. */
export class CodeCache {
  readonly #directory: string;
  readonly #getuid: (() => number) | undefined;

  constructor(directory: string, getuid: (() => number) | undefined) {
    this.#directory = directory;
    this.#getuid = getuid;
  }

  /**
   * Returns the text with this name. Returns undefined if its file is missing or is a link, if another user owns the
   * file or can write to it, or if its checksum is wrong, for example after a failure of the disk.
   */
  read(name: string): string | undefined {
    let descriptor: number | undefined;
    try {
      descriptor = openSync(this.#getPath(name), constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
      const stats = fstatSync(descriptor);
      if (!stats.isFile() || !isPrivate(stats, this.#getuid)) return undefined;
      const content = readFileSync(descriptor, 'utf8');
      const end = content.indexOf('\n');
      const text = content.slice(end + 1);
      return content.slice(0, end) === computeChecksum(name, text) ? text : undefined;
    } catch {
      return undefined; // The file was never written, or it was removed.
    } finally {
      if (descriptor !== undefined) closeSync(descriptor);
    }
  }

  /** Stores a text, with its checksum in a line before it. Never throws, as `keep`. */
  write(name: string, text: string): void {
    keep(this.#getPath(name), `${computeChecksum(name, text)}\n${text}`);
  }

  #getPath(name: string): string {
    return join(this.#directory, `${name}.js`);
  }
}

/** Returns the checksum of a text and of its name, because the name says what the text was made from. */
function computeChecksum(name: string, text: string): string {
  return createHash('sha256').update(`${name}\0${text}`).digest('hex');
}

/**
 * Writes a file of the cache. The file appears as a whole, so nobody reads half of it. Also removes files from its
 * directory that are older than 30 days. Never throws: if the disk is full or read-only, only the next start is slower.
 */
export function keep(file: string, data: string | Buffer): void {
  const part = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    writeFileSync(part, data, { mode: 0o600, flag: 'wx' });
    renameSync(part, file);
    removeOld(dirname(file));
  } catch {
    if (existsSync(part)) rmSync(part, { force: true });
  }
}

/** Removes the files of a directory that were written more than 30 days ago. */
function removeOld(directory: string): void {
  for (const name of readdirSync(directory)) {
    const file = join(directory, name);
    const written = statSync(file, { throwIfNoEntry: false })?.mtimeMs;
    if (written !== undefined && written < Date.now() - MONTH_MS) rmSync(file, { force: true });
  }
}

/**
 * Creates the directory if it does not exist. Returns true if only this user can write to it. Returns false for a link,
 * a file, and a directory of another user or one that others can write to.
 */
function ensurePrivate(directory: string, getuid: (() => number) | undefined): boolean {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    // A directory that exists may be safe. Any other error means that there is no directory.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) return false;
  }
  // `lstat` does not follow a link, so a link is not a directory here.
  const stats = lstatSync(directory);
  if (!stats.isDirectory()) return false;
  return isPrivate(stats, getuid);
}

/** Returns true if a file or directory belongs to this user and nobody else can write to it. */
function isPrivate(
  { uid, mode }: { readonly uid: number; readonly mode: number },
  getuid: (() => number) | undefined,
): boolean {
  return getuid === undefined || (uid === getuid() && (mode & OTHERS_WRITE) === 0);
}
