import type { LoadSource } from './load-input.js';
import { LoadAttempt } from './loading.js';
import type { TransactionBody } from '../task-body.js';

/**
 * Creates the body of a load task, which copies its input into a table. The server parses CSV files. The header names
 * the column of each field, so the order of the fields does not matter. Views, grants and foreign keys of the table
 * stay as they are.
 */
export function createLoadBody(options: LoadSource): TransactionBody {
  return {
    transactional: true,
    readCode: async () => JSON.stringify(options, toComparable),
    run: (work) => new LoadAttempt(options, work).run(),
  };
}

/**
 * Replaces values that JSON can't hold, for the fingerprint: a function by its code, and an array of rows by a fixed
 * word. A stream or an iterator is replaced by the name of its class, because it can be read only once.
 */
function toComparable(name: string, value: unknown): unknown {
  if (name === 'from' && Array.isArray(value) && typeof value[0] === 'object') return 'rows';
  if (typeof value === 'function') return value.toString();
  const isData =
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value.constructor === Object);
  return isData ? value.constructor.name : value;
}
