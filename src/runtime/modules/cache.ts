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

const OTHERS_WRITE = 0o022;
const MONTH_MS = 30 * 24 * 3600 * 1000;

/**
 * The directory for compiled code, below that of the config, or undefined where no safe one can be had: what is there
 * is executed. So: mode 0700, made by this user, no link, and no other writer on the way.
 */
export function findPrivateCache(root: string, getuid: (() => number) | undefined): string | undefined {
  let directory = root;
  for (const name of ['.etl', 'cache', 'config']) {
    directory = join(directory, name);
    if (!isPrivate(directory, getuid)) return undefined;
  }
  return directory;
}

/** What was kept under a name, or undefined. */
export function readCached(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined; // It was never written, or it was removed.
  }
}

/**
 * Keeps `data`, so that nobody ever reads half of it, and removes what was written to its directory a month ago. A disk
 * that is full or read-only is no failure: it costs time at each start, and no more.
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

function removeOld(directory: string): void {
  for (const name of readdirSync(directory)) {
    const file = join(directory, name);
    const written = statSync(file, { throwIfNoEntry: false })?.mtimeMs;
    if (written !== undefined && written < Date.now() - MONTH_MS) rmSync(file, { force: true });
  }
}

/** Creates `directory` where it is missing. */
function isPrivate(directory: string, getuid: (() => number) | undefined): boolean {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    // Only one that exists can do.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) return false;
  }
  const stats = lstatSync(directory);
  if (!stats.isDirectory()) return false;
  return getuid === undefined || (stats.uid === getuid() && (stats.mode & OTHERS_WRITE) === 0);
}
