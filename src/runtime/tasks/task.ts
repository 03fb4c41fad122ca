import type { TaskContext } from '../task.js';
import type { PlainBody } from './body.js';

/** A function without a connection, for HTTP and the like: it runs at least once. */
export function plainBody(run: (context: TaskContext) => Promise<unknown>): PlainBody {
  return { transactional: false, source: async () => run.toString(), run };
}
