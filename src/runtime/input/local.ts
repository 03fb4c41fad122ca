import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { glob, isDynamicPattern } from 'tinyglobby';
import { EtlError } from '../../errors.js';
import { compressionOf, decompress } from './decompress.js';
import { CHUNK_BYTES, type InputFile, type InputOptions } from './source.js';
import { withoutMark } from './without-mark.js';

/**
 * The files of a path or a glob, a glob's sorted by name. A file that exists is taken by its name, also when that looks
 * like a glob. Throws `EtlError` ETL-3501 for what is not there; an empty file is a file.
 */
export async function localFiles(from: string, options: InputOptions): Promise<readonly InputFile[]> {
  try {
    return [await localFile(from, options)];
  } catch (error) {
    if (!isDynamicPattern(from) || !isMissing(error)) throw error;
  }
  const names = await glob(from, {
    cwd: options.root,
    onlyFiles: true,
    dot: false,
    expandDirectories: false,
  });
  if (names.length === 0) throw noMatch(from);
  return Promise.all(names.toSorted(byCodeUnits).map((name) => localFile(name, options)));
}

async function localFile(name: string, options: InputOptions): Promise<InputFile> {
  const path = resolve(options.root, name);
  const found = await stat(path).catch((error: unknown) => {
    throw unreadable(name, error);
  });
  if (found.isDirectory()) throw unreadable(name, { code: 'EISDIR' });
  const compression = options.compression ?? compressionOf(name);
  return {
    name,
    bytes: found.size,
    ...(compression === 'none' ? { path } : {}),
    chunks: () =>
      withoutMark(decompress(read(path, name, options.signal), compression, name), options.signal),
  };
}

async function* read(path: string, name: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES, signal })) {
      yield chunk as Buffer;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw (error as NodeJS.ErrnoException).syscall === undefined ? error : unreadable(name, error);
  }
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function isMissing(error: unknown): boolean {
  return error instanceof EtlError && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a directory',
  EACCES: 'it may not be read by this user',
};

function unreadable(name: string, cause: unknown): EtlError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'an unknown reason';
  return new EtlError('ETL-3501', {
    what: `the file "${name}" can't be read`,
    why: REASONS[code] ?? code,
    fix: 'the path starts at the directory of the config file',
    cause,
  });
}

function noMatch(pattern: string): EtlError {
  return new EtlError('ETL-3501', {
    what: `no file matches "${pattern}"`,
    fix: 'the pattern starts at the directory of the config file; `**/` matches any directories',
  });
}
