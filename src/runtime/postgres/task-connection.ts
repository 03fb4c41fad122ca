import { setImmediate as turn } from 'node:timers/promises';
import type { QueryResult } from 'pg';
import type { EtlError } from '../../errors.js';
import { cancelStatement } from '../../hooks/client.js';
import {
  assertValueCount,
  createCopyOpenError,
  createLeftOpenError,
  createPlainCopyError,
  createTooLateError,
  createWaitingError,
} from './task-connection-errors.js';
import { toError } from '../../errors.js';
import { prepareParameters } from './parameters.js';
import { getCallback, getValues, isSubmittable } from './protocol.js';
import type { Callback, ProtocolClient, ServerMessage } from './protocol.js';
import {
  BEGIN_QUERY,
  type TransactionBegin,
  createQueuedQuery,
  createQueuedStream,
  type QueryOrigin,
  type QueuedQuery,
} from './queued-query.js';
import { Reservation } from './reservation.js';
import { RowCount } from './row-count.js';
import { rememberStatement } from './failed-statement.js';
import { isConnectionEnd } from './sqlstate.js';
import { CLEAN_UP_MS, LAST_STATEMENT_MS, STREAM_GRACE_MS, STREAM_STALL_MS, within } from '../waiting.js';

/**
 * The guarded connection of one attempt. Knex, COPY streams and cursors of the task all send their queries through
 * it. The task connection sends one query at a time, and refuses queries outside the transaction of the task.
 *
 * The task connection also reads the messages of the server, because Knex and pg do not report that a transaction
 * ended, failed or was terminated.
 *
 * A task connection goes through these phases:
 *
 * - `new`: no query of the task may pass yet.
 * - `begin`, after `openWithBegin`: queries wait until the begin is sent and answered. The first query can be sent
 *   together with the begin.
 * - `open`, after the answer to the begin or after `open`: queries pass, one at a time.
 * - `closed`, after `close` or after the begin has failed: queries are refused.
 */
export class TaskConnection {
  readonly #client: ProtocolClient;
  readonly #connectionId: string;
  readonly #queue: QueuedQuery[] = [];
  /** The listeners for messages of the server. */
  readonly #listeners: readonly [event: string, listener: (message: ServerMessage) => void][];
  /** The listeners for events of the driver's client. */
  readonly #clientListeners: [event: string, listener: (argument: unknown) => void][] = [];
  /** The query that was sent and has no ReadyForQuery yet. */
  #active: QueuedQuery | undefined;
  /** The number of statements of the active query that the server has answered. */
  #answered = 0;
  /** The last error of a statement. */
  #lastError: ServerMessage | undefined;
  #phase: 'new' | 'begin' | 'open' | 'closed' = 'new';
  /** The begin of the transaction. The begin is sent before the first query or together with it. */
  #transactionBegin: TransactionBegin | undefined;
  /** True if the transaction must still be open at the next ReadyForQuery. */
  #isInTransaction = false;
  /** The timer of `#watchStall`. Undefined if no query waits behind a stream of the task. */
  #stallTimer: NodeJS.Timeout | undefined;
  /** Called when no query is left, or when the connection is lost. */
  #onIdle: (() => void) | undefined;
  /** A COPY whose data is being prepared: its SQL, and how to end the preparation. */
  #preparing: { readonly sql: string; readonly fail: (error: Error) => void } | undefined;

  /** Lets the queries of one client of `session.pg` pass while the client has a transaction open. */
  readonly reservation = new Reservation();
  /** The savepoints of `session.transaction` that are open, by name. */
  readonly savepoints = new Set<string>();
  /** The number of rows that the statements of the task wrote. */
  readonly rows = new RowCount();

  /** The first error of a statement that was not rolled back to a savepoint. Such a transaction can't commit. */
  failure: ServerMessage | undefined;
  /** The last message of the server before it closed the connection, such as 57P01. */
  fatal: ServerMessage | undefined;
  /** The last error that a client of `session.pg` has reported. Its library may throw another error for it. */
  reported: Error | undefined;
  /** The reason why the connection was lost. Undefined while the connection is open. */
  lost: Error | undefined;
  /** True if the transaction ended while the task was running: the task sent COMMIT or ROLLBACK itself. */
  isEndedByTask = false;
  /** The error of the first query that was not sent, because it would have ended the transaction or the connection. */
  refused: EtlError | undefined;
  /** The SQL of the first query that came after the task had returned. The query was refused. */
  lateQuery: string | undefined;
  /** Called with the SQL of each query that comes after the task has returned. */
  onLate: ((sql: string) => void) | undefined;

  /** `connectionId` is the ID of the connection, for messages. */
  constructor(client: ProtocolClient, connectionId: string) {
    this.#client = client;
    this.#connectionId = connectionId;
    this.#listeners = [
      ['errorMessage', (message) => this.#onError(message)],
      ['commandComplete', (message) => this.#onComplete(message)],
      ['copyInResponse', () => this.#onCopy('from')],
      ['copyOutResponse', () => this.#onCopy('to')],
      ['readyForQuery', (message) => this.#onReady(message)],
    ];
    for (const [event, listener] of this.#listeners) client.connection.on(event, listener);
    client.on('error', this.#onLost);
    client.on('end', this.#onLost);
  }

  /** Calls `listener` for each event of the driver's client, such as `notice`, until `detach`. */
  listen(event: string, listener: (argument: unknown) => void): void {
    this.#client.on(event, listener);
    this.#clientListeners.push([event, listener]);
  }

  /** Removes all listeners, so that the connection can go back to its pool. */
  detach(): void {
    clearTimeout(this.#stallTimer);
    for (const [event, listener] of this.#listeners) this.#client.connection.removeListener(event, listener);
    for (const [event, listener] of this.#clientListeners) this.#client.removeListener(event, listener);
    this.#client.removeListener('error', this.#onLost);
    this.#client.removeListener('end', this.#onLost);
  }

  /** Lets the queries of the task pass. The transaction must be open. */
  open(): void {
    this.#phase = 'open';
    this.#isInTransaction = true;
  }

  /**
   * Lets the queries of the task pass. The begin is sent together with the first query, or by `begin`.
   * `transactionBegin` fails if nothing can be sent.
   */
  openWithBegin(transactionBegin: TransactionBegin): void {
    this.#phase = 'begin';
    this.#transactionBegin = transactionBegin;
    if (this.lost !== undefined) transactionBegin.fail(this.lost);
  }

  /** Sends the begin. Does nothing if the begin was sent already, after `close`, and without a connection. */
  begin(): void {
    if (this.#transactionBegin?.isSent === false && this.#phase === 'begin' && this.lost === undefined)
      this.#send(this.#transactionBegin);
  }

  /**
   * Sends the begin, but waits two turns of the event loop before. A first query that the body sends in the meantime
   * sends the begin itself, in one pipeline with the query.
   */
  async beginSoon(): Promise<void> {
    await turn();
    await turn();
    this.begin();
  }

  /** Refuses all queries from now on, including the queries that wait. */
  close(): void {
    this.#phase = 'closed';
    if (this.#transactionBegin?.isSent === false) this.#transactionBegin.fail(createTooLateError());
    this.#refuseWaiting(createTooLateError);
  }

  /**
   * Sends a query after the queries before it are done, or refuses the query. The signature is the signature of
   * `pg.Client.query`. There are three cases:
   *
   * - A COPY stream or a cursor: returns the stream. Its end or its error are events of the stream.
   * - A query with a callback (`callback`, `values` as a function, or `config.callback`): returns undefined.
   * - Any other query: returns a promise of the result.
   *
   * A query whose values can't be sent without a change is not sent. It fails with ETL-3020. `origin` is the client of
   * `session.pg` that sends the query, if there is one.
   */
  query(config: unknown, values?: unknown, callback?: Callback, origin?: QueryOrigin): unknown {
    if (isSubmittable(config)) {
      this.#enqueue(createQueuedStream(this.#client, config), origin);
      return config;
    }
    const given = typeof values === 'function' ? (values as Callback) : (callback ?? getCallback(config));
    if (given === undefined) {
      // Calls this method again, with a callback.
      return new Promise<QueryResult>((resolve, reject) => {
        const settle: Callback = (error, result) => {
          if (error) reject(error);
          else resolve(result as QueryResult);
        };
        this.query(config, values, settle, origin);
      });
    }
    const list = typeof values === 'function' ? getValues(config) : (values ?? getValues(config));
    try {
      if (Array.isArray(list)) assertValueCount(list.length);
      const bound = Array.isArray(list) ? prepareParameters(list, this.usesUtcDates) : list;
      this.#enqueue(createQueuedQuery(this.#client, config, bound, given), origin);
    } catch (error) {
      queueMicrotask(() => given(toError(error)));
    }
    return undefined;
  }

  /** Reports that the runner ends the transaction now, so an ended transaction is not the fault of the task. */
  endByRunner(): void {
    this.#isInTransaction = false;
  }

  /**
   * Waits until no query of the task is active, because a task can start queries without awaiting them. Also returns
   * if the connection is lost. Throws ETL-3205 if a COPY or a cursor is still open after `STREAM_GRACE_MS`.
   */
  async awaitQueries(): Promise<void> {
    // A Knex builder calls `query` up to two turns of the event loop after its `then` was called.
    await turn();
    await turn();
    while (this.#active !== undefined && this.lost === undefined) {
      const idle = new Promise<void>((resolve) => (this.#onIdle = resolve));
      if (this.#active.stream === undefined) await idle;
      else if (!(await within(idle, STREAM_GRACE_MS))) throw createLeftOpenError();
      // The code that awaited a query may send its next query now.
      await turn();
    }
  }

  /**
   * Waits up to `LAST_STATEMENT_MS` for the end of the active query of a task that failed. The task learns of an error
   * before the server has sent ReadyForQuery, and only ReadyForQuery tells the state of the transaction.
   */
  async drain(): Promise<void> {
    if (this.#active === undefined || this.lost !== undefined) return;
    await within(new Promise<void>((resolve) => (this.#onIdle = resolve)), LAST_STATEMENT_MS);
  }

  /** Cancels the running statement. Never rejects. */
  cancel(): Promise<void> {
    return cancelStatement(this.#client, CLEAN_UP_MS);
  }

  /** An object that stands for the query that the server is running for the task. Undefined if there is none. */
  get running(): object | undefined {
    return this.#active === BEGIN_QUERY ? undefined : this.#active;
  }

  /** The SQL of the query that the server is running for the task. Undefined if there is none. */
  get runningSql(): string | undefined {
    return this.#active === BEGIN_QUERY ? undefined : this.#active?.sql;
  }

  /** True if the active query may go on only when the task reads or writes. */
  get mayAwaitTask(): boolean {
    return this.#active?.isDrivenByTask === true || this.#active?.stream?.isHeld === true;
  }

  /** Returns the error of a statement that was cancelled (57014). Undefined if no statement was cancelled. */
  get cancelled(): ServerMessage | undefined {
    return this.#lastError?.code === '57014' ? this.#lastError : undefined;
  }

  /** True if pg writes dates in UTC on this connection (`pg.defaults.parseInputDatesAsUTC`). */
  get usesUtcDates(): boolean {
    return this.#client.usesUtcDates === true;
  }

  /** True while a query of the task is running or waits. */
  get isBusy(): boolean {
    return this.#active !== undefined || this.#queue.length > 0;
  }

  /**
   * Refuses queries while `work` runs, as during a COPY with the text `sql`. `work` prepares the data of the COPY. Rejects
   * if the connection is lost meanwhile.
   */
  hold<T>(sql: string, work: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#preparing = { sql, fail: reject };
      work().then(resolve, reject);
    }).finally(() => (this.#preparing = undefined));
  }

  /**
   * The SQL of the COPY that continues only when the task reads or writes its next chunk, or whose data is being
   * prepared. Undefined if there is none.
   */
  get #heldSql(): string | undefined {
    const copy = this.#active?.stream?.isHeld
      ? this.#active
      : this.#queue.find(({ stream }) => stream?.isHeld);
    return copy?.sql ?? this.#preparing?.sql;
  }

  /**
   * Queues a query, or refuses it. A query is refused in four cases:
   *
   * - The connection is lost.
   * - The query would end the transaction of the task, or break the connection.
   * - A COPY is active or queued that continues only when the task goes on. The query would wait forever.
   * - The phase is `new` or `closed`. Such a query is reported as late.
   */
  #enqueue(query: QueuedQuery, origin?: QueryOrigin): void {
    if (origin !== undefined) Object.assign(query, origin);
    if (this.lost !== undefined) this.#refuseLost(query, this.lost);
    else if (query.refusal !== undefined) {
      this.refused ??= query.refusal;
      query.refuse(query.refusal);
    } else if (this.#phase !== 'closed' && this.#heldSql !== undefined)
      query.refuse(createCopyOpenError(this.#heldSql));
    else if (this.#phase === 'open' || this.#phase === 'begin') {
      this.#queue.push(query);
      this.#sendNext();
    } else {
      this.lateQuery ??= query.sql;
      query.refuse(createTooLateError());
      this.onLate?.(query.sql);
    }
  }

  /**
   * Refuses a query because the connection is lost. If the server has said why, the error gets the query: the query was not
   * sent, and shows where the task was.
   */
  #refuseLost(query: QueuedQuery, lost: Error): void {
    const { sql } = query;
    if (this.fatal !== undefined)
      rememberStatement(this.fatal, {
        sql,
        message: this.fatal.message ?? '',
        index: 0,
        connectionId: this.#connectionId,
      });
    query.refuse(lost);
  }

  /**
   * Refuses all waiting queries if the stream before them does not move for `STREAM_STALL_MS`, because the stream can
   * wait for one of them: for example if the task pipes a COPY to the client into a COPY from the client.
   */
  #watchStall(): void {
    const active = this.#active;
    if (!active?.isDrivenByTask || this.#queue.length === 0 || this.#stallTimer !== undefined) return;
    const { stream } = this.#client.connection;
    const moved = stream.bytesRead + stream.bytesWritten;
    this.#stallTimer = setTimeout(() => {
      this.#stallTimer = undefined;
      const isStalled = this.#active === active && moved === stream.bytesRead + stream.bytesWritten;
      if (!isStalled) return this.#watchStall();
      this.#refuseWaiting(() => createCopyOpenError(active.sql));
    }, STREAM_STALL_MS);
  }

  /** Sends the begin or the next query, if no query is active. */
  #sendNext(): void {
    if (this.#active !== undefined) return this.#watchStall();
    if (this.#transactionBegin?.isSent === false) {
      this.#send(this.#transactionBegin);
      return;
    }
    this.#active = this.#take(this.#queue.findIndex((query) => this.reservation.allows(query)));
    if (this.#active === undefined) {
      if (this.#queue.length > 0) this.reservation.watch(() => this.#refuseWaiting(createWaitingError));
      return this.#onIdle?.();
    }
    const error = this.#active.start();
    if (error === undefined) return this.#watchStall();
    this.#active.refuse(error);
    this.#active = undefined;
    this.#sendNext();
  }

  /** Removes the query at this index from the queue, in order to send it. Returns undefined for the index -1. */
  #take(index: number): QueuedQuery | undefined {
    const query = index === -1 ? undefined : this.#queue.splice(index, 1)[0];
    if (query !== undefined) this.reservation.onSend(query);
    return query;
  }

  /** Refuses all queries that wait. */
  #refuseWaiting(createError: () => Error): void {
    this.reservation.stopWatch();
    for (const query of this.#queue.splice(0)) query.refuse(createError());
  }

  /**
   * Sends the begin, together with the first query. A query that can't be in a pipeline is sent after the answer to
   * the begin.
   */
  #send(transactionBegin: TransactionBegin): void {
    const first = this.#queue[0]?.toPipelined();
    this.#active = first === undefined ? BEGIN_QUERY : this.#take(0);
    transactionBegin.send(this.#client, first);
  }

  /**
   * Takes an error of the server. Stores the error as `fatal` if the server closes the connection after it, and as
   * `failure` if it aborts the transaction of the task. Remembers the statement that caused the error. An error of the
   * begin closes this task connection.
   */
  #onError(message: ServerMessage): void {
    // Uses the SQLSTATE, because the severity is in the language of the server.
    if (isConnectionEnd(message)) this.fatal ??= message;
    else if (this.#phase === 'open') this.failure ??= message;
    // Without a transaction no query of the task may be sent.
    if (this.#phase === 'begin') this.close();
    else if (this.#active) {
      this.#lastError = message;
      rememberStatement(message, {
        sql: this.#active.sql,
        // Knex changes the message of the error.
        message: message.message ?? '',
        index: this.#answered,
        connectionId: this.#connectionId,
      });
    }
  }

  /**
   * Takes the start of a COPY from or to the client. Refuses a COPY that is not a stream: pg would drop the rows that the
   * server sends, and has no rows to send.
   */
  #onCopy(direction: 'from' | 'to'): void {
    if (direction === 'from') this.rows.startCopyIn();
    if (this.#active !== undefined && this.#active.stream === undefined)
      this.#active.failure = createPlainCopyError(this.#active.sql, direction);
  }

  /**
   * Handles a command tag, such as `INSERT 0 5`. Counts the rows if the tag answers a statement of the task. If the tag
   * is the last answer to the begin, opens the connection for the task's queries.
   */
  #onComplete(message: ServerMessage): void {
    this.#answered++;
    if (this.#phase === 'open') this.rows.add(message.text ?? '', this.#active?.sql ?? '');
    else if (this.#phase === 'begin' && this.#transactionBegin?.isOver) {
      this.open();
      // The next answer belongs to the first query of the task.
      this.#answered = 0;
    }
  }

  /**
   * Takes the end of a query, with the state of the transaction, and sends the next query. Destroys the connection if
   * the query has ended the transaction: the next statement would be committed at once.
   */
  #onReady(message: ServerMessage): void {
    // In state `T` the transaction is not aborted: an earlier error was rolled back to a savepoint.
    if (message.status === 'T') this.failure = undefined;
    if (message.status === 'I' && this.#isInTransaction) {
      this.isEndedByTask = true;
      this.#onLost();
      this.#client.connection.stream.destroy();
      return;
    }
    this.#active = undefined;
    this.#answered = 0;
    this.#sendNext();
  }

  /** Takes the loss of the connection: refuses all waiting queries, and ends the wait for the active query. */
  readonly #onLost = (error?: Error): void => {
    const lost = (this.lost ??= error ?? new Error('the connection was closed'));
    this.#transactionBegin?.fail(lost);
    this.#preparing?.fail(lost);
    this.reservation.stopWatch();
    for (const query of this.#queue.splice(0)) this.#refuseLost(query, lost);
    this.#active = undefined;
    this.#onIdle?.();
  };
}
