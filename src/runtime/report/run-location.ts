import { realpathSync } from 'node:fs';
import { isAbsolute, relative, resolve, sep } from 'node:path';

/** A position in a file of the repository. Line and column count from 1. */
export interface RepositoryPosition {
  /** The path from the root of the repository, with `/`. An absolute path if the file is outside of the repository. */
  readonly path: string;
  readonly line: number;
  readonly column: number;
}

/** A position with the path of its file: absolute, or relative to `directory` of `toRepositoryPosition`. */
export interface FilePosition {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** Returns a position as CI systems expect it: with the path from `root`, the root of the repository. */
export function toRepositoryPosition(
  { file, line, column }: FilePosition,
  root: string,
  directory: string,
): RepositoryPosition {
  const path = readRealPath(resolve(directory, file));
  const inside = relative(readRealPath(root), path);
  const isOutside = inside === '' || inside.startsWith('..') || isAbsolute(inside);
  return { path: (isOutside ? path : inside).split(sep).join('/'), line, column };
}

/** Finds the first position of the form `etl.config.ts:41:5` in the `where` of an error. */
export function parsePosition(where: string | undefined): FilePosition | undefined {
  const [, file, line, column] = /^(?:near |thrown at )?([^\n:]+):(\d+):(\d+)/.exec(where ?? '') ?? [];
  return file === undefined ? undefined : { file, line: Number(line), column: Number(column) };
}

/** Returns the path without symbolic links, because Node.js names a module by this path. */
function readRealPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path; // The path does not exist, or may not be read: the reader of the report gets it as it is.
  }
}
