import { EtlError } from '../../errors.js';
import type { InputFile } from '../input/input.js';
import { removeCompressionExtension } from '../input/decompress.js';
import type { FileFormat } from './row-reader.js';

const BY_EXTENSION: ReadonlyMap<string, FileFormat> = new Map([
  ['csv', 'csv'],
  ['tsv', 'tsv'],
  ['tab', 'tsv'],
  ['json', 'json'],
  ['ndjson', 'ndjson'],
  ['jsonl', 'ndjson'],
  ['parquet', 'parquet'],
]);

/** Returns the format of a file by its extension, for example NDJSON for `a.jsonl.gz`. */
export function findFormat(name: string): FileFormat | undefined {
  return BY_EXTENSION.get(/\.(\w+)$/.exec(removeCompressionExtension(name))?.[1]?.toLowerCase() ?? '');
}

/** The options of a load that say in which format its files are. */
export interface FormatOptions {
  readonly format?: FileFormat | undefined;
  /** Options for CSV files. They say that a file is CSV if its name does not say its format. */
  readonly csv?: object | undefined;
}

/**
 * Chooses the format of an input: that of the options, otherwise that of its name. A stream, which has no name, is CSV.
 * Throws `EtlError` ETL-3575 if neither says the format.
 */
export function chooseFormat(
  { name, isUnnamed }: Pick<InputFile, 'name' | 'isUnnamed'>,
  { format, csv }: FormatOptions,
): FileFormat {
  const found = format ?? findFormat(name) ?? (csv !== undefined || isUnnamed === true ? 'csv' : undefined);
  if (found !== undefined) return found;
  throw new EtlError('ETL-3575', {
    what: `the format of "${name}" is not known`,
    why: `its name does not end in ${[...BY_EXTENSION.keys()].map((each) => `.${each}`).join(', ')}, with or without .gz, .br or .zst`,
    fix: 'set `format`, for example to "csv"',
  });
}
