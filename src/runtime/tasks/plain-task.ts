import type { PlainBody } from './task-body.js';
import type { TaskContext } from './task-context.js';

/** A function without a connection, for HTTP and the like: it runs at least once. */
export function createPlainBody(run: (context: TaskContext) => Promise<unknown>): PlainBody {
  return new FunctionBody(run);
}

/** A class, because a Dag can have a million of them. */
class FunctionBody implements PlainBody {
  readonly run: (context: TaskContext) => Promise<unknown>;

  constructor(run: (context: TaskContext) => Promise<unknown>) {
    this.run = run;
  }

  get transactional(): false {
    return false;
  }

  async readCode(): Promise<string> {
    return this.run.toString();
  }
}
