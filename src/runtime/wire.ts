import { AsyncResource } from 'node:async_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import type { EventEmitter } from 'node:events';
import type { QueryResult, Submittable } from 'pg';
import { cancelStatement } from '../hooks/client.js';
import { heldUp, leftOpen, tooLate } from './misuse.js';
import { callbackOf, isSubmittable, textOf } from './protocol.js';
import type { Callback, ProtocolClient, Refusable, ServerMessage } from './protocol.js';
import { endsConnection } from './sqlstate.js';
import { within } from './waiting.js';

/** A statement that failed: its text, and what the server said of it. */
export interface Statement {
  readonly sql: string;
  readonly message: string;
}

interface Entry {
  readonly sql: string;
  readonly stream?: Submittable & Refusable;
  start(): void;
  refuse(error: Error): void;
}

/** How long a COPY or a cursor that the task began may take to end after the task has returned. */
const STREAM_GRACE_MS = 1000;
/** How long a failed task's last statement has to end before the connection is cut. */
const CALM_MS = 100;
/** For the connection that a cancel request takes. */
const CANCEL_MS = 2000;

/**
 * The connection of one attempt, as the task sees it, under Knex, COPY streams and cursors alike: passes queries on
 * one at a time, and only between `open()` and `shut()`. It also watches what the server says, because Knex and
 * pg do not tell when a transaction ended, failed, or was terminated.
 */
export class Wire {
  readonly #client: ProtocolClient;
  /** The statement behind an error, and the server's message, which Knex rewrites. */
  readonly #statements = new WeakMap<object, Statement>();
  readonly #queue: Entry[] = [];
  readonly #listeners: readonly [event: string, listener: (message: ServerMessage) => void][];
  #active: Entry | undefined;
  #gate: 'fresh' | 'open' | 'shut' = 'fresh';
  /** The transaction must still be open when the server is ready for the next statement. */
  #isInTransaction = false;
  #onQuiet: (() => void) | undefined;
  #copying = false;
  /** The rows that were written when each savepoint was made. */
  readonly #savepoints: number[] = [];

  /** Rows that the task's own statements wrote, by the server's command tags. */
  rowsWritten = 0;
  /** The newest error of a statement that no savepoint has undone: the transaction can't commit. */
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
      ['copyInResponse', () => (this.#copying = true)],
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

  /** From now on the task's queries pass. */
  open(): void {
    this.#gate = 'open';
    this.#isInTransaction = true;
  }

  /** From now on queries are refused, also those that wait for their turn. */
  shut(): void {
    this.#gate = 'shut';
    for (const entry of this.#queue.splice(0)) entry.refuse(tooLate());
  }

  /** Runs a query when those before it are done: the signature of `pg.Client.query`. */
  query(config: unknown, values?: unknown, callback?: Callback): unknown {
    if (isSubmittable(config)) return this.#queryStream(config);
    const given = typeof values === 'function' ? (values as Callback) : (callback ?? callbackOf(config));
    if (given === undefined) {
      return new Promise<QueryResult>((resolve, reject) => {
        this.query(config, values, (error, result) => {
          if (error) reject(error);
          else resolve(result as QueryResult);
        });
      });
    }
    // The socket has the context of whoever opened it: an error of this task must be blamed on this task.
    const done = AsyncResource.bind(given);
    const sql = textOf(config);
    // Knex begins the transaction that the runner has begun already.
    if (sql === 'BEGIN;') queueMicrotask(() => done(null, NOTHING));
    else {
      this.#enqueue({
        sql,
        start: () => this.#client.query(config, typeof values === 'function' ? undefined : values, done),
        refuse: (error) => queueMicrotask(() => done(error)),
      });
    }
    return undefined;
  }

  /** From now on it is the runner who ends the transaction. */
  handOver(): void {
    this.#isInTransaction = false;
  }

  /**
   * Waits for the queries that the task started and did not await; then nothing of the task's is on the wire.
   * Throws when a COPY or a cursor was left open.
   */
  async settle(): Promise<void> {
    // A Knex builder reaches the wire up to two turns after its `then` was called.
    await turn();
    await turn();
    while (this.#active !== undefined && this.lost === undefined) {
      const quiet = new Promise<void>((resolve) => (this.#onQuiet = resolve));
      if (this.#active.stream === undefined) await quiet;
      else if (!(await within(quiet, STREAM_GRACE_MS))) throw leftOpen();
      await turn();
    }
  }

  /**
   * Waits a moment for what is on the wire after the task has failed: an error comes before the server says in which
   * state the transaction is.
   */
  async calm(): Promise<void> {
    if (this.#active === undefined || this.lost !== undefined) return;
    await within(new Promise<void>((resolve) => (this.#onQuiet = resolve)), CALM_MS);
  }

  /** Asks the server to end what is under way. Never rejects. */
  cancel(): Promise<void> {
    return cancelStatement(this.#client, CANCEL_MS);
  }

  /** The statement that an error of this connection came from. */
  statementOf(error: object): Statement | undefined {
    return this.#statements.get(error);
  }

  /** True while something of the task's is on the wire or waits for it. */
  get busy(): boolean {
    return this.#active !== undefined || this.#queue.length > 0;
  }

  #queryStream(stream: Submittable & Partial<EventEmitter> & Refusable): unknown {
    // An abandoned stream has no listener, and its error would end the process when its connection is cut. Nothing is
    // hidden: the server has aborted the transaction, and the close of the task will say so.
    stream.on?.('error', () => undefined);
    if (stream.emit) stream.emit = AsyncResource.bind(stream.emit.bind(stream));
    this.#enqueue({
      sql: (stream as { text?: string }).text ?? 'a cursor',
      stream,
      start: () => this.#client.query(stream),
      refuse: (error) =>
        queueMicrotask(() => (stream.emit ? stream.emit('error', error) : stream.handleError?.(error))),
    });
    return stream;
  }

  #enqueue(entry: Entry): void {
    if (this.lost !== undefined) entry.refuse(this.lost);
    else if (this.#gate === 'open' && this.#active?.stream?.isHeld) entry.refuse(heldUp(this.#active.sql));
    else if (this.#gate === 'open') {
      this.#queue.push(entry);
      this.#pump();
    } else {
      this.late ??= entry.sql;
      entry.refuse(tooLate());
      this.onLate?.(entry.sql);
    }
  }

  #pump(): void {
    if (this.#active !== undefined) return;
    this.#active = this.#queue.shift();
    if (this.#active === undefined) this.#onQuiet?.();
    else this.#active.start();
  }

  #onError(message: ServerMessage): void {
    if (this.#active)
      this.#statements.set(message, { sql: this.#active.sql, message: message.message ?? '' });
    // The severity is in the language of the server.
    if (endsConnection(message.code)) this.fatal ??= message;
    else if (this.#gate === 'open') this.failure = message;
  }

  #onComplete(message: ServerMessage): void {
    if (this.#gate !== 'open' || message.text === undefined) return;
    const [command, ...counts] = message.text.split(' ');
    if (command === 'SAVEPOINT') this.#savepoints.push(this.rowsWritten);
    if (command === 'RELEASE') this.#savepoints.pop();
    if (command === 'ROLLBACK') this.rowsWritten = this.#savepoints.at(-1) ?? 0;
    const writes = command === 'COPY' ? this.#copying : WRITING.has(command ?? '');
    if (writes) this.rowsWritten += Number(counts.at(-1) ?? 0);
    this.#copying = false;
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
    this.#pump();
  }

  readonly #onLost = (error?: Error): void => {
    this.lost ??= error ?? new Error('the connection was closed');
    for (const entry of this.#queue.splice(0)) entry.refuse(this.lost);
    this.#active = undefined;
    this.#onQuiet?.();
  };
}

const WRITING: ReadonlySet<string> = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE']);

const NOTHING = { command: 'BEGIN', rowCount: 0, oid: 0, fields: [], rows: [] } as QueryResult;
