import { accessSync, constants, readFileSync, statSync, type Stats } from 'node:fs';
import { EtlError, type ErrorParts } from '../../errors.js';
import { shortenPath } from './location.js';

/** A config file that was found safe to use, and its text. */
export interface ConfigFile {
  /** Absolute path. */
  readonly file: string;
  /** For messages: relative to the working directory where that is shorter. */
  readonly name: string;
  /** Without a byte order mark. */
  readonly text: string;
}

export interface ReadConfigOptions {
  /** The working directory. */
  readonly directory: string;
  /** The user that the process runs as; absent on Windows, where files have no mode. */
  readonly getuid?: (() => number) | undefined;
}

const MAX_BYTES = 5 * 1024 * 1024;
const ROOT = 0;
const OTHERS_WRITE = 0o002;
const REASONS: Readonly<Record<string, string>> = {
  ELOOP: 'It is a loop of symbolic links',
  ENOENT: 'It is a symbolic link to nothing',
  EACCES: 'This user may not read it',
};

/**
 * Reads a config that is about to be executed. As ssh does with its files, it refuses what another user could have
 * written: a world-writable file, and one that belongs neither to this user nor to root. Throws `EtlError` ETL-2102,
 * and ETL-2103 for an empty file.
 */
export function readConfigFile(file: string, { directory, getuid }: ReadConfigOptions): ConfigFile {
  const stats = assertReadable(file, directory);
  const name = shortenPath(file, directory);
  if (getuid !== undefined) assertTrusted(name, stats, getuid());
  const text = decodeText(readFileSync(file), name);
  if (text.trim() === '') {
    throw new EtlError('ETL-2103', {
      what: `The config ${name} is empty`,
      where: `${name}:1:1`,
      fix: 'Write `export default defineConfig({ dags: [] })`.',
    });
  }
  return { file, name, text };
}

/** Throws ETL-2102 unless `file` is a regular file of at most 5 MB that this user may read. */
export function assertReadable(file: string, directory: string): Stats {
  const name = shortenPath(file, directory);
  const stats = readStats(file, name);
  if (stats.isDirectory()) throw createRefusedError(name, { why: 'It is a directory' });
  if (!stats.isFile()) throw createRefusedError(name, { why: 'It is not a regular file' });
  if (stats.size > MAX_BYTES)
    throw createRefusedError(name, { why: `It has ${stats.size} bytes, and 5 MB are the most` });
  return stats;
}

function readStats(file: string, name: string): Stats {
  try {
    accessSync(file, constants.R_OK);
    return statSync(file);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    throw createRefusedError(name, { why: REASONS[code] ?? `It cannot be read (${code})`, cause });
  }
}

function assertTrusted(name: string, stats: Stats, uid: number): void {
  if (stats.uid !== uid && stats.uid !== ROOT) {
    throw createRefusedError(name, {
      why: `It belongs to user ${stats.uid}: neither to user ${uid}, who would execute it, nor to root`,
      fix: `Look at what it does, then run \`chown ${uid} ${name}\`, or run etl as user ${stats.uid}.`,
    });
  }
  if ((stats.mode & OTHERS_WRITE) !== 0) {
    throw createRefusedError(name, {
      why: 'Every user of this machine can write to it, and it would be executed',
      fix: `Look at what it does, then run \`chmod o-w ${name}\`.`,
    });
  }
}

function decodeText(bytes: Buffer, name: string): string {
  const mark = bytes.subarray(0, 2).toString('hex');
  if (mark === 'fffe' || mark === 'feff') {
    throw createRefusedError(name, { why: 'It is in UTF-16', fix: 'Save it as UTF-8.' });
  }
  return bytes.toString('utf8').replace(/^\uFEFF/, '');
}

function createRefusedError(name: string, parts: Omit<ErrorParts, 'what' | 'where'>): EtlError {
  return new EtlError('ETL-2102', { what: `The config ${name} was refused`, where: name, ...parts });
}
