import { EtlError } from '../../errors.js';
import { formatDuration } from '../duration.js';

/**
 * Creates the error ETL-1004 of a database that has not answered the runner within `limitMs` milliseconds. `data` says
 * what became of the data. Default: the text for work that only reads or writes the ledger.
 */
export function createSilentError(
  connectionId: string,
  limitMs: number,
  data = 'no task wrote anything in this step; a change of the ledger took place completely or not at all',
): EtlError {
  return new EtlError('ETL-1004', {
    what: `connection "${connectionId}" gave no answer within ${formatDuration(limitMs)}`,
    why: 'the server or the network stands still, another transaction holds a lock on the ledger, or a pooler has no free connection to the server',
    fix: `try \`etl connections test ${connectionId}\`; a pooler must give a run one connection for its lock and one more for each task that runs at once, so at least 2`,
    data,
  });
}
