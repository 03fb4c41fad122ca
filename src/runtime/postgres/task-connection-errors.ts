import { EtlError } from '../../errors.js';
import type { ServerMessage } from './protocol.js';
import { findDatabaseError, describeState } from './sqlstate.js';

/** A statement failed and the task went on: PostgreSQL would answer COMMIT with ROLLBACK, and call it no error. */
export function createSwallowedError(failure: ServerMessage): EtlError {
  return new EtlError('ETL-3203', {
    what: `a statement failed inside the task and its error was swallowed: ${failure.message ?? ''}`,
    why: `${describeState(failure.code ?? '')}; after an error PostgreSQL keeps nothing of a transaction`,
    fix: 'put the statement that may fail into a savepoint: await session.transaction((part) => …)',
    cause: failure,
  });
}

/** The task sent COMMIT or ROLLBACK in raw SQL. */
export function createEndedByTaskError(cause: unknown): EtlError {
  return new EtlError('ETL-3202', {
    what: 'the task ended its own transaction with COMMIT or ROLLBACK',
    why: 'the record that the task ran must be part of the same COMMIT',
    fix: 'return to commit, throw to roll back; for a part that may fail alone use session.transaction(…)',
    cause,
  });
}

/** The task made the server check the seal of its ledger row. */
export function sealTouched(cause: unknown): EtlError {
  return new EtlError('ETL-3208', {
    what: 'the task made all deferred constraints immediate',
    why: 'its row in the ledger holds one that keeps the transaction from being committed too early',
    fix: 'name the constraints that you mean: set constraints <name>, <name> immediate',
    cause,
  });
}

/** A query was refused because the body had returned. */
export function createSentTooLateError(): EtlError {
  return new EtlError('ETL-3206', {
    what: 'the task returned before all of its queries were sent',
    why: 'a promise that it started was not awaited',
    fix: 'await every promise that the task starts',
  });
}

/** A check found rows. */
export function checkFailed(name: string): EtlError {
  return new EtlError('ETL-3101', {
    what: `check "${name}" found rows that it must not find`,
    fix: 'run the query of the check on the source data',
    data: 'the task was rolled back: nobody has seen its data',
  });
}

/** The earlier attempt, whose COMMIT had no answer, was not committed. */
export function createNotCommittedError(): EtlError {
  return new EtlError('ETL-1002', {
    what: 'the connection was lost during COMMIT, and the transaction was not committed',
    fix: 'run it again, or give the task `retries`',
  });
}

/** The connection went away without a word from the server. */
export function createConnectionLostError(cause: Error): EtlError {
  return new EtlError('ETL-1002', {
    what: `the connection to the database was lost: ${cause.message}`,
    fix: 'run it again, or give the task `retries`',
    cause,
  });
}

/** The answer to a query that comes when its task is over. */
export function createTooLateError(): EtlError {
  return new EtlError('ETL-3206', {
    what: 'a query was issued after its task had finished',
    why: 'the task returned without awaiting the code that issues it',
    fix: 'await every promise that the task starts',
    data: 'the query did not run',
  });
}

/** A stream of the task's was not ended when it returned. */
export function createLeftOpenError(): EtlError {
  return new EtlError('ETL-3205', {
    what: 'the task returned while a COPY or a cursor of its own was still open',
    why: 'the stream was never ended, or not awaited',
    fix: 'await the end of the stream, for example with `await pipeline(source, stream)`',
  });
}

/** A query of a task that is committed. */
export function createLateQueryError(taskId: string, sql: string): EtlError {
  return new EtlError('ETL-3206', {
    what: `task "${taskId}" sent a query after it had ended: ${sql.slice(0, 100)}`,
    why: 'a promise that it started was not awaited',
    fix: 'await every promise that the task starts',
    data: 'the query did not run; what the task did before it ended is committed',
  });
}

/** The server refused a COMMIT of the task's own: nothing was kept. */
export function isSealed(thrown: Error): boolean {
  const error = findDatabaseError(thrown);
  return error?.code === '23503' && error.constraint === 'task_seal_fkey';
}

/** A query of the task's that would wait for ever: for a COPY that goes on only when the query is done. */
export function createCopyOpenError(copy: string): EtlError {
  return new EtlError('ETL-3543', {
    what: `a query came in the middle of a COPY on the same connection: ${copy.slice(0, 100)}`,
    why: 'a connection does one thing at a time, and the COPY waits for the task',
    fix: 'run the query before or after it; `session.rows` lets queries run between its rows',
  });
}
