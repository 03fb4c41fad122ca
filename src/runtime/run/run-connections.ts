import { formatDsn } from '../../hooks/connection.js';
import type { ConnectionSet } from '../../hooks/connection-set.js';
import type { Lookup } from '../../hooks/lookup.js';
import type { RunConnections } from './run.js';

/**
 * Returns the connections of a run that opens at most `concurrency` transactions at once on each connection. The lookup has
 * loaded the connections of the Dag.
 */
export function createRunConnections(
  lookup: Lookup,
  connections: Pick<ConnectionSet, 'open' | 'getPoolSize'>,
  concurrency: number,
): RunConnections {
  return {
    open: async (id, notice) =>
      connections.open(await lookup.load(id), { concurrency, notice, isForRun: true }),
    list: (prefix) => lookup.ids(prefix),
    describe: (id) => formatDsn(lookup.find(id)),
    getPoolSize: (id) => connections.getPoolSize(lookup.find(id), concurrency),
  };
}
