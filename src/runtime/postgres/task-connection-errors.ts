import { EtlError } from '../../errors.js';
import { secrets } from '../secrets/secrets.js';
import type { ServerMessage } from './protocol.js';
import { describeServerError } from './server-error.js';
import { findDatabaseError, describeState } from './sqlstate.js';
import { TRANSACTION_STALL_MS } from '../waiting.js';

/**
 * Creates the error of a task that ignored the error of a statement. Without this error, PostgreSQL would answer the
 * COMMIT with the tag ROLLBACK and no error.
 */
export function createSwallowedError(failure: ServerMessage): EtlError {
  const error = findDatabaseError(failure);
  const text = error && describeServerError(error);
  return new EtlError('ETL-3203', {
    what: `the task went on after an error of one of its statements: ${text?.message ?? failure.message ?? ''}`,
    why: [
      `${describeState(failure.code ?? '')}; after an error PostgreSQL rolls the whole transaction back`,
      ...(text?.detail ?? []),
    ].join('\n'),
    fix: `do not catch the error, or send the statement in a savepoint: await session.transaction((part) => part(…).insert(…))${failure.code === '23505' ? '; or let it skip such rows: `on conflict do nothing`' : ''}`,
    cause: failure,
  });
}

/**
 * Creates the error for a statement that would end the transaction of a task, such as `ROLLBACK`. The statement is not
 * sent.
 */
export function createTransactionEndError(command: string): EtlError {
  return new EtlError('ETL-3202', {
    what: `a task can't send ${command}`,
    why: 'the task is one transaction, and the record that the task ran must be part of the same COMMIT',
    fix: 'return to commit, throw to roll back; for a part that may fail alone use session.transaction(…)',
  });
}

/** Creates the error of a task whose transaction ended although the task sent no COMMIT or ROLLBACK that was seen. */
export function createEndedByTaskError(cause: unknown): EtlError {
  return new EtlError('ETL-3202', {
    what: 'the task ended its own transaction with COMMIT or ROLLBACK',
    why: 'the record that the task ran must be part of the same COMMIT',
    fix: 'return to commit, throw to roll back; for a part that may fail alone use session.transaction(…)',
    cause,
  });
}

/**
 * Creates the error of a task that made the server check the seal of its ledger row, with SET CONSTRAINTS ALL
 * IMMEDIATE.
 */
export function createSealTouchedError(cause: unknown): EtlError {
  return new EtlError('ETL-3208', {
    what: 'the task made all deferred constraints immediate',
    why: 'the ledger row of the task has a deferred constraint, so that the transaction is not committed too early',
    fix: 'name the constraints that you mean: set constraints <name>, <name> immediate',
    cause,
  });
}

/** Creates the error of an earlier attempt whose COMMIT got no answer and did not take place. */
export function createNotCommittedError(): EtlError {
  return new EtlError('ETL-1002', {
    what: 'the connection was lost during COMMIT, and the transaction was not committed',
    fix: 'run it again, or give the task `retries`',
  });
}

/** Creates the error of a connection that was lost without a message from the server. */
export function createConnectionLostError(cause: Error): EtlError {
  return new EtlError('ETL-1002', {
    what: `the connection to the database was lost: ${cause.message}`,
    fix: 'run it again, or give the task `retries`',
    cause,
  });
}

/** The maximum number of values of one statement: the protocol counts them in 16 bits. */
const MOST_VALUES = 65_535;

/** Throws ETL-3021 for a statement with more values than the protocol allows. */
export function assertValueCount(count: number): void {
  if (count <= MOST_VALUES) return;
  throw new EtlError('ETL-3021', {
    what: `a statement has ${count} values, and PostgreSQL accepts at most ${MOST_VALUES}`,
    why: 'the protocol counts the values of a statement in 16 bits',
    fix: 'insert in smaller parts (`session.batchInsert`), or use `session.copyFrom` or a `d.load` task',
    data: 'the statement was not sent',
  });
}

/** Creates the error for a query that the task sends after it has returned. */
export function createTooLateError(): EtlError {
  return new EtlError('ETL-3206', {
    what: 'a query was issued after its task had finished',
    why: 'the task returned without awaiting the code that issues it',
    fix: 'await every promise that the task starts',
    data: 'the query did not run',
  });
}

/** Creates the error of a task that returned before its COPY or its cursor ended. */
export function createLeftOpenError(): EtlError {
  return new EtlError('ETL-3205', {
    what: 'the task returned while a COPY or a cursor of its own was still open',
    why: 'the stream was never ended, or not awaited',
    fix: 'await the end of the stream, for example with `await pipeline(input, stream)`',
  });
}

/** Creates the error for a query that a task sends after its COMMIT. */
export function createLateQueryError(taskId: string, sql: string): EtlError {
  return new EtlError('ETL-3206', {
    what: `task "${taskId}" sent a query after it had ended: ${secrets.cover(sql).slice(0, 100)}`,
    why: 'the task did not await a promise that it started',
    fix: 'await every promise that the task starts',
    data: 'the query did not run; what the task did before it ended is committed',
  });
}

/**
 * Returns true if the seal of the ledger row caused the error: the task sent COMMIT itself, or made all constraints
 * immediate. The transaction is aborted, and nothing is committed.
 */
export function isSealed(thrown: Error): boolean {
  const error = findDatabaseError(thrown);
  return error?.code === '23503' && error.constraint === 'task_seal_fkey';
}

/**
 * Creates the error for a query that would wait forever: the COPY before it continues only when the query is done.
 */
export function createCopyOpenError(copy: string): EtlError {
  return new EtlError('ETL-3543', {
    what: `a query came in the middle of a COPY on the same connection: ${secrets.cover(copy).slice(0, 100)}`,
    why: 'a connection does one thing at a time, and the COPY waits for the task',
    fix: 'run the query before or after the COPY; with `session.rows`, queries can run between the rows',
  });
}

/** Creates the error for a COPY from or to the client that was sent as a plain query, so that nobody moves its rows. */
export function createPlainCopyError(sql: string, direction: 'from' | 'to'): EtlError {
  return new EtlError('ETL-3544', {
    what: `a COPY ${direction === 'from' ? 'FROM STDIN' : 'TO STDOUT'} was sent as a plain query: ${secrets.cover(sql).slice(0, 100)}`,
    why:
      direction === 'from'
        ? 'the query has no rows for the COPY'
        : 'the query would drop the rows that the server sends',
    fix:
      direction === 'from'
        ? 'use `session.copyFrom` or a `d.load` task'
        : 'use `session.copyTo` or a `d.unload` task',
  });
}

/** Creates the error of a transaction that a library can't begin on the connection of a task, or can't end. */
export function createLibraryTransactionError(what: string, fix: string): EtlError {
  return new EtlError('ETL-3209', {
    what,
    why: 'the connection is inside the transaction of the task, so a transaction of `session.pg` is a savepoint',
    fix,
  });
}

/** Creates the error of a query that waited for a transaction of `session.pg` that may wait for the query. */
export function createWaitingError(): EtlError {
  return new EtlError('ETL-3210', {
    what: `a query waited for the end of another transaction of \`session.pg\`, which has sent nothing for ${TRANSACTION_STALL_MS / 1000} seconds`,
    why: 'a task has one connection, so a query outside of the open transaction waits for the end of the transaction',
    fix: 'inside a transaction, send all queries by the object that the library gives to your function, such as `trx` or `tx`',
  });
}

/**
 * Creates the error of a task that returned, or gave a client back, before a transaction of `session.pg` had ended, or a
 * savepoint of `session.transaction`.
 */
export function createUnfinishedError(
  where: 'session.pg' | 'session.transaction(…)' = 'session.pg',
): EtlError {
  const isSavepoint = where !== 'session.pg';
  return new EtlError('ETL-3211', {
    what: isSavepoint
      ? `a savepoint of \`${where}\` was left open`
      : `a transaction of \`${where}\` was left open`,
    why: isSavepoint
      ? 'the task returned before the savepoint was released or rolled back'
      : 'the task returned, or the client was released, before COMMIT or ROLLBACK was sent',
    fix: isSavepoint
      ? 'await the promise of `session.transaction(…)`'
      : 'await the transaction, and send COMMIT or ROLLBACK before `client.release()`',
  });
}
