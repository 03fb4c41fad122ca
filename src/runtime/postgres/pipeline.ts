import { encodeFlight } from './pipeline-message.js';
import { forgetStatements, keptStatements } from './prepared-statements.js';
import type {
  Answer,
  DriverQuery,
  Leg,
  ProtocolClient,
  ProtocolConnection,
  ServerMessage,
} from './protocol.js';

/**
 * Statements that travel in one message, and their answers in another. The server passes over all that come after one
 * that fails, up to the end of the flight: so each may count on those before it.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING
 */
export class Flight {
  readonly #legs: readonly Leg[];
  readonly #last: DriverQuery | undefined;
  readonly #onAnswer: ((answer: Answer) => void) | undefined;
  readonly #answers: Answer[] = [];
  #rows: (readonly (string | null)[])[] = [];
  #behind: { readonly flight: Flight; readonly client: ProtocolClient } | undefined;
  #isWritten = false;
  #resolve: (answers: readonly Answer[]) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  /** The answers, when the connection is ready for more. Rejects with the first error of `legs`. */
  readonly landed: Promise<readonly Answer[]>;
  /** How many of `legs` have been answered: the index of the one that failed. */
  get answered(): number {
    return this.#answers.length;
  }

  /** `last` is a query of the driver's that goes behind them; it hears of its own answer, or of the first error. */
  constructor(legs: readonly Leg[], last?: DriverQuery, onAnswer?: (answer: Answer) => void) {
    this.#legs = legs;
    this.#last = last;
    this.#onAnswer = onAnswer;
    this.landed = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.landed.catch(() => undefined); // Whoever sent it may have another way to learn of its failure.
  }

  /** Sends it. */
  send(client: ProtocolClient): Promise<readonly Answer[]> {
    client.query(this);
    return this.landed;
  }

  /**
   * Sends it with another flight in the same write: that one takes place whatever becomes of this, and is on its way back
   * when this one has landed.
   */
  sendWith(flight: Flight, client: ProtocolClient): Promise<readonly Answer[]> {
    this.#behind = { flight, client };
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
    forgetStatements(connection);
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
    const own = encodeFlight(this.#legs, this.#last === undefined, keptStatements(connection));
    const behind = this.#behind?.flight;
    return behind === undefined ? own : Buffer.concat([own, behind.#encode(connection)]);
  }

  /** The answers that come next are those of the flight behind. */
  #follow(): void {
    const { flight, client } = this.#behind ?? {};
    this.#behind = undefined;
    if (flight !== undefined) client?.query(flight);
  }

  get #isOnLast(): boolean {
    return this.#answers.length === this.#legs.length;
  }
}
