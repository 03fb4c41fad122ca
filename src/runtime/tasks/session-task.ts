import type { Session } from '../session/session.js';
import type { TransactionBody } from './task-body.js';
import type { SessionContext } from './task-context.js';

/** A function with a session: the kind for models, and for whatever needs more than SQL. */
export function sessionBody(
  run: (context: SessionContext) => Promise<unknown>,
  reads: readonly string[],
): TransactionBody {
  return {
    transactional: true,
    source: async () => run.toString(),
    run: async ({ context, session, source, watermarks }) => {
      const sources: Record<string, Session> = {};
      for (const id of reads) sources[id] = (await source(id)).session;
      return run({ ...context, session: await session(), sources, watermark: watermarks.open });
    },
  };
}
