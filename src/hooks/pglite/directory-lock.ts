import { randomBytes } from 'node:crypto';
import { link, readFile, readlink, rename, unlink, writeFile } from 'node:fs/promises';
import { getPriority, hostname } from 'node:os';
import { EtlError } from '../../errors.js';
import { getCode } from '../connect-error.js';

/** One process's right to a directory; ends with `release` or, for whoever wants it next, with the process. */
export interface DirectoryLock {
  /** Removes the lock file. Safe to call twice. */
  release(): Promise<void>;
}

/**
 * Locks a directory for this process by a file beside it, `<directory>.lock`. Throws ETL-7502 when another process
 * that may be alive has it. That of a dead process is taken over, and by exactly one of many that try at once. The
 * directory must be its real path, or two names of it could be locked twice.
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
  // Linked to its name only when it is complete: nobody reads half a lock file.
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

/** What a lock file holds. */
interface Holder {
  /** Of this lock only, so that a file that was read can be told from its successor. */
  readonly token: string;
  readonly pid: number;
  readonly host: string;
  /** ISO 8601. */
  readonly since: string;
  /** When the process started, in ticks after the boot: tells it from a later one with the same pid. */
  readonly started?: string;
  /** The boot of the machine. */
  readonly boot?: string;
  /** The namespace that the pid counts in: containers with one host name each have their own. */
  readonly pidSpace?: string;
}

/**
 * Puts the holder's file at `path`. Only who has first seized the one successor of a dead holder, a file named by its
 * token, may replace that holder's file: otherwise a slow process could remove the file of a quicker one that it takes
 * for the dead one's.
 */
async function seizeLock(path: string, draft: string, me: Holder): Promise<void> {
  for (;;) {
    if (await createLink(draft, path)) return;
    const found = await readHolder(path);
    if (found === undefined) continue; // Released meanwhile.
    if (await mayBeAlive(found, me)) throw createDirectoryLockedError(path, found, me);
    const succession = `${path}.${found.token}`;
    await seizeLock(succession, draft, me);
    if ((await readHolder(path))?.token === found.token) {
      await rename(succession, path);
      return;
    }
    await unlink(succession); // Another process has replaced it already.
  }
}

async function createLink(existing: string, path: string): Promise<boolean> {
  try {
    await link(existing, path);
    return true;
  } catch (error) {
    if (getCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Undefined when there is no such file. */
async function readHolder(path: string): Promise<Holder | undefined> {
  const text = await readTextIfPresent(path);
  if (text === undefined) return undefined;
  const holder = parseHolder(text);
  if (holder !== undefined) return holder;
  throw new EtlError('ETL-7502', {
    what: `${path} is in the way: it is not a lock file that etl wrote.`,
    why: 'A file of this name says which process uses the directory beside it.',
    fix: 'If nothing uses the directory, delete this file.',
  });
}

function parseHolder(text: string): Holder | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    return isHolder(parsed) ? parsed : undefined;
  } catch {
    return undefined; // Not JSON: somebody else's file.
  }
}

/** The token becomes part of a file name. */
function isHolder(value: unknown): value is Holder {
  if (typeof value !== 'object' || value === null) return false;
  if (!('token' in value && 'pid' in value && 'host' in value)) return false;
  return /^[0-9a-f]{12}$/.test(String(value.token)) && Number.isSafeInteger(value.pid);
}

/** Never by time, and in doubt it may. */
async function mayBeAlive(holder: Holder, me: Holder): Promise<boolean> {
  if (holder.host !== me.host) return true;
  if (holder.boot !== undefined && me.boot !== undefined && holder.boot !== me.boot) return false;
  if (holder.pidSpace !== me.pidSpace) return true;
  if (!isRunning(holder.pid)) return false;
  const now = await readStat(holder.pid);
  if (now === undefined || holder.started === undefined) return true;
  return now.state !== ZOMBIE && now.started === holder.started;
}

/** By asking for its priority, which needs no permission and works on every system. */
function isRunning(pid: number): boolean {
  try {
    getPriority(pid);
    return true;
  } catch (error) {
    return getCode(error instanceof Error && 'info' in error ? error.info : error) !== 'ESRCH';
  }
}

/** What tells this process from any other; Linux only. */
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

const ZOMBIE = 'Z';

/** Fields 3 and 22, behind a name that may hold anything. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
async function readStat(pid: number): Promise<{ state: string; started: string } | undefined> {
  const text = await readTextIfPresent(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, started] = [fields[0], fields[19]];
  return state === undefined || started === undefined ? undefined : { state, started };
}

function readTextIfPresent(path: string): Promise<string | undefined> {
  return readIfPresent(readFile(path, 'utf8'));
}

async function readIfPresent(read: Promise<string>): Promise<string | undefined> {
  try {
    return await read;
  } catch (error) {
    // ESRCH: a process that ended while its file was read.
    if (['ENOENT', 'ENOTDIR', 'ESRCH'].includes(getCode(error))) return undefined;
    throw error;
  }
}

function createDirectoryLockedError(path: string, { pid, host, since }: Holder, me: Holder): EtlError {
  const isOwn = pid === me.pid && host === me.host;
  return new EtlError('ETL-7502', {
    what: `The directory of ${path} is in use by process ${pid} on ${host} since ${since}.`,
    why: 'Two processes on one directory would corrupt it without a word, so only one may use it.',
    fix: isOwn
      ? 'That is this process: give each of its connections a directory of its own.'
      : `Wait for it to end. If it has ended and ran on another machine or in a container, delete ${path}.`,
    data: 'nothing was opened',
  });
}
