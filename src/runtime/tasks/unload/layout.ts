import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** How rows are split into files. */
export type Partition =
  /** The number of rows per file. The last file has the rest. */
  | { readonly rows: number }
  /**
   * The largest size of a file in bytes, before compression and without the header. A single longer row gets a larger
   * file.
   */
  | { readonly bytes: number }
  /** A column: each of its values gets a directory, as in Hive: `country=DE/orders.csv`. */
  | { readonly by: string };

/** One file of an unload. */
export interface Part {
  /** The number of the file, from 1. */
  readonly number: number;
  /** The value of the partition column, as text of PostgreSQL; null for NULL. Always null without such a column. */
  readonly value: string | null;
}

/** The directory name that readers of the Hive layout take for NULL. */
const NULL_VALUE = '__HIVE_DEFAULT_PARTITION__';

/**
 * Builds the path of one file from `path`, the path in the options:
 *
 * - Without a partition: `path` itself.
 * - By rows or bytes: `out/orders.csv.gz` -> `out/orders.part-00001.csv.gz`.
 * - By the column `country`: `out/orders.csv` -> `out/country=DE/orders.csv`.
 */
export function buildPath(path: string, part: Part, partition: Partition | undefined): string {
  if (partition === undefined) return path;
  if (!('by' in partition)) {
    const [stem, ending] = splitName(path);
    return join(dirname(path), `${stem}.part-${String(part.number).padStart(5, '0')}${ending}`);
  }
  return join(dirname(path), `${encodeName(partition.by)}=${encodeValue(part.value)}`, basename(path));
}

/**
 * Lists the existing directories that can hold files of an earlier run. In a partition by a column these are the
 * directories `<column>=…` next to the file, otherwise only the directory of the file, which may not exist.
 */
export async function listDirectories(
  path: string,
  partition: Partition | undefined,
): Promise<readonly string[]> {
  const directory = dirname(path);
  if (partition === undefined || !('by' in partition)) return [directory];
  const prefix = `${encodeName(partition.by)}=`;
  const entries = await listEntries(directory);
  const parts = entries.filter((entry) => entry.isDirectory() && entry.name.startsWith(prefix));
  return parts.map(({ name }) => join(directory, name));
}

/**
 * Says whether a file of this name, in one of the directories of `listDirectories`, belongs to the unload. For a partition
 * by rows and the path `orders.csv`, returns true for `orders.part-00012.csv` and false for `orders.csv`.
 */
export function isPartName(name: string, path: string, partition: Partition | undefined): boolean {
  if (partition === undefined || 'by' in partition) return name === basename(path);
  const [stem, ending] = splitName(path);
  if (!name.startsWith(`${stem}.part-`) || !name.endsWith(ending)) return false;
  return /^\d{5,}$/.test(name.slice(stem.length + '.part-'.length, name.length - ending.length));
}

/** Lists the entries of a directory. Returns an empty array if the directory does not exist. */
export async function listEntries(directory: string) {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Splits the name of a file at its first dot: `orders.csv.gz` into `orders` and `.csv.gz`. */
function splitName(path: string): readonly [stem: string, ending: string] {
  const name = basename(path);
  const dot = name.indexOf('.', 1); // A dot at the beginning belongs to the name: `.orders.csv`.
  return dot === -1 ? [name, ''] : [name.slice(0, dot), name.slice(dot)];
}

/**
 * Encodes a value as a part of a directory name. A text value that is equal to the name for NULL is encoded differently:
 * `%5F_HIVE_DEFAULT_PARTITION__`.
 */
function encodeValue(value: string | null): string {
  if (value === null) return NULL_VALUE;
  return value === NULL_VALUE ? value.replace('_', '%5F') : encodeName(value);
}

/**
 * Encodes a text as the name of one directory. Keeps letters, digits, `-`, `_` and `.`, and writes every other byte in
 * the form `%2F`.
 */
function encodeName(text: string): string {
  return encodeURIComponent(text).replace(
    /[!~*'()]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
