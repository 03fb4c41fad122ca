import type { AttemptOrder } from './attempt-order.js';
import { watchClaim } from './claim-wait.js';
import { Flight } from '../postgres/pipeline.js';
import { keepStatements } from '../postgres/prepared-statements.js';
import { claimLeg } from '../ledger/task-row.js';
import type { Answer, DriverQuery, ProtocolClient, TransactionId } from '../postgres/protocol.js';
import { applicationName, beginLegs, transactionOf } from '../postgres/transaction.js';
import { asError } from '../../errors.js';

/** The begin of an attempt's transaction with the claim of its task, sent once. */
export class Opening {
  readonly #order: AttemptOrder;
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

  constructor(order: AttemptOrder) {
    this.#order = order;
    const { key } = order;
    this.#name = applicationName(key.dagId, key.taskId);
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
    const { task, key, fingerprint, attempt, isFirst, database, notice } = this.#order;
    this.isSent = true;
    const settings = {
      isolation: task.isolation,
      budgetMs: this.#order.budgetMs(),
      name: this.#name,
      watchClient: database.database.openControl !== undefined,
    };
    const legs = [...beginLegs(settings), claimLeg({ key, fingerprint, attempt }, isFirst)];
    const flight = new Flight(legs, first, (answer) => this.#onAnswer(answer, client));
    flight.send(client).catch((error: unknown) => this.fail(asError(error)));
    watchClaim(this.claimed, {
      taskId: key.taskId,
      pid: () => this.transaction?.pid,
      name: this.#name,
      ask: (question) => database.ask(question),
      notice,
    });
  }

  /** Nothing can be sent any more; without a meaning once the claim has answered. */
  fail(reason: Error): void {
    if (!this.isOver) this.failure ??= reason;
    this.#reject(reason);
  }

  #onAnswer(answer: Answer, client: ProtocolClient): void {
    this.#answers++;
    if (this.#answers === LEGS - 1) {
      this.transaction = transactionOf(answer);
      keepStatements(client, this.transaction);
    }
    if (this.isOver) this.#resolve(answer.tag === 'INSERT 0 1');
  }
}

/** BEGIN, the settings, the claim. */
const LEGS = 3;
