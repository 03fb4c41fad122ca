import { accessSync, constants, readFileSync, statSync, type Stats } from 'node:fs';
import { EtlError, type ErrorParts } from '../../errors.js';
import { learnFromSource } from '../secrets/learned-secrets.js';
import { assertTrusted, type GetUser } from '../trust/trusted-file.js';
import { shortenPath } from './location.js';
import { describeInvalidUtf8, findInvalidUtf8 } from './utf8.js';

/** A config file that is safe to execute, and its text. */
export interface ConfigFile {
  /** The absolute path. */
  readonly file: string;
  /** The path for messages: relative to the working directory if that is shorter. */
  readonly name: string;
  /** The content, without a byte order mark. */
  readonly text: string;
}

/** Options for reading a config file. */
export interface ReadConfigOptions {
  /** The working directory. */
  readonly directory: string;
  readonly getuid?: GetUser;
}

const MAX_BYTES = 5 * 1024 * 1024;
const REASONS: Readonly<Record<string, string>> = {
  ELOOP: 'the path is a loop of symbolic links',
  ENOENT: 'the path is a symbolic link to nothing',
  EACCES: 'this user may not read the file',
};

/**
 * Reads a config that will be executed. Throws `EtlError` ETL-2102 if another user could have written the file or if it
 * can't be read, and ETL-2103 if it is empty.
 */
export function readConfigFile(file: string, { directory, getuid }: ReadConfigOptions): ConfigFile {
  assertReadable(file, directory);
  const name = shortenPath(file, directory);
  assertTrusted(file, { noun: 'the config', name }, getuid);
  const text = decodeSource(readFileSync(file), 'the config', name);
  if (text.trim() === '') {
    throw new EtlError('ETL-2103', {
      what: `the config ${name} is empty`,
      where: `${name}:1:1`,
      fix: 'write `export default defineConfig({ dags: [] })`',
    });
  }
  learnFromSource(text);
  return { file, name, text };
}

/** Throws `EtlError` ETL-2102 unless `file` is a regular file of at most 5 MB that this user may read. */
export function assertReadable(file: string, directory: string): Stats {
  const name = shortenPath(file, directory);
  const stats = readStats(file, name);
  if (stats.isDirectory()) throw createRefusedError(name, { why: 'the path is a directory' });
  if (!stats.isFile()) throw createRefusedError(name, { why: 'the path is not a regular file' });
  if (stats.size > MAX_BYTES)
    throw createRefusedError(name, { why: `the file has ${stats.size} bytes, but at most 5 MB are allowed` });
  return stats;
}

/** Returns the state of a file that this user may read. Throws ETL-2102, with the reason, if the file can't be read. */
function readStats(file: string, name: string): Stats {
  try {
    accessSync(file, constants.R_OK);
    return statSync(file);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    throw createRefusedError(name, { why: REASONS[code] ?? `the file can't be read (${code})`, cause });
  }
}

/**
 * Decodes a source file, and removes a byte order mark. `noun` says what the file is, for a message. Throws ETL-2102 for a file that is not UTF-8: decoding would replace each
 * invalid byte by U+FFFD, also in the SQL and the values of the file.
 */
export function decodeSource(bytes: Buffer, noun: string, name: string): string {
  const invalidAt = findInvalidUtf8(bytes);
  if (invalidAt === undefined) return bytes.toString('utf8').replace(/^\uFEFF/, '');
  const { line, why } = describeInvalidUtf8(bytes, invalidAt);
  throw new EtlError('ETL-2102', {
    what: `${noun} ${name} was refused`,
    where: `${name}:${line}`,
    why,
    fix: 'save the file as UTF-8',
  });
}

/** Creates the error ETL-2102. `name` is the path of the file for messages. */
function createRefusedError(name: string, parts: Omit<ErrorParts, 'what' | 'where'>): EtlError {
  return new EtlError('ETL-2102', { what: `the config ${name} was refused`, where: name, ...parts });
}
