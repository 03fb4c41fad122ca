import type { BeforeCommit } from './before-commit.js';
import { watchClaim } from './claim-wait.js';
import { Pipeline } from '../postgres/pipeline.js';
import { enablePreparedStatements } from '../postgres/prepared-statements.js';
import { createNotWrittenError } from '../ledger/row-not-written.js';
import { CLAIMED, type TaskKey, createClaimStatement } from '../ledger/task-row.js';
import type { StatementResult, DriverQuery, ProtocolClient, TransactionId } from '../postgres/protocol.js';
import { formatSessionName } from '../ledger/ledger.js';
import type { Settings } from '../postgres/value-settings.js';
import { createBeginStatements, parseTransactionId } from '../postgres/transaction.js';
import { toError } from '../../errors.js';
import type { PlannedTask } from '../dag/plan.js';
import type { RunDatabase } from '../database/run-database.js';
import type { OpenReadSession } from '../session/read-session.js';
import type { TransactionBody, TaskWork } from '../tasks/task-body.js';
import type { TaskContext } from '../tasks/task-context.js';

/**
 * The begin of an attempt's transaction, together with the claim of the task. Both are sent once, in one pipeline.
 */
export class TaskBegin {
  readonly #request: AttemptRequest;
  readonly #name: string;
  /** The number of statements of the begin that the server has answered. */
  #answered = 0;
  #resolve: (isClaimed: boolean) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  /**
   * Resolves to true if the task was claimed, and to false if the task is already done. Rejects if the transaction
   * could not begin, or if the claim failed.
   */
  readonly claimed: Promise<boolean>;
  /** True from the moment when the pipeline was sent. */
  isSent = false;
  /** The error of the begin or of the claim: from the server, or the loss of the connection. */
  failure: Error | undefined;
  /**
   * The ID of the transaction. The ID is known before the claim has its answer, so a claim that waits can be
   * cancelled.
   */
  transaction: TransactionId | undefined;

  constructor(request: AttemptRequest) {
    this.#request = request;
    const { key, database } = request;
    this.#name = formatSessionName(database.schema, key.dagId, key.taskId);
    this.claimed = new Promise<boolean>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.claimed.catch(() => undefined); // An attempt may fail before it awaits the claim.
  }

  /** True if the server has answered the claim. */
  get isOver(): boolean {
    return this.#answered === STATEMENT_COUNT;
  }

  /**
   * Sends the begin and the claim, with the first query of the task (`first`) behind them in one pipeline. The server
   * skips the query if the claim fails. Returns at once; `claimed` tells the answer. A notice is written if the claim
   * has to wait.
   */
  send(client: ProtocolClient, first?: DriverQuery): void {
    const { task, body, key, fingerprint, attempt, isFirst, database } = this.#request;
    this.isSent = true;
    const settings = {
      isolation: task.isolation,
      budgetMs: this.#request.budgetMs(),
      name: this.#name,
      values: body.settings ?? NO_SETTINGS,
      watchClient: database.database.openControl !== undefined,
    };
    const statements = [
      ...createBeginStatements(settings, client),
      createClaimStatement(database.schema, { key, fingerprint, attempt }, isFirst),
    ];
    const pipeline = new Pipeline(statements, first, (answer) => this.#onAnswer(answer, client));
    pipeline.send(client).catch((error: unknown) => this.fail(toError(error)));
    watchClaim(this.claimed, {
      taskId: key.taskId,
      pid: () => this.transaction?.pid,
      name: this.#name,
      schema: database.schema,
      ask: (question) => database.ask(question),
      notice: database.database.notice,
      poolSize: database.database.poolSize,
    });
  }

  /** Rejects `claimed`: nothing can be sent any more. Has no effect if the server has answered the claim. */
  fail(reason: Error): void {
    if (!this.isOver) this.failure ??= reason;
    this.#reject(reason);
  }

  /** Takes the answers to BEGIN, to the settings and to the claim, in this order. */
  #onAnswer(answer: StatementResult, client: ProtocolClient): void {
    this.#answered++;
    // The settings are the statement before the claim. Their answer has the ID of the transaction.
    if (this.#answered === STATEMENT_COUNT - 1) {
      this.transaction = parseTransactionId(answer);
      enablePreparedStatements(client, this.transaction);
    }
    if (!this.isOver) return;
    const isClaimed = answer.tag === CLAIMED;
    // The row of a task that is already done makes the fast claim fail, and makes the safe claim insert nothing.
    if (isClaimed || !this.#request.isFirst) this.#resolve(isClaimed);
    else this.#reject(createNotWrittenError(this.#request.database.schema, 'task'));
  }
}

/** The settings of a task that needs none in addition to those of every task. */
const NO_SETTINGS: Settings = {};

/** The number of statements of the begin: BEGIN, the settings, the claim. */
const STATEMENT_COUNT = 3;

/** The input of one attempt of a task inside a transaction. */
export interface AttemptRequest {
  readonly task: PlannedTask;
  readonly body: TransactionBody;
  readonly database: RunDatabase;
  readonly key: TaskKey;
  readonly fingerprint: string;
  /** True if the Dag uses more than one connection, so messages name the connection. */
  readonly hasSeveralConnections: boolean;
  /** The number of the attempt, from 1. */
  readonly attempt: number;
  readonly context: TaskContext;
  /** Aborts with the reason, an `EtlError`, when the attempt must stop. */
  readonly signal: AbortSignal;
  /**
   * Returns how much of the task's timeout is left, in milliseconds. Called when the transaction begins. Undefined if
   * the task has no timeout.
   */
  readonly budgetMs: () => number | undefined;
  /** Called when the COMMIT is sent. Work that is done now takes no time: the attempt waits for the answer. */
  readonly onCommitting: () => void;
  /** Takes the progress of the task, as in `TaskWork`. */
  readonly moved: TaskWork['moved'];
  readonly cursorReaders: TaskWork['cursorReaders'];
  /** Opens a read session for the task. */
  readonly openReadSession: OpenReadSession;
  /** True: the attempt ends after the claim. The claim tells whether an earlier attempt was committed. */
  readonly claimOnly: boolean;
  /**
   * True for the first attempt of a task in a new run. This process has the Dag's lock, so nobody can have claimed
   * the task before. The attempt then uses the fast claim: the body starts before the claim has its answer, which
   * saves a round trip.
   */
  readonly isFirst: boolean;
  /** Called with the SQL of each query that the task sends after its COMMIT. */
  readonly onLateQuery: (sql: string) => void;
  /** See `AttemptServices.beforeCommit`. */
  readonly beforeCommit: BeforeCommit | undefined;
}
