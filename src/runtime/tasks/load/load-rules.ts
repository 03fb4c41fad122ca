import { EtlError } from '../../../errors.js';
import { aFunction, anyText, count, fields, flag, listOf, oneOf, text, type Rule } from '../option-rule.js';
import { parseCsvFormat, type CsvInputOptions } from './csv-format.js';

/** The rules of the fields of `csv`. */
const CSV: Readonly<Record<string, Rule>> = {
  delimiter: text,
  quote: (value, name) =>
    value === false || text(value, name) === undefined ? undefined : 'one character or false',
  escape: text,
  null: anyText,
  header: flag,
  skipLines: count,
  columns: listOf(text),
  encoding: text,
};

/** Accepts CSV options. Throws the error of `parseCsvFormat` for options that COPY would refuse. */
const csv: Rule = (value, name) => {
  const wrong = fields(CSV)(value, name);
  if (wrong === undefined) parseCsvFormat(value as CsvInputOptions);
  return wrong;
};

/** Accepts the types of `Input`, and a function that returns one of them. */
const from: Rule = (value, name) => {
  if (typeof value === 'function' || value instanceof URL) return undefined;
  if (typeof value === 'string') return text(value, name);
  const isIterable =
    typeof value === 'object' &&
    value !== null &&
    (Symbol.iterator in value || Symbol.asyncIterator in value);
  if (!isIterable) return FROM;
  if (!Array.isArray(value)) return undefined;
  // An array has either names or rows. A hole or an undefined name is neither. `for` also visits holes.
  for (const each of value as readonly unknown[])
    if ((typeof each !== 'string' || each === '') && (typeof each !== 'object' || each === null)) return FROM;
  return undefined;
};
const FROM = 'a path, a URL, a list of them, a stream, rows, or a function that returns one of these';

/** The rules for the options of a load, without the options of every task. */
export const LOAD: Readonly<Record<string, Rule>> = {
  from,
  into: text,
  mode: oneOf(['append', 'replace', 'merge']),
  key: listOf(text),
  deleteMissing: flag,
  format: oneOf(['csv', 'tsv', 'json', 'ndjson', 'parquet']),
  compression: oneOf(['gzip', 'brotli', 'zstd', 'none']),
  transform: aFunction,
  csv,
  create: flag,
  schema: oneOf(['freeze', 'evolve', 'discard']),
  rejects: fields({ max: count, to: text }, ['max', 'to']),
};

/**
 * Checks the options that depend on `mode`. Throws `EtlError` ETL-2303 for a merge without `key`, for `key` or
 * `deleteMissing` without a merge, and for `rejects` together with `deleteMissing`.
 */
export function assertMode(options: Readonly<Record<string, unknown>>): void {
  const { mode, key, deleteMissing, rejects } = options;
  if (deleteMissing === true && rejects !== undefined) {
    throw new EtlError('ETL-2303', {
      what: "`rejects` and `deleteMissing` can't be used together",
      why: 'the key of a rejected row counts as missing, so the row with this key would be deleted from the table',
      fix: 'remove one of the two options',
    });
  }
  if (mode === 'merge') {
    if (Array.isArray(key) && key.length > 0) return;
    throw new EtlError('ETL-2303', {
      what: 'a merge needs a `key`',
      fix: 'set `key` to the columns that identify a row: key: ["id"]',
    });
  }
  if ((key ?? deleteMissing) === undefined) return;
  throw new EtlError('ETL-2303', { what: '`key` and `deleteMissing` need `mode: "merge"`' });
}
