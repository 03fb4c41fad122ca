import { randomBytes } from 'node:crypto';
import { link, readFile, readlink, rename, unlink, writeFile } from 'node:fs/promises';
import { getPriority, hostname } from 'node:os';
import { EtlError } from '../../errors.js';
import { getCode } from '../connect-error.js';

/**
 * The lock of one process on a directory. It ends with `release`. Another process can take it over after this process
 * ends.
 */
export interface DirectoryLock {
  /** Removes the lock file. A second call does nothing. */
  release(): Promise<void>;
}

/**
 * Locks a directory for this process with the lock file `<directory>.lock` beside it. Rejects with ETL-7502 if a
 * process that can be alive has the lock. Takes over the lock of a dead process; if many processes try at once, exactly
 * one gets it. `directory` must be the real path, because another name of the directory would have another lock file.
 */
export async function lockDirectory(directory: string, pid: number): Promise<DirectoryLock> {
  const path = `${directory}.lock`;
  const token = randomBytes(6).toString('hex');
  const me: Holder = {
    token,
    pid,
    host: hostname(),
    since: new Date().toISOString(),
    ...(await identifyProcess(pid)),
  };
  // The complete file is linked to its final name, so no process reads half a lock file.
  const draft = `${path}.${token}.new`;
  await writeFile(draft, JSON.stringify(me), { flag: 'wx' });
  try {
    await seizeLock(path, draft, me);
  } finally {
    await unlink(draft);
  }
  return {
    release: async () => {
      if ((await readHolder(path))?.token === token) await unlink(path);
    },
  };
}

/** The content of a lock file: the process that holds the lock. */
interface Holder {
  /** A random ID of this lock. It tells this lock file from a later one at the same path. */
  readonly token: string;
  readonly pid: number;
  readonly host: string;
  /** When the process locked the directory, in ISO 8601. */
  readonly since: string;
  /** When the process started, in clock ticks after boot. It tells the process from a later one with the same pid. */
  readonly started?: string;
  /** The ID of the machine's boot. */
  readonly boot?: string;
  /** The pid namespace. Containers with the same host name have different pid namespaces. */
  readonly pidSpace?: string;
}

/**
 * Puts the complete lock file `draft` at `path`. Throws ETL-7502 if a process that can be alive has the lock.
 *
 * To replace the file of a dead holder, a process first locks the succession file `<path>.<token of the dead holder>`,
 * in the same way. Without the succession file, a slow process could remove the new lock file of a faster process,
 * because the slow process still takes it for the file of the dead holder.
 */
async function seizeLock(path: string, draft: string, me: Holder): Promise<void> {
  for (;;) {
    // Creating a link fails if the file exists, so exactly one process gets the lock.
    if (await createLink(draft, path)) return;
    const found = await readHolder(path);
    if (found === undefined) continue; // The holder has released the lock in the meantime.
    if (await mayBeAlive(found, me)) throw createDirectoryLockedError(path, found, me);
    const succession = `${path}.${found.token}`;
    await seizeLock(succession, draft, me);
    // This process now may replace the file of the dead holder, if that file is still at `path`. The succession file
    // has the same content as the draft, so it becomes the lock file.
    if ((await readHolder(path))?.token === found.token) {
      await rename(succession, path);
      return;
    }
    await unlink(succession); // Another process has already replaced the dead holder's file.
  }
}

/** Creates a hard link. Returns false if `path` exists. */
async function createLink(existing: string, path: string): Promise<boolean> {
  try {
    await link(existing, path);
    return true;
  } catch (error) {
    if (getCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Reads a lock file. Returns undefined if there is no file. Throws ETL-7502 if etl did not write the file. */
async function readHolder(path: string): Promise<Holder | undefined> {
  const text = await readTextIfPresent(path);
  if (text === undefined) return undefined;
  try {
    const holder = JSON.parse(text) as Holder;
    // The token becomes part of a file name.
    if (/^[0-9a-f]{12}$/.test(holder.token) && Number.isSafeInteger(holder.pid) && 'host' in holder)
      return holder;
  } catch {
    // A file without JSON is not a lock file.
  }
  throw new EtlError('ETL-7502', {
    what: `${path} is not a lock file that etl wrote`,
    why: 'a lock file with this name says which process uses the directory beside it',
    fix: 'delete this file if no process uses the directory',
  });
}

/**
 * Returns whether a holder can be alive. Returns true if that can't be determined. The age of the lock does not matter.
 */
async function mayBeAlive(holder: Holder, me: Holder): Promise<boolean> {
  // Processes of another machine are not visible here.
  if (holder.host !== me.host) return true;
  // The machine has restarted since, so all processes of that time have ended.
  if (holder.boot !== undefined && me.boot !== undefined && holder.boot !== me.boot) return false;
  // In another pid namespace the same pid names another process.
  if (holder.pidSpace !== me.pidSpace) return true;
  if (!isRunning(holder.pid)) return false;
  const now = await readStat(holder.pid);
  if (now === undefined || holder.started === undefined) return true;
  // A process with another start time is a later process that got the same pid.
  return now.state !== ZOMBIE && now.started === holder.started;
}

/**
 * Returns whether a process with this pid exists. Reads its priority, which needs no permission and works on every
 * system.
 */
function isRunning(pid: number): boolean {
  try {
    getPriority(pid);
    return true;
  } catch (error) {
    // ESRCH: there is no such process. Node puts the code of the system call into the property `info`.
    return getCode(error instanceof Error && 'info' in error ? error.info : error) !== 'ESRCH';
  }
}

/** Reads the values that tell a process from a later one with the same pid. Only Linux has them. */
async function identifyProcess(pid: number): Promise<Pick<Holder, 'started' | 'boot' | 'pidSpace'>> {
  const [stat, boot, pidSpace] = await Promise.all([
    readStat(pid),
    readTextIfPresent('/proc/sys/kernel/random/boot_id'),
    readIfPresent(readlink('/proc/self/ns/pid')),
  ]);
  return {
    ...(stat && { started: stat.started }),
    ...(boot !== undefined && { boot: boot.trim() }),
    ...(pidSpace !== undefined && { pidSpace }),
  };
}

/** The state of a process that has ended, but that its parent has not waited for. */
const ZOMBIE = 'Z';

/**
 * Reads the state and the start time of a process: fields 3 and 22 of `/proc/<pid>/stat`. The fields are counted after
 * the last `)`, because the process name in field 2 can have any character. Undefined if there is no such file.
 * https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
 */
async function readStat(pid: number): Promise<{ state: string; started: string } | undefined> {
  const text = await readTextIfPresent(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' '); // Begins with field 3.
  const [state, started] = [fields[0], fields[19]];
  return state === undefined || started === undefined ? undefined : { state, started };
}

/** Reads a text file. Returns undefined if there is no such file. */
function readTextIfPresent(path: string): Promise<string | undefined> {
  return readIfPresent(readFile(path, 'utf8'));
}

/** Waits for `read`. Returns undefined if it rejects because there is no such file or process. */
async function readIfPresent(read: Promise<string>): Promise<string | undefined> {
  try {
    return await read;
  } catch (error) {
    // ESRCH means that the process ended while its file was read.
    if (['ENOENT', 'ENOTDIR', 'ESRCH'].includes(getCode(error))) return undefined;
    throw error;
  }
}

/** Creates ETL-7502 for a directory that the process in the lock file at `path` uses, which can be this process. */
function createDirectoryLockedError(path: string, { pid, host, since }: Holder, me: Holder): EtlError {
  const isOwn = pid === me.pid && host === me.host;
  return new EtlError('ETL-7502', {
    what: `the directory of ${path} is in use by process ${pid} on ${host} since ${since}`,
    why: 'two processes that use one directory would corrupt it without an error',
    fix: isOwn
      ? 'give each connection of this process a directory of its own'
      : `wait until that process ends; if it has ended, and ran on another machine or in a container, delete ${path}`,
    data: 'nothing was opened',
  });
}
