import { AsyncResource } from 'node:async_hooks';
import type { EventEmitter } from 'node:events';
import type { Submittable } from 'pg';
import { getText, toPipelinedQuery } from './protocol.js';
import type { Callback, DriverQuery, ProtocolClient, Refusable } from './protocol.js';

/** A query that waits for its turn on the wire. */
export interface QueuedQuery {
  readonly sql: string;
  /** A COPY or a cursor, which ends when the task has taken or brought its last part. */
  readonly stream?: Submittable & Refusable;
  /** The query itself, where it can travel in a flight. */
  toPipelined(): DriverQuery | undefined;
  start(): void;
  refuse(error: Error): void;
}

/** The begin of a transaction, which goes out with the first query of the task or before it. */
export interface TransactionBegin {
  /** Whether the begin was sent. */
  readonly isSent: boolean;
  /** Whether the server has answered all of it. */
  readonly isOver: boolean;
  /** Sends it, with `first` in the same pipeline. */
  send(client: ProtocolClient, first?: DriverQuery): void;
  /** Says that nothing can be sent any more. */
  fail(reason: Error): void;
}

/** What is under way while the opening is alone on its way. */
export const BEGIN_QUERY: QueuedQuery = {
  sql: 'begin',
  toPipelined: () => undefined,
  start: () => undefined,
  refuse: () => undefined,
};

/** A query with a callback, which is called in the context of whoever sends it. */
export function createQueuedQuery(
  client: ProtocolClient,
  config: unknown,
  values: unknown,
  given: Callback,
): QueuedQuery {
  // The socket has the context of whoever opened it: an error of this task must be blamed on this task.
  const callback = AsyncResource.bind(given);
  return {
    sql: getText(config),
    toPipelined: () => toPipelinedQuery(client, { config, values, callback }),
    start: () => client.query(config, values, callback),
    refuse: (error) => queueMicrotask(() => callback(error)),
  };
}

/** A COPY stream or a cursor. */
export function createQueuedStream(
  client: ProtocolClient,
  stream: Submittable & Partial<EventEmitter> & Refusable,
): QueuedQuery {
  // An abandoned stream has no listener, and its error would end the process when its connection is cut. Nothing is
  // hidden: the server has aborted the transaction, and the close of the task will say so.
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
