import { EventEmitter } from 'node:events';
import type { QueryResult } from 'pg';
import { rememberCall } from '../postgres/failed-statement.js';
import {
  type Callback,
  type ProtocolClient,
  type Refusable,
  getCallback,
  getText,
  isSubmittable,
} from '../postgres/protocol.js';
import { createUnfinishedError } from '../postgres/task-connection-errors.js';
import { quoteIdentifier, quoteLiteral } from '../sql/quote.js';
import { ClientTransaction, type TaskTransaction } from './client-transaction.js';

/** The connection to which the clients of `session.pg` send their queries. */
export interface ClientTarget extends TaskTransaction {
  /** The driver's client of the connection. */
  readonly driver: ProtocolClient;
}

type Parser = (value: string) => unknown;

/**
 * A client of `session.pg`. It has the methods of `pg.PoolClient`, and sends its queries to the task connection. Its
 * transactions are savepoints (`ClientTransaction`).
 */
export class TaskClient extends EventEmitter {
  readonly #target: ClientTarget;
  readonly #onRelease: (error: unknown) => void;
  readonly #transaction: ClientTransaction;
  /** The parsers of `setTypeParser`, by format and OID. The driver's client gets none: the next task uses it, too. */
  readonly #parsers = new Map<string, Parser>();
  #isReleased = false;

  // A real pg.Pool reads these two, and keeps a client that has these values.
  readonly _queryable = true;
  readonly _ending = false;

  /** `onRelease` is called with the argument of `release`. */
  constructor(target: ClientTarget, onRelease: (error: unknown) => void = () => undefined) {
    super();
    this.#target = target;
    this.#onRelease = onRelease;
    this.#transaction = new ClientTransaction(target, this);
    this.on('newListener', (event: string | symbol) => {
      if ((event === 'notice' || event === 'notification') && this.listenerCount(event) === 0)
        target.taskConnection.listen(event, (message) => this.emit(event, message));
    });
  }

  /** The process ID of the backend. */
  get processID(): number | null | undefined {
    return this.#target.driver.processID;
  }

  /**
   * Has the signature of `pg.Client.query`: a text or a config with values and callback, or a stream or a cursor. Rejects
   * with the error of the server, with ETL-3202 for a COMMIT without a BEGIN, and with ETL-3209 for a transaction that a
   * savepoint can't be.
   */
  query(config: string | object, values?: unknown, callback?: Callback): unknown {
    if (config === null || config === undefined)
      throw new TypeError('Client was passed a null or undefined query');
    if (isSubmittable(config)) return this.#submit(config);
    const given = typeof values === 'function' ? (values as Callback) : (callback ?? getCallback(config));
    const list = typeof values === 'function' ? undefined : values;
    if (given !== undefined) return this.#send(config, list, given);
    const answered = new Promise<QueryResult>((resolve, reject) => {
      this.#send(config, list, (error, result) => {
        if (error) reject(error);
        else resolve(result as QueryResult);
      });
    });
    return answered.catch((error: unknown) => {
      rememberCall(error as Error);
      throw error;
    });
  }

  /** Returns a promise, or calls `callback`. The client is connected already. */
  connect(callback?: (error: Error | null, client?: TaskClient) => void): Promise<this> | undefined {
    if (callback === undefined) return Promise.resolve(this);
    queueMicrotask(() => callback(null, this));
    return undefined;
  }

  /**
   * Gives the client back. An open transaction is rolled back and makes the task fail with ETL-3211, unless `error` is
   * truthy: pg then destroys a connection, which also rolls back. Throws `Error` if the client was released before.
   */
  release(error?: unknown): void {
    if (this.#isReleased)
      throw new Error('Release called on client which has already been released to the pool.');
    this.#isReleased = true;
    if (this.#transaction.isOpen) {
      if (!error) this.#target.taskConnection.refused ??= createUnfinishedError();
      this.#transaction.rollBack(() => undefined);
    }
    this.#onRelease(error);
  }

  /** Rolls back an open transaction. The runner ends the connection. */
  end(callback?: () => void): Promise<void> | undefined {
    if (callback === undefined)
      return new Promise<void>((resolve) => this.#transaction.rollBack(() => resolve()));
    this.#transaction.rollBack(() => callback());
    return undefined;
  }

  /** Does nothing. The runner keeps the process alive. */
  ref(): void {}

  /** Does nothing. The runner keeps the process alive. */
  unref(): void {}

  /** The state of the transaction: `T`, or `E` after an error. */
  getTransactionStatus(): string | null {
    return this.#target.driver.getTransactionStatus();
  }

  /** Sets the parser of a type for the queries of this client. As in pg, `format` can be left out. */
  setTypeParser(oid: number, format: unknown, parser?: Parser): void {
    const parse = typeof format === 'function' ? (format as Parser) : parser;
    const name = format === 'binary' ? 'binary' : 'text';
    if (parse !== undefined) this.#parsers.set(`${name} ${oid}`, parse);
  }

  /** Returns the parser of a type. */
  getTypeParser(oid: number, format: 'text' = 'text'): Parser {
    return this.#parsers.get(`${format} ${oid}`) ?? this.#target.driver.getTypeParser(oid, format);
  }

  escapeIdentifier(text: string): string {
    return quoteIdentifier(text);
  }

  escapeLiteral(text: string): string {
    return quoteLiteral(text);
  }

  #submit(query: Refusable & { readonly text?: unknown }): unknown {
    const { text } = query;
    // The answer to BEGIN is not a stream, so `handleError` gets it only if it is an error.
    const refuse: Callback = (error) => error && query.handleError?.(error);
    if (typeof text === 'string' && this.#transaction.answer(text, refuse)) return query;
    return this.#target.taskConnection.query(query, undefined, undefined, { client: this });
  }

  #send(config: string | object, values: unknown, callback: Callback): void {
    const { taskConnection } = this.#target;
    const report: Callback = (error, result) => {
      if (error) taskConnection.reported = error;
      callback(error, result);
    };
    if (this.#transaction.answer(getText(config), report)) return;
    taskConnection.query(this.#addParsers(config), values, report, { client: this });
  }

  /** Adds the parsers of `setTypeParser` to a query that has none of its own. */
  #addParsers(config: string | object): unknown {
    if (this.#parsers.size === 0) return config;
    return { types: this, ...(typeof config === 'string' ? { text: config } : config) };
  }
}
