import type { SessionContext } from '../task.js';
import type { TransactionBody } from './body.js';

/** A function with a session: the kind for models, and for whatever needs more than SQL. */
export function sessionBody(run: (context: SessionContext) => Promise<unknown>): TransactionBody {
  return {
    transactional: true,
    source: async () => run.toString(),
    run: async ({ context, session }) => run({ ...context, session: await session() }),
  };
}
