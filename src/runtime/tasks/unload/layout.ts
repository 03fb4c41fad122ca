import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** How rows are dealt out to files. */
export type Partition =
  /** As many rows a file, and the rest in the last one. */
  | { readonly rows: number }
  /** As many bytes a file before compression, as far as whole rows allow. */
  | { readonly bytes: number }
  /** A directory for each value of a column, in the way of Hive: `country=DE/orders.csv`. */
  | { readonly by: string };

/** Which of the files of a partition. */
export interface Part {
  /** From 1. */
  readonly number: number;
  /** The value of the column, as PostgreSQL writes it as text; null for NULL. */
  readonly value: string | null;
}

/** What readers of this layout take for NULL. */
const NULL_VALUE = '__HIVE_DEFAULT_PARTITION__';

/** The path of the file of one part; that of the whole, without a partition. */
export function buildPath(path: string, part: Part, partition: Partition | undefined): string {
  if (partition === undefined) return path;
  if (!('by' in partition)) {
    const [stem, ending] = splitName(path);
    return join(dirname(path), `${stem}.part-${String(part.number).padStart(5, '0')}${ending}`);
  }
  return join(dirname(path), `${encodeName(partition.by)}=${encodeValue(part.value)}`, basename(path));
}

/** The directories that files of an earlier run can be in, as far as they are there. */
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

/** Whether a file of this name, in one of those directories, is one of the parts. */
export function isPartName(name: string, path: string, partition: Partition | undefined): boolean {
  if (partition === undefined || 'by' in partition) return name === basename(path);
  const [stem, ending] = splitName(path);
  if (!name.startsWith(`${stem}.part-`) || !name.endsWith(ending)) return false;
  return /^\d{5,}$/.test(name.slice(stem.length + '.part-'.length, name.length - ending.length));
}

/** What is in a directory; nothing where there is none. */
export async function listEntries(directory: string) {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** `orders` and `.csv.gz`. */
function splitName(path: string): readonly [stem: string, ending: string] {
  const name = basename(path);
  const dot = name.indexOf('.', 1);
  return dot === -1 ? [name, ''] : [name.slice(0, dot), name.slice(dot)];
}

function encodeValue(value: string | null): string {
  if (value === null) return NULL_VALUE;
  return value === NULL_VALUE ? value.replace('_', '%5F') : encodeName(value);
}

/** Letters, digits, `-`, `_` and `.` as they are, any other byte as `%2F`: the name of one directory, whatever it is. */
function encodeName(text: string): string {
  return encodeURIComponent(text).replace(
    /[!~*'()]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
