import { watchClaim } from './claim-wait.js';
import { Pipeline } from '../postgres/pipeline.js';
import { enablePreparedStatements } from '../postgres/prepared-statements.js';
import { type TaskKey, createClaimStatement } from '../ledger/task-row.js';
import type { StatementResult, DriverQuery, ProtocolClient, TransactionId } from '../postgres/protocol.js';
import { formatApplicationName, createBeginStatements, parseTransactionId } from '../postgres/transaction.js';
import { toError } from '../../errors.js';
import type { PlannedTask } from '../dag/plan.js';
import type { RunDatabase } from '../database/run-database.js';
import type { OpenReadSession } from '../session/read-session.js';
import type { TransactionBody, TaskWork } from '../tasks/task-body.js';
import type { TaskContext } from '../tasks/task-context.js';

/** The begin of an attempt's transaction with the claim of its task, sent once. */
export class TaskBegin {
  readonly #request: AttemptRequest;
  readonly #name: string;
  #answers = 0;
  #resolve: (isClaimed: boolean) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  /** Whether the task was claimed: no means that it is done. Rejects when the transaction could not be begun. */
  readonly claimed: Promise<boolean>;
  isSent = false;
  /** What the server, or the loss of the connection, said to it. */
  failure: Error | undefined;
  /** Known before the claim has answered, which may wait. */
  transaction: TransactionId | undefined;

  constructor(request: AttemptRequest) {
    this.#request = request;
    const { key } = request;
    this.#name = formatApplicationName(key.dagId, key.taskId);
    this.claimed = new Promise<boolean>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.claimed.catch(() => undefined); // An attempt may fail before it waits for this.
  }

  /** True when the claim has answered. */
  get isOver(): boolean {
    return this.#answers === LEGS;
  }

  /** Sends it, with `first` behind it: the server does not come to that when the claim fails. */
  send(client: ProtocolClient, first?: DriverQuery): void {
    const { task, key, fingerprint, attempt, isFirst, database } = this.#request;
    this.isSent = true;
    const settings = {
      isolation: task.isolation,
      budgetMs: this.#request.budgetMs(),
      name: this.#name,
      watchClient: database.database.openControl !== undefined,
    };
    const statements = [
      ...createBeginStatements(settings),
      createClaimStatement({ key, fingerprint, attempt }, isFirst),
    ];
    const pipeline = new Pipeline(statements, first, (answer) => this.#onAnswer(answer, client));
    pipeline.send(client).catch((error: unknown) => this.fail(toError(error)));
    watchClaim(this.claimed, {
      taskId: key.taskId,
      pid: () => this.transaction?.pid,
      name: this.#name,
      ask: (question) => database.ask(question),
      notice: database.database.notice,
    });
  }

  /** Nothing can be sent any more; without a meaning once the claim has answered. */
  fail(reason: Error): void {
    if (!this.isOver) this.failure ??= reason;
    this.#reject(reason);
  }

  #onAnswer(answer: StatementResult, client: ProtocolClient): void {
    this.#answers++;
    if (this.#answers === LEGS - 1) {
      this.transaction = parseTransactionId(answer);
      enablePreparedStatements(client, this.transaction);
    }
    if (this.isOver) this.#resolve(answer.tag === 'INSERT 0 1');
  }
}

/** BEGIN, the settings, the claim. */
const LEGS = 3;

/** Everything that one attempt of a task inside a transaction needs. */
export interface AttemptRequest {
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
  /** As in `Work`. */
  readonly moved: TaskWork['moved'];
  /** Opens a connection that the task reads from. */
  readonly openReadSession: OpenReadSession;
  /** Stops after the claim: to learn whether an earlier attempt was committed. */
  readonly claimOnly: boolean;
  /**
   * Nobody can have claimed the task before: the first attempt of a new run, whose process has the Dag's lock. Then its
   * body begins while the claim is on its way.
   */
  readonly isFirst: boolean;
  /** Called with a query that the task sent after it had been committed. */
  readonly onLateQuery: (sql: string) => void;
}
