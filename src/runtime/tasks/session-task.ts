import type { Session } from '../session/session.js';
import type { TransactionBody } from './task-body.js';
import type { SessionContext } from './task-context.js';

/** A function with a session: the kind for models, and for whatever needs more than SQL. */
export function createSessionBody(
  run: (context: SessionContext) => Promise<unknown>,
  reads: readonly string[],
): TransactionBody {
  return {
    transactional: true,
    readCode: async () => run.toString(),
    run: async ({ context, session, openReadSession: source, watermarks }) => {
      const sources: Record<string, Session> = {};
      for (const id of reads) sources[id] = (await source(id)).session;
      return run({ ...context, session: await session(), sources, watermark: watermarks.open });
    },
  };
}
