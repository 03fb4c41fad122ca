import type { Session } from '../session/session.js';
import type { TransactionBody } from './task-body.js';
import type { SessionContext } from './task-context.js';

/**
 * Creates the body of a `session` task: a function that works with a session, for models and for everything that needs
 * more than SQL. `reads` are the IDs of the connections that the function gets in `sources`. They are opened one after the
 * other, before the function is called.
 */
export function createSessionBody(
  run: (context: SessionContext) => Promise<unknown>,
  reads: readonly string[],
): TransactionBody {
  return {
    transactional: true,
    listCode: () => ({ 'its function': run, 'its `reads`': reads.length === 0 ? undefined : reads }),
    run: async ({ context, session, openReadSession, watermarks }) => {
      const sources: Record<string, Session> = {};
      for (const id of reads) sources[id] = (await openReadSession(id)).session;
      return run({ ...context, session: await session(), sources, watermark: watermarks.open });
    },
  };
}
