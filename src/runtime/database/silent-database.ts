import { EtlError } from '../../errors.js';
import { describeNeed } from '../../hooks/connect-error.js';
import { formatDuration } from '../duration.js';

/** Says what to do about a pooler that has too few connections for a run with this pool. */
function advisePool(poolSize: number): string {
  return `behind a pooler, make its pool larger or lower --concurrency: ${describeNeed(poolSize)}; it needs at least 2`;
}

/** Formats a notice about work that has had no answer for `waitedMs` milliseconds. `what` names the work. */
export function formatSilence(what: string, waitedMs: number, poolSize: number): string {
  return `${what} has had no answer for ${formatDuration(waitedMs)}: the server is busy, another transaction holds a lock, or a pooler has no free connection; ${advisePool(poolSize)}`;
}

/**
 * Creates the error ETL-1004 of a database that has not answered the runner within `limitMs` milliseconds. With `poolSize`, it
 * says how many connections a run needs. `data` says
 * what became of the data. Default: the text for work that only reads or writes the ledger.
 */
export function createSilentError(
  connectionId: string,
  limitMs: number,
  poolSize: number | undefined,
  data = 'no task wrote anything in this step; a change of the ledger took place completely or not at all',
): EtlError {
  return new EtlError('ETL-1004', {
    what: `connection "${connectionId}" gave no answer within ${formatDuration(limitMs)}`,
    why: 'the server or the network stands still, another transaction holds a lock on the ledger, or a pooler has no free connection to the server',
    fix: `try \`etl connections test ${connectionId}\`${poolSize === undefined ? '' : `; ${advisePool(poolSize)}`}`,
    data,
  });
}
