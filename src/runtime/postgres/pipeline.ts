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
 * Several statements that are sent without waiting for answers, in one write. If a statement fails, the server skips
 * all later statements of the pipeline. So each statement can rely on the success of the statements before it.
 *
 * The class has the methods that `pg.Client` calls on a query.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING
 */
export class Pipeline {
  readonly #statements: readonly PipelineStatement[];
  readonly #lastQuery: DriverQuery | undefined;
  readonly #onAnswer: ((answer: StatementResult) => void) | undefined;
  readonly #answers: StatementResult[] = [];
  #rows: (readonly (string | null)[])[] = [];
  /** The second pipeline of `sendWith`, which is written together with this pipeline. */
  #next: { readonly pipeline: Pipeline; readonly client: ProtocolClient } | undefined;
  #isWritten = false;
  #resolve: (answers: readonly StatementResult[]) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  /** Resolves to the answers when the server is ready for the next query. Rejects with the first error. */
  readonly completed: Promise<readonly StatementResult[]>;
  /** The number of statements that were answered. After an error, the index of the statement that failed. */
  get answered(): number {
    return this.#answers.length;
  }

  /**
   * `last` is a query of the driver that follows the statements. `last` receives its own answer, or the first error.
   * `onAnswer` is called with each answer of `statements` when the answer arrives.
   */
  constructor(
    statements: readonly PipelineStatement[],
    last?: DriverQuery,
    onAnswer?: (answer: StatementResult) => void,
  ) {
    this.#statements = statements;
    this.#lastQuery = last;
    this.#onAnswer = onAnswer;
    this.completed = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Prevents an unhandled rejection: a caller can learn of the failure in another way.
    this.completed.catch(() => undefined);
  }

  /** Sends the pipeline. Returns `completed`. */
  send(client: ProtocolClient): Promise<readonly StatementResult[]> {
    client.query(this);
    return this.completed;
  }

  /**
   * Sends this pipeline and a second pipeline in the same write. The server executes the second pipeline even if this
   * pipeline fails. The answers of the second pipeline follow the answers of this pipeline.
   */
  sendWith(pipeline: Pipeline, client: ProtocolClient): Promise<readonly StatementResult[]> {
    this.#next = { pipeline, client };
    return this.send(client);
  }

  /**
   * Writes the pipeline and the last query in one piece. The driver calls this method when the pipeline becomes its
   * active query. Does nothing if this is the second pipeline of `sendWith`, which is written already. Returns the
   * error of the last query if the query can't be sent, else null.
   */
  submit(connection: ProtocolConnection): Error | null {
    if (this.#isWritten) return null;
    const { stream } = connection;
    if (this.#lastQuery === undefined) {
      stream.write(this.#encode(connection));
      return null;
    }
    // Holds the bytes back until `uncork`: the driver writes the last query itself, message by message.
    stream.cork();
    try {
      stream.write(this.#encode(connection));
      return this.#lastQuery.submit(connection);
    } finally {
      stream.uncork();
    }
  }

  handleRowDescription(message: ServerMessage): void {
    this.#lastQuery?.handleRowDescription(message);
  }

  handleDataRow(message: ServerMessage): void {
    if (this.#isOnLast) this.#lastQuery?.handleDataRow(message);
    else this.#rows.push(message.fields ?? []);
  }

  /** Stores the answer of a statement, or passes the message to the last query. */
  handleCommandComplete(message: ServerMessage, connection: ProtocolConnection): void {
    if (this.#isOnLast) {
      this.#lastQuery?.handleCommandComplete(message, connection);
      return;
    }
    const answer = { rows: this.#rows, tag: message.text ?? '' };
    this.#rows = [];
    this.#answers.push(answer);
    this.#onAnswer?.(answer);
  }

  handleEmptyQuery(connection: ProtocolConnection): void {
    this.#lastQuery?.handleEmptyQuery(connection);
  }

  /** Rejects `completed` and passes the error to the last query, which the server has skipped or refused. */
  handleError(error: Error, connection: ProtocolConnection): void {
    // The server has skipped the statements after the error, so it is unknown which statements are prepared.
    forgetPreparedStatements(connection);
    this.#submitNext();
    this.#reject(error);
    this.#lastQuery?.handleError(error, connection);
  }

  handleReadyForQuery(connection: ProtocolConnection): void {
    this.#submitNext();
    this.#resolve(this.#answers);
    this.#lastQuery?.handleReadyForQuery(connection);
  }

  /** Encodes this pipeline and, behind it, the second pipeline. Marks both as written. */
  #encode(connection: ProtocolConnection): Buffer {
    this.#isWritten = true;
    const own = encodePipeline(
      this.#statements,
      this.#lastQuery === undefined,
      findPreparedStatements(connection),
    );
    const next = this.#next?.pipeline;
    return next === undefined ? own : Buffer.concat([own, next.#encode(connection)]);
  }

  /**
   * Gives the second pipeline to the driver as its next query, because the next answers belong to that pipeline. The
   * driver does not write it again: `submit` sees that it is written. Does nothing at a second call.
   */
  #submitNext(): void {
    const { pipeline, client } = this.#next ?? {};
    this.#next = undefined;
    if (pipeline !== undefined) client?.query(pipeline);
  }

  /** True if the next answer belongs to the last query. */
  get #isOnLast(): boolean {
    return this.#answers.length === this.#statements.length;
  }
}
