import { randomBytes } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
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
 * Creates the directory for compiled code, `.etl/cache/config` below `root`, and returns its path. Returns undefined if
 * the directory can't be created or is not safe, because its files will be executed.
 *
 * Each of the three directories is safe if it belongs to this user, is not a link, and only this user can write to it.
 * New directories get mode 0700. `getuid` is undefined on Windows, where the owner and the mode are not checked.
 */
export function createPrivateCache(root: string, getuid: (() => number) | undefined): string | undefined {
  let directory = root;
  for (const name of ['.etl', 'cache', 'config']) {
    directory = join(directory, name);
    if (!ensurePrivate(directory, getuid)) return undefined;
  }
  return directory;
}

/** Reads a file of the cache. Returns undefined if the file can't be read. */
export function readCached(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined; // The file was never written, or it was removed.
  }
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
  return getuid === undefined || (stats.uid === getuid() && (stats.mode & OTHERS_WRITE) === 0);
}
