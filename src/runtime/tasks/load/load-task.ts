import type { LoadSource } from './load-input.js';
import { LoadAttempt } from './loading.js';
import type { TransactionBody } from '../task-body.js';

/**
 * Files into a table by COPY. The server parses CSV; the header says which column each field belongs to, in whatever
 * order. Views, grants and foreign keys of the table stay as they are.
 */
export function loadBody(source: LoadSource): TransactionBody {
  return {
    transactional: true,
    readCode: async () => JSON.stringify(source, toComparable),
    run: (work) => new LoadAttempt(source, work).run(),
  };
}

/** Functions count by their code, what rows come from by its kind: to read it here would use it up. */
function toComparable(name: string, value: unknown): unknown {
  if (name === 'from' && Array.isArray(value) && typeof value[0] === 'object') return 'rows';
  if (typeof value === 'function') return value.toString();
  const isData =
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value.constructor === Object);
  return isData ? value.constructor.name : value;
}
