import { EtlError } from '../../../errors.js';
import { findFormat } from '../../format/file-format.js';
import { getCompression } from '../../input/decompress.js';

/** The format of an unloaded file. */
export type UnloadFormat = 'csv' | 'ndjson' | 'parquet';

const FORMATS: readonly UnloadFormat[] = ['csv', 'ndjson', 'parquet'];

/** The compression of an unloaded file. */
export type UnloadCompression = 'gzip' | 'brotli' | 'zstd' | 'none';

/** The format and the compression of a file. */
export interface FileKind {
  readonly format: UnloadFormat;
  /**
   * Undefined if neither the options nor the name give it: then a Parquet file uses Snappy, and other files use none.
   */
  readonly compression: UnloadCompression | undefined;
}

/**
 * Chooses format and compression of the file `to`. The values of `given` win over the extensions of the name, such as
 * `.csv.gz`.
 *
 * Throws `EtlError` ETL-2303 if the format is not given and the name has no known extension, or if `to` is a URL: its
 * scheme would become the name of a directory.
 */
export function chooseFileKind(to: string, given: Partial<FileKind>): FileKind {
  const [scheme] = /^[a-z][a-z0-9+.-]+:\/\//i.exec(to) ?? [];
  if (scheme !== undefined) {
    throw new EtlError('ETL-2303', {
      what: `rows can't be unloaded to an address (${scheme}…)`,
      fix: 'unload to a path, and send the file in another task',
      data: 'no file was written',
    });
  }
  const found = findFormat(to);
  const format = given.format ?? FORMATS.find((each) => each === found);
  const named = getCompression(to); // `none` if the name has no extension of a compression.
  if (format !== undefined)
    return { format, compression: given.compression ?? (named === 'none' ? undefined : named) };
  throw new EtlError('ETL-2303', {
    what: `the format of the file "${to}" is not known`,
    why: 'the name does not end in .csv, .ndjson, .jsonl or .parquet, with or without .gz, .br or .zst',
    fix: 'give the file such a name, or set `format`',
  });
}
