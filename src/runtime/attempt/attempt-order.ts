import type { TaskKey } from '../ledger/task-row.js';
import type { PlannedTask } from '../dag/plan.js';
import type { RunDatabase } from '../database/run-database.js';
import type { OpenSource } from '../session/read-session.js';
import type { TransactionBody, Work } from '../tasks/task-body.js';
import type { TaskContext } from '../tasks/task-context.js';

/** Everything that one attempt of a task inside a transaction needs. */
export interface AttemptOrder {
  readonly task: PlannedTask;
  readonly body: TransactionBody;
  readonly database: RunDatabase;
  readonly key: TaskKey;
  readonly fingerprint: string;
  /** From 1. */
  readonly attempt: number;
  readonly context: TaskContext;
  /** Aborts with the reason, an `EtlError`, when the attempt must stop. */
  readonly signal: AbortSignal;
  /** What is left of the attempt's time when it begins its transaction, in milliseconds. */
  readonly budgetMs: () => number | undefined;
  readonly root: string;
  /** As in `Work`. */
  readonly moved: Work['moved'];
  /** Opens a connection that the task reads from. */
  readonly openSource: OpenSource;
  /** Stops after the claim: to learn whether an earlier attempt was committed. */
  readonly claimOnly: boolean;
  /**
   * Nobody can have claimed the task before: the first attempt of a new run, whose process has the Dag's lock. Then its
   * body begins while the claim is on its way.
   */
  readonly isFirst: boolean;
  /** Called with one line that a person should read. */
  readonly notice: (text: string) => void;
  /** Called with a query that the task sent after it had been committed. */
  readonly onLateQuery: (sql: string) => void;
}
