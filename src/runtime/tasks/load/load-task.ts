import type { LoadSource } from './load-input.js';
import { LoadAttempt } from './loading.js';
import { formatOf } from '../../format/input-rows.js';
import { loadHyparquet } from '../../format/parquet.js';
import { collectFault, type TransactionBody } from '../task-body.js';
import { learnFromUrl } from '../../secrets/learned-secrets.js';

/**
 * Creates the body of a load task, which copies its input into a table. The server parses CSV files. The header names
 * the column of each field, so the order of the fields does not matter. Views, grants and foreign keys of the table
 * stay as they are.
 */
export function createLoadBody(options: LoadSource): TransactionBody {
  for (const from of [options.from].flat()) if (isName(from)) learnFromUrl(String(from));
  return {
    transactional: true,
    readCode: async () => JSON.stringify(options, toComparable),
    findFaults: async () => {
      const paths = [options.from].flat().filter((each) => typeof each === 'string');
      const isParquet = paths.some((path) => (options.format ?? formatOf(path)) === 'parquet');
      return isParquet ? collectFault(loadHyparquet) : [];
    },
    run: (work) => new LoadAttempt(options, work).run(),
  };
}

/** Says whether an input is a path or a URL. */
function isName(from: unknown): from is string | URL {
  return typeof from === 'string' || from instanceof URL;
}

/**
 * Replaces values of the options that can't be a part of the fingerprint, for `JSON.stringify`:
 *
 * - An array of rows in `from` becomes the word `rows`. The rows are data, and may differ in each run.
 * - A function becomes its code.
 * - A stream or an iterator becomes the name of its class, because it can be read only once.
 *
 * Every other value stays unchanged.
 */
function toComparable(name: string, value: unknown): unknown {
  if (name === 'from' && Array.isArray(value) && typeof value[0] === 'object') return 'rows';
  if (typeof value === 'function') return value.toString();
  const isClassInstance =
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value.constructor === Object);
  return isClassInstance ? value.constructor.name : value;
}
