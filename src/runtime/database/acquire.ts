import type { ProtocolClient } from '../postgres/protocol.js';
import type { RunDatabase } from './run-database.js';
import { untilAborted } from '../waiting.js';

/**
 * Takes a connection from the pool and waits for it as long as the tasks that have them need, but no longer than
 * `signal` lets it: then it throws the reason.
 */
export async function acquire(database: RunDatabase, signal: AbortSignal): Promise<ProtocolClient> {
  signal.throwIfAborted();
  return (
    database.takeIdle() ??
    untilAborted(acquireFree(database, signal), signal, (late) => database.release(late, true))
  );
}

async function acquireFree(database: RunDatabase, signal: AbortSignal): Promise<ProtocolClient> {
  for (;;) {
    try {
      return await database.acquire();
    } catch (error) {
      // Knex gives up on a full pool after a while; the tasks that fill it have limits of their own.
      if (signal.aborted || (error as Error).name !== 'KnexTimeoutError') throw error;
    }
  }
}
