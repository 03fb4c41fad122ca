import type { QueryResult } from 'pg';
import type { EtlError } from '../../errors.js';
import type { Callback } from '../postgres/protocol.js';
import { createLibraryTransactionError, createSwallowedError } from '../postgres/task-connection-errors.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import type { Isolation } from '../postgres/transaction.js';
import {
  ISOLATION_LEVELS,
  type TransactionCommand,
  type TransactionModes,
  hasInnerBegin,
  readTransactionCommand,
} from '../sql/transaction-command.js';

/** The transaction of the task, in which a client of `session.pg` sends its queries. */
export interface TaskTransaction {
  readonly taskConnection: TaskConnection;
  readonly isolation: Isolation;
}

/** The number of savepoints that were named in this process. */
let count = 0;

/**
 * The transaction of one client of `session.pg`: a savepoint in the transaction of the task.
 *
 * | query of the client | statements on the server                                 |
 * | ------------------- | -------------------------------------------------------- |
 * | `BEGIN`             | `SAVEPOINT etl_1`                                        |
 * | `BEGIN READ ONLY`   | `SAVEPOINT etl_1`, `SET TRANSACTION READ ONLY`           |
 * | `COMMIT`            | `RELEASE SAVEPOINT etl_1`                                |
 * | `ROLLBACK`          | `ROLLBACK TO SAVEPOINT etl_1`, `RELEASE SAVEPOINT etl_1` |
 */
export class ClientTransaction {
  readonly #task: TaskTransaction;
  /** The origin of the queries: the client. */
  readonly #client: object;
  /** The savepoint of the transaction that is open. Undefined if no transaction is open. */
  #savepoint: string | undefined;
  /** True if the last COMMIT failed, which has rolled the transaction back. */
  #isRolledBack = false;

  constructor(task: TaskTransaction, client: object) {
    this.#task = task;
    this.#client = client;
  }

  /** True from BEGIN to COMMIT or ROLLBACK. */
  get isOpen(): boolean {
    return this.#savepoint !== undefined;
  }

  /**
   * Answers a text that begins or ends a transaction, by a call of `callback`, and returns true. Returns false for every
   * other text: the caller sends it. A COMMIT without a BEGIN of the client is such a text, and the task connection
   * refuses it.
   */
  answer(sql: string, callback: Callback): boolean {
    const command = readTransactionCommand(sql);
    if (command !== undefined) return this.#answerCommand(command, callback);
    if (!hasInnerBegin(sql)) return false;
    this.#refuse(createInnerBeginError(), callback);
    return true;
  }

  /** Rolls back an open transaction. Does nothing without one. */
  rollBack(callback: Callback): void {
    if (this.#savepoint === undefined) queueMicrotask(() => callback(null));
    else this.#rollBackTo(this.#savepoint, callback);
  }

  #answerCommand(command: TransactionCommand, callback: Callback): boolean {
    switch (command.kind) {
      case 'begin':
        this.#begin(command.modes, callback);
        return true;
      case 'set':
        // Without a transaction of the client, the server decides.
        if (!this.isOpen || command.modes.isolation === undefined) return false;
        this.#setModes(command.modes, callback);
        return true;
      case 'commit':
      case 'rollback':
        return this.#end(command, callback);
      default:
        return command satisfies never;
    }
  }

  #begin(modes: TransactionModes, callback: Callback): void {
    if (this.isOpen) return this.#refuse(createNestedError(), callback);
    const refusal = findModesError(modes, this.#task.isolation);
    if (refusal !== undefined) return queueMicrotask(() => callback(refusal));
    const savepoint = `etl_${++count}`;
    this.#savepoint = savepoint;
    this.#isRolledBack = false;
    let failure: Error | null = null;
    const begun: Callback = (error) => {
      failure ??= error;
      if (failure === null) return callback(null, createResult('BEGIN'));
      if (this.#savepoint === savepoint) this.#savepoint = undefined;
      this.#endReservation();
      callback(failure);
    };
    if (modes.access === undefined) return this.#send(`savepoint ${savepoint}`, begun, true);
    this.#send(`savepoint ${savepoint}`, (error) => (failure = error), true);
    this.#send(`set transaction ${modes.access}`, (error) => {
      if (error && failure === null) this.#rollBackTo(savepoint, () => callback(error));
      else begun(error);
    });
  }

  /** Answers SET TRANSACTION ISOLATION LEVEL, which the server refuses in a savepoint. */
  #setModes(modes: TransactionModes, callback: Callback): void {
    const refusal = findModesError(modes, this.#task.isolation);
    if (refusal === undefined && modes.access !== undefined)
      return this.#send(`set transaction ${modes.access}`, callback);
    queueMicrotask(() => (refusal ? callback(refusal) : callback(null, createResult('SET'))));
  }

  #end(command: TransactionCommand & { kind: 'commit' | 'rollback' }, callback: Callback): boolean {
    const savepoint = this.#savepoint;
    if (savepoint === undefined) {
      if (command.kind !== 'rollback' || !this.#isRolledBack) return false;
      // PostgreSQL too only warns about a ROLLBACK after a COMMIT that failed.
      this.#isRolledBack = false;
      queueMicrotask(() => callback(null, createResult('ROLLBACK')));
    } else if (command.isChained) this.#refuse(createChainError(), callback);
    else if (command.kind === 'commit') this.#commit(savepoint, callback);
    else this.#rollBackTo(savepoint, callback);
    return true;
  }

  /** Releases the savepoint. If a statement of the transaction has failed, rolls back to the savepoint instead, and fails. */
  #commit(savepoint: string, callback: Callback): void {
    this.#savepoint = undefined;
    this.#send(`release savepoint ${savepoint}`, (error) => {
      if (!error) {
        this.#endReservation();
        return callback(null, createResult('COMMIT'));
      }
      const { failure } = this.#task.taskConnection;
      // 25P02: the server refused the statement because an earlier statement of the transaction failed.
      const isConsequence = (error as { readonly code?: unknown }).code === '25P02' && failure !== undefined;
      this.#rollBackTo(savepoint, () => {
        this.#isRolledBack = true;
        callback(isConsequence ? createSwallowedError(failure) : error);
      });
    });
  }

  #rollBackTo(savepoint: string, callback: Callback): void {
    this.#savepoint = undefined;
    let failure: Error | null = null;
    this.#send(`rollback to savepoint ${savepoint}`, (error) => (failure = error));
    this.#send(`release savepoint ${savepoint}`, (error) => {
      this.#endReservation();
      failure ??= error;
      if (failure) callback(failure);
      else callback(null, createResult('ROLLBACK'));
    });
  }

  #send(sql: string, callback: Callback, isBegin = false): void {
    this.#task.taskConnection.query(sql, undefined, callback, { client: this.#client, isBegin });
  }

  /** Lets the queries of other clients pass, unless the client has begun its next transaction already. */
  #endReservation(): void {
    if (!this.isOpen) this.#task.taskConnection.reservation.end(this.#client);
  }

  /** Answers with an error. The task fails, also if it ignores the error: it believes in a transaction that is not there. */
  #refuse(error: EtlError, callback: Callback): void {
    this.#task.taskConnection.refused ??= error;
    queueMicrotask(() => callback(error));
  }
}

/**
 * Returns the error of modes that a transaction with the level `own` does not have. A level is a minimum: a transaction
 * fulfils its own level and all weaker ones.
 */
function findModesError({ isolation, isDeferrable }: TransactionModes, own: Isolation): EtlError | undefined {
  if (isolation !== undefined && ISOLATION_LEVELS.indexOf(isolation) > ISOLATION_LEVELS.indexOf(own))
    return createLibraryTransactionError(
      `a transaction of \`session.pg\` can't have the isolation level ${isolation}: the task has ${own}`,
      `give the task the option \`isolation: '${isolation}'\``,
    );
  if (isDeferrable !== true) return undefined;
  return createLibraryTransactionError(
    "a transaction of `session.pg` can't be deferrable",
    'leave out DEFERRABLE: the transaction of the task has its snapshot already',
  );
}

/** Creates the answer of a server to BEGIN, COMMIT, ROLLBACK or SET. */
function createResult(command: string): QueryResult {
  return { command, rowCount: null, oid: null, fields: [], rows: [] } as unknown as QueryResult;
}

function createNestedError(): EtlError {
  return createLibraryTransactionError(
    'BEGIN was sent while a transaction is open on the same client of `session.pg`',
    'await one transaction before the next, use a savepoint, or give each its own client: `await session.pg.connect()`',
  );
}

function createChainError(): EtlError {
  return createLibraryTransactionError(
    "a transaction of `session.pg` can't end with AND CHAIN",
    'send COMMIT or ROLLBACK, and then BEGIN',
  );
}

function createInnerBeginError(): EtlError {
  return createLibraryTransactionError(
    'a text of several statements begins a transaction',
    'leave BEGIN and COMMIT out, because the task is one transaction, or send each statement by a `query` of its own',
  );
}
