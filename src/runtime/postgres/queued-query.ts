import { AsyncResource } from 'node:async_hooks';
import type { EventEmitter } from 'node:events';
import type { Submittable } from 'pg';
import type { EtlError } from '../../errors.js';
import { readTaskText, type TaskText } from '../sql/task-text.js';
import { findSubmitError, getText, toPipelinedQuery } from './protocol.js';
import type { Callback, DriverQuery, ProtocolClient, Refusable } from './protocol.js';
import { createBatchQuery } from './statement-batch.js';
import { createPlainCopyError, createTransactionEndError } from './task-connection-errors.js';

/** A query of a task that waits until the queries before it are done. */
export interface QueuedQuery {
  readonly sql: string;
  /**
   * The stream of a COPY or a cursor, which ends when the task has read or written its last chunk. Undefined for any
   * other query.
   */
  readonly stream?: Submittable & Refusable;
  /** True if the query goes on only when the task reads or writes: a stream or a cursor that the task has created. */
  readonly isDrivenByTask?: boolean;
  /** Returns the query for use in a pipeline. Undefined if the query can't be in a pipeline. */
  toPipelined(): DriverQuery | undefined;
  /** Sends the query. Returns the error of a query that can't be sent. */
  start(): Error | undefined;
  /** Ends the query with an error, without sending the query. */
  refuse(error: Error): void;
  /** If set, the query must not be sent, because it would end the transaction or break the connection. */
  readonly refusal?: EtlError | undefined;
  /** If set, the query that was sent ends with this error, whatever the server answers. */
  failure?: Error;
  /** The client of `session.pg` that sends the query. Undefined for a query of the session itself. */
  client?: object | undefined;
  /** True if the query begins a transaction of its client. */
  isBegin?: boolean | undefined;
}

/** The origin of a query: a client of `session.pg`. */
export interface QueryOrigin {
  readonly client: object;
  /** True if the query begins a transaction of the client. */
  readonly isBegin?: boolean;
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
  const sql = getText(config);
  const text = readTaskText(sql);
  const batch = toBatch(client, config, values, { text, callback });
  const query: QueuedQuery = {
    sql,
    refusal: refuseText(sql, text),
    toPipelined: () =>
      batch === undefined
        ? toPipelinedQuery(client, config, values, callback)
        : // A pipeline handles no COPY.
          /\bcopy\b/i.test(sql)
          ? undefined
          : batch,
    start: () => {
      const error = findSubmitError(client, config, values);
      if (error !== undefined) return error;
      if (batch === undefined) client.query(config, values, callback);
      else client.query(batch);
      return undefined;
    },
    refuse: (error) => queueMicrotask(() => callback(error)),
  };
  return query;
}

/**
 * Returns the query for a text that may hold several statements. Returns undefined for a text that is one statement,
 * and for a query that the driver sends with the extended protocol, because the server accepts one statement then.
 */
function toBatch(
  client: ProtocolClient,
  config: unknown,
  values: unknown,
  { text: { statements }, callback }: { readonly text: TaskText; readonly callback: Callback },
): DriverQuery | undefined {
  if (statements === undefined) return undefined;
  const given = typeof config === 'string' ? { text: config } : (config as Partial<Record<string, unknown>>);
  const bound = values ?? given['values'] ?? [];
  if (!Array.isArray(bound) || bound.length > 0 || given['name'] || given['rows']) return undefined;
  return createBatchQuery(client, given, { text: getText(config), statements }, callback);
}

/**
 * Creates the error of a text that would end the transaction, or that has a COPY from the client beside other
 * statements: the server would take the other statements for rows. Returns undefined for every other text.
 */
function refuseText(sql: string, { end, hasCopyIn }: TaskText): EtlError | undefined {
  if (end !== undefined) return createTransactionEndError(end);
  return hasCopyIn ? createPlainCopyError(sql, 'from') : undefined;
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
  const { text } = stream as { text?: unknown };
  return {
    sql: typeof text === 'string' ? text : 'a cursor',
    refusal: typeof text === 'string' ? refuseStream(text) : undefined,
    stream,
    isDrivenByTask: 'pipe' in stream || 'read' in stream,
    toPipelined: () => undefined,
    start: () => {
      const error = findSubmitError(client, stream, undefined);
      if (error === undefined) client.query(stream);
      return error;
    },
    // A stream reports an error by an event. A cursor has callbacks that wait, and `handleError` calls them.
    refuse: (error) =>
      queueMicrotask(() => ('pipe' in stream ? stream.emit?.('error', error) : stream.handleError?.(error))),
  };
}

/** Creates the error of a stream whose text would end the transaction. Returns undefined for every other stream. */
function refuseStream(text: string): EtlError | undefined {
  const { end } = readTaskText(text);
  return end === undefined ? undefined : createTransactionEndError(end);
}
