import type { PlainBody } from './task-body.js';
import type { TaskContext } from './task-context.js';

/**
 * The body of a `task`: a function without a connection, for example for HTTP requests. It runs at least once.
 *
 * A class, because its methods are shared: a Dag can have a million tasks, and object literals would take more memory.
 */
export class PlainFunction implements PlainBody {
  readonly run: (context: TaskContext) => Promise<unknown>;

  constructor(run: (context: TaskContext) => Promise<unknown>) {
    this.run = run;
  }

  get transactional(): false {
    return false;
  }

  listCode(): Readonly<Record<string, unknown>> {
    return { 'its function': this.run };
  }
}
