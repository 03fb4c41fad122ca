import { type Dirent, readdir } from 'node:fs';
import { stat } from 'node:fs/promises';
import { relative, resolve } from 'node:path';
import { EtlError } from '../../errors.js';
import { getCompression, decompress } from './decompress.js';
import { createUnreadableError, readDiskChunks } from './disk.js';
import { readPipeChunks } from './named-pipe.js';
import type { InputFile, InputOptions } from './input.js';
import { removeMark } from './byte-order-mark.js';

/**
 * Lists the files of a path or a glob. The files of a glob are sorted by the code units of their names. If a file with
 * the exact name exists, the name is not read as a glob. An empty file counts as a file.
 *
 * Throws `EtlError` ETL-3501 if a file does not exist, if the path is a directory, if no file matches the glob, or if a
 * directory in which files could match can't be read.
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
  const names = await listMatches(from, options.root);
  if (names.length === 0) {
    throw new EtlError('ETL-3501', {
      what: `no file matches "${from}"`,
      fix: "correct the pattern; it starts at the directory of the Dag's config file, else at the working directory, and `**/` matches any directories",
    });
  }
  return Promise.all(names.toSorted().map((name) => findLocalFile(name, options)));
}

/** Lists the names of the files that match a glob. Throws ETL-3501 for a directory that can't be read. */
async function listMatches(from: string, root: string): Promise<string[]> {
  const { glob } = await import('tinyglobby');
  let unread: { readonly path: string; readonly error: NodeJS.ErrnoException } | undefined;
  // tinyglobby leaves out a directory that it can't read, and so would the load.
  const readDirectory: ReadDirectory = (path, options, done) =>
    readdir(path, options, (error, entries) => {
      if (error && error.code !== 'ENOENT' && error.code !== 'ENOTDIR') unread ??= { path, error };
      done(error, entries);
    });
  const names = await glob(from, {
    cwd: root,
    onlyFiles: true,
    dot: false,
    expandDirectories: false,
    fs: { readdir: readDirectory as typeof readdir },
  });
  if (unread === undefined) return names;
  throw new EtlError('ETL-3501', {
    what: `the directory "${relative(root, unread.path) || '.'}" can't be read`,
    why: `files in it may match "${from}" (${unread.error.code})`,
    fix: 'give this user access to the directory, or correct the pattern',
    cause: unread.error,
  });
}

/** The form of `readdir` that tinyglobby calls. */
type ReadDirectory = (
  path: string,
  options: { readonly withFileTypes: true },
  done: (error: NodeJS.ErrnoException | null, entries: Dirent[]) => void,
) => void;

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
