import { EtlError, toError } from '../../errors.js';
import { listUserFrames } from '../modules/stack.js';
import { type AttemptOutcome, type Ending, FailTask } from './outcome.js';
import { type Location, formatPosition, formatTaskOrigin } from '../modules/location.js';
import { type FailureKind, classifyState } from './retry.js';
import {
  type DatabaseError,
  adviseFix,
  findDatabaseError,
  describeState,
  isWrongValueCount,
} from '../postgres/sqlstate.js';
import { adviseNetwork } from './network-advice.js';
import { describeServerError, hideValues } from '../postgres/server-error.js';
import {
  formatHiddenStatement,
  formatInterrupted,
  formatServerLocation,
  findShownStatement,
  type FailureSite,
  type Interrupted,
} from './statement-location.js';

/** The facts about a failed attempt, apart from the error that was thrown. */
export interface FailureFacts extends FailureSite {
  readonly ending: Ending;
  /** True if the server has answered the claim. Default: false. */
  readonly isClaimed?: boolean;
  /** The statement that ran when the attempt was stopped. Undefined if the attempt was not stopped. */
  readonly interrupted?: Interrupted | undefined;
  /** The process ID of the task's session on the server. Undefined if the transaction has not begun. */
  readonly pid?: number | undefined;
  /** The sessions that held the lock that the last statement waited for. Undefined if the statement did not wait. */
  readonly lockHolders?: string | undefined;
}

/**
 * Creates the outcome of a failed attempt: the error that is reported, and the kind of failure, which decides about a
 * retry.
 */
export function createFailedOutcome(thrown: unknown, facts: FailureFacts): AttemptOutcome {
  const cause = toError(thrown);
  const database = findDatabaseError(cause);
  const error =
    cause instanceof EtlError ? completeError(cause, facts) : createTaskError(cause, database, facts);
  const { ending, isClaimed = false } = facts;
  return { state: 'failed', error, kind: classifyFailure(cause, database, facts), ending, isClaimed };
}

/**
 * Returns the kind of a failure. Permanent are: a transaction that the task ended itself, a `FailTask`, an error of our
 * own that a retry meets again, and a wrong number of values. In all other cases the SQLSTATE and `retryOn` decide.
 */
function classifyFailure(
  cause: Error,
  database: DatabaseError | undefined,
  facts: FailureFacts,
): FailureKind {
  if (facts.ending === 'check data' || cause instanceof FailTask) return 'permanent';
  if (cause instanceof EtlError && CONFLICTS.has(cause.code)) return 'serialization';
  if (cause instanceof EtlError && !TRANSIENT.has(cause.code)) return 'permanent';
  // The SQLSTATE decides, also that of the cause of an `EtlError`: a wrong password is permanent.
  if (database !== undefined && isWrongValueCount(database)) return 'permanent';
  return classifyState(database?.code, facts.task.retryOn);
}

/** The codes of our own errors about objects that other transactions have changed or use. */
const CONFLICTS = new Set(['ETL-3573', 'ETL-3574']);

/**
 * The codes of our own errors that a retry can avoid: lost connections, and inputs that a server or another program did not
 * deliver completely. For a swallowed error (ETL-3203), the SQLSTATE of its cause decides:
 * a serialization failure is worth a retry.
 */
const TRANSIENT = new Set([
  'ETL-1001',
  'ETL-1002',
  'ETL-1004',
  'ETL-3301',
  'ETL-3207',
  'ETL-3203',
  'ETL-3551',
  'ETL-3552',
  'ETL-3571',
]);

/**
 * Creates the error that is reported for an error of the server or of the user's code.
 *
 * - An error of the user's code becomes ETL-3001, with the location where it was thrown.
 * - An error of the server (`database`) becomes ETL-3001, with the statement, the location of the code that sent it, the
 *   SQLSTATE in words, and the names of the server's DETAIL and HINT.
 * - A lost connection becomes ETL-1002, with the same parts.
 */
function createTaskError(cause: Error, database: DatabaseError | undefined, facts: FailureFacts): EtlError {
  const task = formatTaskOrigin(facts.task.location);
  const data = describeDataState(facts);
  if (database === undefined) {
    const where = [...formatThrowLocation(cause, facts.task.location), task].join(', in the ');
    const session = adviseSession(cause);
    const advice = session === undefined ? adviseNetwork(cause) : { fix: session };
    return new EtlError('ETL-3001', { what: cause.message || cause.name, where, ...advice, data, cause });
  }
  const text = describeServerError(database);
  const isLost = facts.ending === 'unknown' || database.severity === 'FATAL';
  const state = [describeState(database.code), ...formatObjects(database)].join(', ');
  return new EtlError(isLost ? 'ETL-1002' : 'ETL-3001', {
    what: isMereWrapper(cause, database) ? text.message : hideValues(cause.message, database) || cause.name,
    where: [task, ...formatServerLocation(cause, database, facts)].join('\n'),
    why: [state, ...text.detail, ...formatOwnProcess(database, facts), ...formatLockWait(facts)].join('\n'),
    fix: facts.lockHolders === undefined ? adviseFix(database.code, text.hint) : END_HOLDER,
    data,
    rowData: joinRowData(text.rowData, formatHiddenStatement(cause, findShownStatement(database, facts))),
    cause,
  });
}

/**
 * Returns true if an error says nothing but the error of the server: it is that error, or Knex, Objection or one of our
 * own classes has wrapped it. False for an error in which the user's code has words of its own.
 */
function isMereWrapper(cause: Error, database: DatabaseError): boolean {
  return cause === database || cause.message.includes(database.message) || 'nativeError' in cause;
}

/**
 * Advises to pass the session, for an error of a model that has no connection. Objection's own advice, to bind the model to
 * a Knex instance, would write outside of the task's transaction.
 */
function adviseSession(cause: Error): string | undefined {
  if (!cause.message.startsWith('no database connection available for a query')) return undefined;
  return 'pass the session of the task to the query, such as Customer.query(session); related queries too: Customer.relatedQuery("orders", session)';
}

/**
 * Formats the first location in the user's own code on the stack of an exception. Empty if the stack has no such
 * location.
 */
function formatThrowLocation(cause: Error, { root }: Location): string[] {
  const frame = listUserFrames(cause.stack)[0];
  return frame === undefined ? [] : [`thrown at ${formatPosition(frame.file, frame, root.directory)}`];
}

/**
 * Copies one of our own errors. Adds the location of the task and the state of the data if the error has none. An error
 * with a server's error as its cause, and a timeout, get the statement and the location of the code that sent it.
 */
function completeError(error: EtlError, facts: FailureFacts): EtlError {
  const { task, interrupted } = facts;
  const database = findDatabaseError(error.cause);
  const statement = database && formatServerLocation(error, database, facts);
  const lines = statement ?? (interrupted === undefined ? [] : formatInterrupted(interrupted, facts));
  return new EtlError(error.code, {
    what: error.what,
    where: [error.where ?? formatTaskOrigin(task.location), ...lines].join('\n'),
    why:
      [
        ...(error.why === undefined ? [] : [error.why]),
        ...(database === undefined ? [] : formatOwnProcess(database, facts)),
        ...formatLockWait(facts),
      ].join('\n') || undefined,
    fix: facts.lockHolders === undefined ? error.fix : END_HOLDER,
    data: error.data ?? describeDataState(facts),
    rowData: error.rowData ?? describeRowData(error, database, facts),
    check: error.check,
    cause: error.cause,
  });
}

/** The advice about a lock that another transaction holds. */
const END_HOLDER =
  'end the transaction that holds the lock, or run the task when nobody else changes these rows; a longer `timeout` of the task helps only if that transaction ends';

/** Says who held the lock that the last statement waited for. */
function formatLockWait({ lockHolders }: FailureFacts): string[] {
  return lockHolders === undefined ? [] : [`the statement waited for a lock: ${lockHolders}`];
}

/** Says which process of a deadlock is the session of the task. The DETAIL of the server has only process IDs. */
function formatOwnProcess({ code }: DatabaseError, { pid, task }: FailureFacts): string[] {
  return code !== '40P01' || pid === undefined ? [] : [`process ${pid} is the session of "${task.id}"`];
}

/** Returns the values of rows that explain one of our own errors: of the server's error, and of the statement. */
function describeRowData(
  error: EtlError,
  database: DatabaseError | undefined,
  facts: FailureFacts,
): string | undefined {
  if (database !== undefined) {
    const statement = formatHiddenStatement(error, findShownStatement(database, facts));
    return joinRowData(describeServerError(database).rowData, statement);
  }
  const { interrupted } = facts;
  return interrupted && joinRowData(undefined, formatHiddenStatement(interrupted.thrown, interrupted.sql));
}

/** Joins the parts of an error that contain values of rows. Returns undefined if there are none. */
function joinRowData(rowData: string | undefined, hidden: readonly string[]): string | undefined {
  return [...(rowData === undefined ? [] : [rowData]), ...hidden].join('\n') || undefined;
}

/** Formats the names of the constraint, the table and the column of a database error. Never formats values. */
function formatObjects(error: DatabaseError): string[] {
  const names: string[] = [];
  if (error.constraint !== undefined) names.push(`constraint "${error.constraint}"`);
  if (error.table !== undefined) names.push(`table "${error.table}"`);
  if (error.column !== undefined) names.push(`column "${error.column}"`);
  if (error.dataType !== undefined) names.push(`type "${error.dataType}"`);
  return names;
}

/** Says what the failed attempt left in the database. */
function describeDataState({ task: { id }, ending }: FailureFacts): string {
  switch (ending) {
    case 'rolled back':
      return `"${id}" wrote nothing`;
    case 'unknown':
      return `it is unknown whether "${id}" was committed: the connection was lost during COMMIT`;
    case 'no transaction':
      return `"${id}" is not recorded, and etl changed nothing in a database; other work of the task, such as requests, is not undone, and a resume repeats the task`;
    case 'check data':
      return `"${id}" ended its transaction itself: check the rows that it wrote before`;
    default:
      return ending satisfies never;
  }
}
