import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { EtlError } from '../../errors.js';
import { compressionOf, decompress } from './decompress.js';
import { diskChunks, unreadable } from './disk.js';
import type { InputFile, InputOptions } from './input.js';
import { withoutMark } from './byte-order-mark.js';

/**
 * The files of a path or a glob, a glob's sorted by name. A file that exists is taken by its name, also when that looks
 * like a glob. Throws `EtlError` ETL-3501 for what is not there; an empty file is a file.
 */
export async function localFiles(from: string, options: InputOptions): Promise<readonly InputFile[]> {
  try {
    return [await localFile(from, options)];
  } catch (error) {
    if (!isMissing(error)) throw error;
    if (!(await import('tinyglobby')).isDynamicPattern(from)) throw error;
  }
  const { glob } = await import('tinyglobby');
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
    chunks: () => {
      const stored = diskChunks(path, name, options.signal);
      return withoutMark(decompress(stored, compression, name), options.signal);
    },
  };
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function isMissing(error: unknown): boolean {
  return error instanceof EtlError && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
}

function noMatch(pattern: string): EtlError {
  return new EtlError('ETL-3501', {
    what: `no file matches "${pattern}"`,
    fix: 'the pattern starts at the directory of the config file; `**/` matches any directories',
  });
}
