import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { EtlError } from '../../errors.js';
import { getCompression, decompress } from './decompress.js';
import { readDiskChunks, createUnreadableError } from './disk.js';
import { readPipeChunks } from './named-pipe.js';
import type { InputFile, InputOptions } from './input.js';
import { removeMark } from './byte-order-mark.js';

/**
 * Lists the files of a path or a glob. The files of a glob are sorted by the code units of their names. If a file with
 * the exact name exists, the name is not read as a glob. An empty file counts as a file.
 *
 * Throws `EtlError` ETL-3501 if a file does not exist, if the path is a directory, or if no file matches the glob.
 */
export async function listLocalFiles(from: string, options: InputOptions): Promise<readonly InputFile[]> {
  try {
    return [await findLocalFile(from, options)];
  } catch (error) {
    const cause = error instanceof EtlError ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
    // A name that is not a file may be a glob. Any other error is about an existing file.
    if (cause?.code !== 'ENOENT') throw error;
    if (!(await import('tinyglobby')).isDynamicPattern(from)) throw error;
  }
  const { glob } = await import('tinyglobby');
  const names = await glob(from, {
    cwd: options.root,
    onlyFiles: true,
    dot: false,
    expandDirectories: false,
  });
  if (names.length === 0) {
    throw new EtlError('ETL-3501', {
      what: `no file matches "${from}"`,
      fix: 'correct the pattern; it starts at the directory of the config file, and `**/` matches any directories',
    });
  }
  return Promise.all(names.toSorted().map((name) => findLocalFile(name, options)));
}

/**
 * Returns the file with this name, without opening it. Throws ETL-3501 if the file does not exist or is a directory.
 */
async function findLocalFile(name: string, options: InputOptions): Promise<InputFile> {
  const path = resolve(options.root, name);
  const state = await stat(path, { bigint: true }).catch((error: unknown) => {
    throw createUnreadableError(name, error);
  });
  if (state.isDirectory()) throw createUnreadableError(name, { code: 'EISDIR' });
  const compression = options.compression ?? getCompression(name);
  const found = { name, path, state };
  return {
    name,
    // Only a regular file can be read at any position.
    ...(compression === 'none' && state.isFile() ? { stored: found } : {}),
    chunks: () => {
      const stored = (state.isFIFO() ? readPipeChunks : readDiskChunks)(found, options.signal);
      return removeMark(decompress(stored, compression, name), options.signal);
    },
  };
}
