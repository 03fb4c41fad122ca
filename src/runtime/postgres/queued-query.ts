import { AsyncResource } from 'node:async_hooks';
import type { EventEmitter } from 'node:events';
import type { Submittable } from 'pg';
import { getText, toPipelinedQuery } from './protocol.js';
import type { Callback, DriverQuery, ProtocolClient, Refusable } from './protocol.js';

/** A query of a task that waits until the queries before it are done. */
export interface QueuedQuery {
  readonly sql: string;
  /**
   * The stream of a COPY or a cursor, which ends when the task has read or written its last chunk. Undefined for any
   * other query.
   */
  readonly stream?: Submittable & Refusable;
  /** Returns the query for use in a pipeline. Undefined if the query can't be in a pipeline. */
  toPipelined(): DriverQuery | undefined;
  /** Sends the query. */
  start(): void;
  /** Ends the query with an error, without sending the query. */
  refuse(error: Error): void;
  /** If set, the query that was sent ends with this error, whatever the server answers. */
  failure?: Error;
}

/** The begin of a transaction. It is sent before the first query of the task, or in one pipeline with the query. */
export interface TransactionBegin {
  /** True if the begin was sent. */
  readonly isSent: boolean;
  /** True if the server has answered all statements of the begin. */
  readonly isOver: boolean;
  /** Sends the begin, with the query `first` in the same pipeline. */
  send(client: ProtocolClient, first?: DriverQuery): void;
  /** Reports that nothing can be sent any more. */
  fail(reason: Error): void;
}

/** The active query while the begin is sent without a query of the task. */
export const BEGIN_QUERY: QueuedQuery = {
  sql: 'begin',
  toPipelined: () => undefined,
  start: () => undefined,
  refuse: () => undefined,
};

/**
 * Creates a queued query. `given` is called with its result or error, in the async context of the code that created the
 * query. `config` and `values` are the arguments of `pg.Client.query`.
 */
export function createQueuedQuery(
  client: ProtocolClient,
  config: unknown,
  values: unknown,
  given: Callback,
): QueuedQuery {
  // Binds the callback to the async context of this task. Without this, the callback would run in the context that
  // opened the socket, and an unhandled error in the callback would be assigned to another task.
  const report: Callback = (error, result) => given(query.failure ?? error, result);
  const callback = AsyncResource.bind(report);
  const query: QueuedQuery = {
    sql: getText(config),
    toPipelined: () => toPipelinedQuery(client, config, values, callback),
    start: () => client.query(config, values, callback),
    refuse: (error) => queueMicrotask(() => callback(error)),
  };
  return query;
}

/**
 * Creates a queued query for a COPY stream or a cursor. Changes the stream: adds a listener for errors, and makes the
 * listeners of its events run in the async context of the code that created the query.
 */
export function createQueuedStream(
  client: ProtocolClient,
  stream: Submittable & Partial<EventEmitter> & Refusable,
): QueuedQuery {
  // When its connection is destroyed, an abandoned stream emits an error. An error without a listener would end the
  // process. The listener hides no failure: the server aborts the transaction, and the close of the ledger row then
  // fails.
  stream.on?.('error', () => undefined);
  if (stream.emit) stream.emit = AsyncResource.bind(stream.emit.bind(stream));
  return {
    sql: (stream as { text?: string }).text ?? 'a cursor',
    stream,
    toPipelined: () => undefined,
    start: () => client.query(stream),
    refuse: (error) =>
      queueMicrotask(() => (stream.emit ? stream.emit('error', error) : stream.handleError?.(error))),
  };
}
