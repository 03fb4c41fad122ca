import { lstatSync, readlinkSync, statSync, type Stats } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { EtlError } from '../../errors.js';
import { isPrivateGroup } from './private-group.js';

/** Returns the user that the process runs as. Undefined on Windows, where files have no mode. */
export type GetUser = (() => number) | undefined;

let processUser: GetUser;

/** Sets the user that `assertTrusted` checks files for. No file is checked before that. */
export function setProcessUser(getuid: GetUser): void {
  processUser = getuid;
}

/** The reason why a file can't be trusted, and the advice. */
export interface Distrust {
  readonly why: string;
  readonly fix: string;
}

/** A directory without links in its path, and the first reason not to trust the path that led to it. */
interface Directory {
  readonly real: string;
  readonly distrust: Distrust | undefined;
}

const ROOT = 0;
const OTHERS_WRITE = 0o002;
const GROUP_WRITES = 0o020;
/** In such a directory, users can remove and replace only their own files. */
const STICKY = 0o1000;
/** The most links that are followed, as in Linux. */
const MAX_LINKS = 40;

/**
 * Throws `EtlError` ETL-2102 if a user other than this user and root could have written a file that etl executes or takes
 * its settings from. `noun` and `name` name the file in the message: `the config` and `etl.config.ts`. A file that can't
 * be read is left to the code that reads it.
 *
 * - The file and its directory must not be writable for others, or for a group with other members. The same is true for
 *   the directory of each link that leads to the file.
 * - In a directory where all users can create files, such as `/tmp`, the file must belong to this user or to root.
 * - The owner alone does not matter: an image is often built by one user and run by another.
 *
 * Access control lists beyond the mode are not seen, except that such a list makes the group of the mode writable.
 */
export function assertTrusted(
  file: string,
  { noun, name = file }: { readonly noun: string; readonly name?: string },
  getuid: GetUser = processUser,
): void {
  const distrust = getuid === undefined ? undefined : findDistrust(resolve(file), getuid());
  if (distrust === undefined) return;
  throw new EtlError('ETL-2102', { what: `${noun} ${name} was refused`, where: name, ...distrust });
}

/** Finds the first reason not to trust a file. Undefined also if the file does not exist or can't be read. */
function findDistrust(file: string, uid: number): Distrust | undefined {
  try {
    return new TrustCheck(uid).checkFile(file);
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}

/** Checks the files of one user, and follows the links in their paths. */
class TrustCheck {
  readonly #uid: number;
  #links = 0;

  constructor(uid: number) {
    this.#uid = uid;
  }

  /** Checks a file, its directory, and all links on the way to it. Throws the error of the system if a part is missing. */
  checkFile(file: string): Distrust | undefined {
    const directory = this.#followDirectory(dirname(file));
    const entry = join(directory.real, basename(file));
    const stats = lstatSync(entry);
    const before = directory.distrust ?? this.#checkDirectory(directory.real, entry, stats);
    if (before !== undefined) return before;
    if (stats.isSymbolicLink()) return this.checkFile(this.#readLink(entry));
    return this.#checkMode(entry, stats, 'the file');
  }

  /** Follows all links in the path of a directory, and checks the directories that have these links. */
  #followDirectory(path: string): Directory {
    if (dirname(path) === path) return { real: path, distrust: undefined };
    const parent = this.#followDirectory(dirname(path));
    const entry = join(parent.real, basename(path));
    const stats = lstatSync(entry);
    if (!stats.isSymbolicLink()) return { real: entry, distrust: parent.distrust };
    const distrust = parent.distrust ?? this.#checkDirectory(parent.real, entry, stats);
    const target = this.#followDirectory(this.#readLink(entry));
    return { real: target.real, distrust: distrust ?? target.distrust };
  }

  #readLink(entry: string): string {
    this.#links += 1;
    if (this.#links > MAX_LINKS) throw Object.assign(new Error('too many links'), { code: 'ELOOP' });
    return resolve(dirname(entry), readlinkSync(entry));
  }

  /** Checks that no other user can replace `entry`, which is a file or a link in the directory. */
  #checkDirectory(directory: string, entry: string, { uid }: Stats): Distrust | undefined {
    const stats = statSync(directory);
    if ((stats.mode & STICKY) === 0) return this.#checkMode(directory, stats, `the directory ${directory}`);
    if (uid === this.#uid || uid === ROOT || !this.#findWriters(stats)) return undefined;
    return {
      why: `user ${uid} has put the file into ${directory}, where other users can create files`,
      fix: `look at what the file does, then move ${entry} to a directory of yours`,
    };
  }

  #checkMode(path: string, stats: Stats, noun: string): Distrust | undefined {
    const writers = this.#findWriters(stats);
    if (writers === undefined) return undefined;
    return {
      why: `${writers} can write to ${noun}, and etl would trust what they write`,
      fix: `look at what the file does, then run \`chmod go-w ${quotePath(path)}\``,
    };
  }

  /** Names the other users that can write to a file or a directory. */
  #findWriters({ mode, gid }: Stats): string | undefined {
    if ((mode & OTHERS_WRITE) !== 0) return 'every user of this machine';
    const isShared = (mode & GROUP_WRITES) !== 0 && !isPrivateGroup(gid, this.#uid);
    return isShared ? `every member of group ${gid}` : undefined;
  }
}

/** Quotes a path for a shell if it has other characters than those of most paths. */
function quotePath(path: string): string {
  return /^[\w./@+-]+$/.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`;
}
