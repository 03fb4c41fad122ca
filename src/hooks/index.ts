import { didYouMean, EtlError } from '../errors.js';
import type { Connection } from './connection.js';
import type { Hook } from './hook.js';
import { pgliteHook } from './pglite/pglite-hook.js';
import { postgresHook } from './postgres/postgres-hook.js';

const HOOKS: readonly Hook[] = [postgresHook, pgliteHook];

/** Returns the hook that opens connections of this scheme. Throws ETL-2205 if no hook opens the scheme. */
export function findHook(connection: Connection): Hook {
  const hook = HOOKS.find(({ schemes }) => schemes.includes(connection.scheme));
  if (hook !== undefined) return hook;
  const schemes = HOOKS.flatMap((each) => each.schemes);
  throw new EtlError('ETL-2205', {
    what: `connection "${connection.id}" has the type "${connection.scheme}", which no hook opens${didYouMean(connection.scheme, schemes)}`,
    where: connection.definedBy,
    fix: `the types are ${schemes.join(' and ')}`,
  });
}
