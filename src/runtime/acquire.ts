import { asError } from './outcome.js';
import type { ProtocolClient } from './protocol.js';
import type { RunDatabase } from './run-database.js';

/** Takes a connection from the pool, and waits for it no longer than `signal` lets it: then it throws the reason. */
export async function acquire(database: RunDatabase, signal: AbortSignal): Promise<ProtocolClient> {
  signal.throwIfAborted();
  const acquired = database.acquire();
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(asError(signal.reason));
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([acquired, aborted]);
  } catch (error) {
    acquired.then(
      (late) => database.release(late, true),
      () => undefined, // The connection that nobody waits for any more was not opened either.
    );
    throw error;
  } finally {
    if (onAbort) signal.removeEventListener('abort', onAbort);
  }
}
