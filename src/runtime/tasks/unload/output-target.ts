import { basename } from 'node:path';
import { EtlError } from '../../../errors.js';

export type UnloadFormat = 'csv' | 'ndjson' | 'parquet';

export type UnloadCompression = 'gzip' | 'brotli' | 'zstd' | 'none';

/** What a file holds, and how. */
export interface FileKind {
  readonly format: UnloadFormat;
  /** Undefined: nobody has said; a Parquet file is then compressed by Snappy, any other not at all. */
  readonly compression: UnloadCompression | undefined;
}

const FORMATS: Readonly<Record<string, UnloadFormat>> = {
  csv: 'csv',
  ndjson: 'ndjson',
  jsonl: 'ndjson',
  parquet: 'parquet',
};

const COMPRESSIONS: Readonly<Record<string, UnloadCompression>> = { gz: 'gzip', br: 'brotli', zst: 'zstd' };

/**
 * The kind of the file `to`: what is given wins over what its name ends in, such as `.csv.gz`. Throws `EtlError`
 * ETL-2303 for a name that doesn't tell the format, and for an address, which would become the name of a directory.
 */
export function chooseFileKind(to: string, given: Partial<FileKind>): FileKind {
  const [scheme] = /^[a-z][a-z0-9+.-]+:\/\//i.exec(to) ?? [];
  if (scheme !== undefined) {
    throw new EtlError('ETL-2303', {
      what: `rows can't be unloaded to an address (${scheme}…)`,
      fix: 'unload to a path, and send the file in a task of its own',
      data: 'no file was written',
    });
  }
  const endings = basename(to).toLowerCase().split('.').slice(1);
  const compression = COMPRESSIONS[endings.at(-1) ?? ''];
  const format = given.format ?? FORMATS[endings.at(compression === undefined ? -1 : -2) ?? ''];
  if (format !== undefined) return { format, compression: given.compression ?? compression };
  throw new EtlError('ETL-2303', {
    what: `the format of the file "${to}" is not known`,
    why: 'its name does not end in .csv, .ndjson, .jsonl or .parquet, with or without .gz, .br or .zst',
    fix: 'give it such a name, or say `format`',
  });
}
