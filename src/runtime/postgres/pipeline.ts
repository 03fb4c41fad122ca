import { encodePipeline } from './pipeline-message.js';
import { forgetPreparedStatements, findPreparedStatements } from './prepared-statements.js';
import type {
  StatementResult,
  DriverQuery,
  PipelineStatement,
  ProtocolClient,
  ProtocolConnection,
  ServerMessage,
} from './protocol.js';

/**
 * Statements that travel in one message, and their answers in another. The server passes over all that come after one
 * that fails, up to the end of the flight: so each may count on those before it.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING
 */
export class Pipeline {
  readonly #statements: readonly PipelineStatement[];
  readonly #last: DriverQuery | undefined;
  readonly #onAnswer: ((answer: StatementResult) => void) | undefined;
  readonly #answers: StatementResult[] = [];
  #rows: (readonly (string | null)[])[] = [];
  #behind: { readonly pipeline: Pipeline; readonly client: ProtocolClient } | undefined;
  #isWritten = false;
  #resolve: (answers: readonly StatementResult[]) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  /** The answers, when the connection is ready for more. Rejects with the first error of `legs`. */
  readonly completed: Promise<readonly StatementResult[]>;
  /** How many of `legs` have been answered: the index of the one that failed. */
  get answered(): number {
    return this.#answers.length;
  }

  /** `last` is a query of the driver's that goes behind them; it hears of its own answer, or of the first error. */
  constructor(
    statements: readonly PipelineStatement[],
    last?: DriverQuery,
    onAnswer?: (answer: StatementResult) => void,
  ) {
    this.#statements = statements;
    this.#last = last;
    this.#onAnswer = onAnswer;
    this.completed = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.completed.catch(() => undefined); // Whoever sent it may have another way to learn of its failure.
  }

  /** Sends it. */
  send(client: ProtocolClient): Promise<readonly StatementResult[]> {
    client.query(this);
    return this.completed;
  }

  /**
   * Sends it with another flight in the same write: that one takes place whatever becomes of this, and is on its way back
   * when this one has landed.
   */
  sendWith(pipeline: Pipeline, client: ProtocolClient): Promise<readonly StatementResult[]> {
    this.#behind = { pipeline, client };
    return this.send(client);
  }

  submit(connection: ProtocolConnection): Error | null {
    if (this.#isWritten) return null;
    const { stream } = connection;
    if (this.#last === undefined) {
      stream.write(this.#encode(connection));
      return null;
    }
    stream.cork();
    try {
      stream.write(this.#encode(connection));
      return this.#last.submit(connection);
    } finally {
      stream.uncork();
    }
  }

  handleRowDescription(message: ServerMessage): void {
    this.#last?.handleRowDescription(message);
  }

  handleDataRow(message: ServerMessage): void {
    if (this.#isOnLast) this.#last?.handleDataRow(message);
    else this.#rows.push(message.fields ?? []);
  }

  handleCommandComplete(message: ServerMessage, connection: ProtocolConnection): void {
    if (this.#isOnLast) {
      this.#last?.handleCommandComplete(message, connection);
      return;
    }
    const answer = { rows: this.#rows, tag: message.text ?? '' };
    this.#rows = [];
    this.#answers.push(answer);
    this.#onAnswer?.(answer);
  }

  handleEmptyQuery(connection: ProtocolConnection): void {
    this.#last?.handleEmptyQuery(connection);
  }

  handleError(error: Error, connection: ProtocolConnection): void {
    // The server has not come to all that it was to parse.
    forgetPreparedStatements(connection);
    this.#follow();
    this.#reject(error);
    this.#last?.handleError(error, connection);
  }

  handleReadyForQuery(connection: ProtocolConnection): void {
    this.#follow();
    this.#resolve(this.#answers);
    this.#last?.handleReadyForQuery(connection);
  }

  #encode(connection: ProtocolConnection): Buffer {
    this.#isWritten = true;
    const own = encodePipeline(
      this.#statements,
      this.#last === undefined,
      findPreparedStatements(connection),
    );
    const behind = this.#behind?.pipeline;
    return behind === undefined ? own : Buffer.concat([own, behind.#encode(connection)]);
  }

  /** The answers that come next are those of the flight behind. */
  #follow(): void {
    const { pipeline, client } = this.#behind ?? {};
    this.#behind = undefined;
    if (pipeline !== undefined) client?.query(pipeline);
  }

  get #isOnLast(): boolean {
    return this.#answers.length === this.#statements.length;
  }
}
