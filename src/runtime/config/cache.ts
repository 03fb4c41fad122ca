import { lstatSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

const OTHERS_WRITE = 0o022;

/**
 * The directory for transformed code, below that of the config, or false where no safe one can be had: jiti executes
 * what it finds there. By default it shares one in the temporary directory with every user of the machine, who can
 * put code there for others to execute. So: mode 0700, made by this user, no link, and no other writer on the way.
 */
export function privateCache(root: string, getuid: (() => number) | undefined): string | false {
  let directory = root;
  for (const name of ['.etl', 'cache', 'jiti']) {
    directory = join(directory, name);
    if (!isPrivate(directory, getuid)) return false;
  }
  return directory;
}

/** Creates `directory` where it is missing. */
function isPrivate(directory: string, getuid: (() => number) | undefined): boolean {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    // Only one that exists can do; a file system that is read-only or full costs time at each start, and no more.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) return false;
  }
  const stats = lstatSync(directory);
  if (!stats.isDirectory()) return false;
  return getuid === undefined || (stats.uid === getuid() && (stats.mode & OTHERS_WRITE) === 0);
}
