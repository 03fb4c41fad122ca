import { EtlError } from '../../../errors.js';
import { aFunction, anything, count, fields, flag, listOf, oneOf, text, type Rule } from '../option-rule.js';
import { parseCsvFormat, type CsvInputOptions } from './csv-format.js';

const anyText: Rule = (value) => (typeof value === 'string' ? undefined : 'a text');

const CSV: Readonly<Record<string, Rule>> = {
  delimiter: text,
  quote: text,
  escape: text,
  null: anyText,
  header: flag,
  columns: listOf(text),
  encoding: text,
};

/** Throws its own error for what COPY would refuse. */
const csv: Rule = (value, name) => {
  const wrong = fields(CSV)(value, name);
  if (wrong === undefined) parseCsvFormat(value as CsvInputOptions);
  return wrong;
};

/** What the options of a load may be, besides those of every task. */
export const LOAD: Readonly<Record<string, Rule>> = {
  from: anything,
  into: text,
  mode: oneOf(['append', 'replace', 'merge']),
  key: listOf(text),
  deleteMissing: flag,
  format: oneOf(['csv', 'ndjson', 'parquet']),
  compression: oneOf(['gzip', 'brotli', 'zstd', 'none']),
  transform: aFunction,
  csv,
  create: flag,
  schema: oneOf(['freeze', 'evolve', 'discard']),
  rejects: fields({ max: count, to: text }),
};

/** Throws `EtlError` ETL-2303 for a merge without a key, a key without a merge, and for what would delete rejected rows. */
export function assertMode(options: Readonly<Record<string, unknown>>): void {
  const { mode, key, deleteMissing, rejects } = options;
  if (deleteMissing === true && rejects !== undefined) {
    throw new EtlError('ETL-2303', {
      what: '`rejects` and `deleteMissing` do not go together',
      why: 'the key of a row that does not fit counts as missing: the row that it was to update would be deleted',
      fix: 'leave one of them out',
    });
  }
  if (mode === 'merge') {
    if (Array.isArray(key) && key.length > 0) return;
    throw new EtlError('ETL-2303', {
      what: 'a merge needs a `key`',
      fix: 'name the columns that tell two rows apart: key: ["id"]',
    });
  }
  if ((key ?? deleteMissing) === undefined) return;
  throw new EtlError('ETL-2303', { what: '`key` and `deleteMissing` belong to `mode: "merge"`' });
}
