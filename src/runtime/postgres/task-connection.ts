import { setImmediate as turn } from 'node:timers/promises';
import type { QueryResult } from 'pg';
import { cancelStatement } from '../../hooks/client.js';
import { createCopyOpenError, createLeftOpenError, createTooLateError } from './task-connection-errors.js';
import { getCallback, isSubmittable } from './protocol.js';
import type { Callback, ProtocolClient, ServerMessage } from './protocol.js';
import {
  BEGIN_QUERY,
  type TransactionBegin,
  createQueuedQuery,
  createQueuedStream,
  type QueuedQuery,
} from './queued-query.js';
import { RowCount } from './row-count.js';
import { isConnectionEnd } from './sqlstate.js';
import { CLEAN_UP_MS, LAST_STATEMENT_MS, STREAM_GRACE_MS, within } from '../waiting.js';

/** A statement that failed: its text, and what the server said of it. */
export interface FailedStatement {
  readonly sql: string;
  readonly message: string;
}

/**
 * The connection of one attempt, as the task sees it, under Knex, COPY streams and cursors alike: passes queries on
 * one at a time, and only between `open()` and `shut()`. It also watches what the server says, because Knex and
 * pg do not tell when a transaction ended, failed, or was terminated.
 */
export class TaskConnection {
  readonly #client: ProtocolClient;
  /** The statement behind an error, and the server's message, which Knex rewrites. */
  readonly #statements = new WeakMap<object, FailedStatement>();
  readonly #queue: QueuedQuery[] = [];
  readonly #listeners: readonly [event: string, listener: (message: ServerMessage) => void][];
  #active: QueuedQuery | undefined;
  #gate: 'fresh' | 'opening' | 'open' | 'shut' = 'fresh';
  /** Goes out before the first query, or together with it. */
  #transactionBegin: TransactionBegin | undefined;
  /** The transaction must still be open when the server is ready for the next statement. */
  #isInTransaction = false;
  #onQuiet: (() => void) | undefined;

  /** Rows that the task's own statements wrote, by the server's command tags. */
  readonly rows = new RowCount();

  /** The first error of a statement that no savepoint has undone: the transaction can't commit. */
  failure: ServerMessage | undefined;
  /** The server's last word before it closed the connection, such as 57P01. */
  fatal: ServerMessage | undefined;
  /** The connection is gone, for this reason. */
  lost: Error | undefined;
  /** The transaction ended while the task was running: the task sent COMMIT or ROLLBACK itself. */
  ended = false;
  /** A query came after the task had finished; it was refused. */
  late: string | undefined;
  /** Called with the first lines of each query that comes too late. */
  onLate: ((sql: string) => void) | undefined;

  constructor(client: ProtocolClient) {
    this.#client = client;
    this.#listeners = [
      ['errorMessage', (message) => this.#onError(message)],
      ['commandComplete', (message) => this.#onComplete(message)],
      ['copyInResponse', () => this.rows.copyIn()],
      ['readyForQuery', (message) => this.#onReady(message)],
    ];
    for (const [event, listener] of this.#listeners) client.connection.on(event, listener);
    client.on('error', this.#onLost);
    client.on('end', this.#onLost);
  }

  /** Stops watching; the connection can go back to its pool. */
  detach(): void {
    for (const [event, listener] of this.#listeners) this.#client.connection.removeListener(event, listener);
    this.#client.removeListener('error', this.#onLost);
    this.#client.removeListener('end', this.#onLost);
  }

  /** From now on the task's queries pass, in the transaction that is open. */
  open(): void {
    this.#gate = 'open';
    this.#isInTransaction = true;
  }

  /** From now on the task's queries pass; `opening` goes out with the first of them, or by `begin`, or fails. */
  openWithBegin(transactionBegin: TransactionBegin): void {
    this.#gate = 'opening';
    this.#transactionBegin = transactionBegin;
    if (this.lost !== undefined) transactionBegin.fail(this.lost);
  }

  /** Sends the opening if it has not gone out yet. */
  begin(): void {
    if (this.#transactionBegin?.isSent === false && this.#gate === 'opening' && this.lost === undefined)
      this.#send(this.#transactionBegin);
  }

  /** Sends the opening when the first query has had its chance to travel with it. */
  async beginSoon(): Promise<void> {
    await turn();
    await turn();
    this.begin();
  }

  /** From now on queries are refused, also those that wait for their turn. */
  close(): void {
    this.#gate = 'shut';
    if (this.#transactionBegin?.isSent === false) this.#transactionBegin.fail(createTooLateError());
    for (const query of this.#queue.splice(0)) query.refuse(createTooLateError());
  }

  /** Runs a query when those before it are done: the signature of `pg.Client.query`. */
  query(config: unknown, values?: unknown, callback?: Callback): unknown {
    if (isSubmittable(config)) {
      this.#enqueue(createQueuedStream(this.#client, config));
      return config;
    }
    const given = typeof values === 'function' ? (values as Callback) : (callback ?? getCallback(config));
    if (given === undefined) {
      return new Promise<QueryResult>((resolve, reject) => {
        this.query(config, values, (error, result) => {
          if (error) reject(error);
          else resolve(result as QueryResult);
        });
      });
    }
    this.#enqueue(
      createQueuedQuery(this.#client, config, typeof values === 'function' ? undefined : values, given),
    );
    return undefined;
  }

  /** From now on it is the runner who ends the transaction. */
  endByRunner(): void {
    this.#isInTransaction = false;
  }

  /**
   * Waits for the queries that the task started and did not await; then nothing of the task's is on the wire.
   * Throws when a COPY or a cursor was left open.
   */
  async awaitQueries(): Promise<void> {
    // A Knex builder reaches the wire up to two turns after its `then` was called.
    await turn();
    await turn();
    while (this.#active !== undefined && this.lost === undefined) {
      const quiet = new Promise<void>((resolve) => (this.#onQuiet = resolve));
      if (this.#active.stream === undefined) await quiet;
      else if (!(await within(quiet, STREAM_GRACE_MS))) throw createLeftOpenError();
      await turn();
    }
  }

  /**
   * Waits a moment for what is on the wire after the task has failed: an error comes before the server says in which
   * state the transaction is.
   */
  async drain(): Promise<void> {
    if (this.#active === undefined || this.lost !== undefined) return;
    await within(new Promise<void>((resolve) => (this.#onQuiet = resolve)), LAST_STATEMENT_MS);
  }

  /** Asks the server to end what is under way. Never rejects. */
  cancel(): Promise<void> {
    return cancelStatement(this.#client, CLEAN_UP_MS);
  }

  /** The statement that an error of this connection came from. */
  findStatement(error: object): FailedStatement | undefined {
    return this.#statements.get(error);
  }

  /** True while something of the task's is on the wire or waits for it. */
  get busy(): boolean {
    return this.#active !== undefined || this.#queue.length > 0;
  }

  /** A COPY that goes on only when the task brings or takes its next part. */
  get #held(): QueuedQuery | undefined {
    return this.#active?.stream?.isHeld ? this.#active : this.#queue.find(({ stream }) => stream?.isHeld);
  }

  #enqueue(query: QueuedQuery): void {
    if (this.lost !== undefined) query.refuse(this.lost);
    else if (this.#gate !== 'shut' && this.#held !== undefined)
      query.refuse(createCopyOpenError(this.#held.sql));
    else if (this.#gate === 'open' || this.#gate === 'opening') {
      this.#queue.push(query);
      this.#sendNext();
    } else {
      this.late ??= query.sql;
      query.refuse(createTooLateError());
      this.onLate?.(query.sql);
    }
  }

  #sendNext(): void {
    if (this.#active !== undefined) return;
    if (this.#transactionBegin?.isSent === false) {
      this.#send(this.#transactionBegin);
      return;
    }
    this.#active = this.#queue.shift();
    if (this.#active === undefined) this.#onQuiet?.();
    else this.#active.start();
  }

  /** The first query travels with the opening; one that can't waits for its answer. */
  #send(transactionBegin: TransactionBegin): void {
    const first = this.#queue[0]?.toPipelined();
    this.#active = first === undefined ? BEGIN_QUERY : this.#queue.shift();
    transactionBegin.send(this.#client, first);
  }

  #onError(message: ServerMessage): void {
    // The severity is in the language of the server.
    if (isConnectionEnd(message)) this.fatal ??= message;
    else if (this.#gate === 'open') this.failure ??= message;
    // Without its transaction nothing of the task's may be sent any more.
    if (this.#gate === 'opening') this.close();
    else if (this.#active)
      this.#statements.set(message, { sql: this.#active.sql, message: message.message ?? '' });
  }

  #onComplete(message: ServerMessage): void {
    if (this.#gate === 'open') this.rows.add(message.text ?? '', this.#active?.sql ?? '');
    else if (this.#gate === 'opening' && this.#transactionBegin?.isOver) this.open();
  }

  #onReady(message: ServerMessage): void {
    if (message.status === 'T') this.failure = undefined;
    if (message.status === 'I' && this.#isInTransaction) {
      // The next statement would be committed by itself: cut the connection before it is sent.
      this.ended = true;
      this.#onLost();
      this.#client.connection.stream.destroy();
      return;
    }
    this.#active = undefined;
    this.#sendNext();
  }

  readonly #onLost = (error?: Error): void => {
    this.lost ??= error ?? new Error('the connection was closed');
    this.#transactionBegin?.fail(this.lost);
    for (const query of this.#queue.splice(0)) query.refuse(this.lost);
    this.#active = undefined;
    this.#onQuiet?.();
  };
}
