import { EtlError, toError } from '../../errors.js';
import { listUserFrames } from '../modules/stack.js';
import { type AttemptOutcome, type Ending, FailTask } from './outcome.js';
import { type Location, formatLocation, formatPosition } from '../modules/location.js';
import { type FailureKind, classifyState } from './retry.js';
import { formatCaretExcerpt } from '../sql/excerpt.js';
import { type DatabaseError, findDatabaseError, describeState, isMalformed } from '../postgres/sqlstate.js';
import type { FailedStatement } from '../postgres/task-connection.js';
import { FileError } from '../tasks/load/feed.js';

/** What is known of a failed attempt besides what was thrown. */
export interface FailureFacts {
  readonly taskId: string;
  readonly location: Location;
  readonly retryOn: readonly string[];
  readonly ending: Ending;
  readonly isClaimed: boolean;
  /** The statement behind a database error. */
  readonly statementOf: (error: object) => FailedStatement | undefined;
}

/** Turns what a failed attempt threw into the error that is reported, and says whether a retry can help. */
export function createFailedOutcome(thrown: unknown, facts: FailureFacts): AttemptOutcome {
  const cause = toError(thrown);
  const database = findDatabaseError(cause);
  const error = cause instanceof EtlError ? completeError(cause, facts) : describe(cause, database, facts);
  const { ending, isClaimed } = facts;
  return { state: 'failed', error, kind: classifyFailure(cause, database, facts), ending, isClaimed };
}

function classifyFailure(
  cause: Error,
  database: DatabaseError | undefined,
  facts: FailureFacts,
): FailureKind {
  if (facts.ending === 'check data' || cause instanceof FailTask) return 'permanent';
  // A refused connection has the server's word as its cause: a wrong password stays wrong.
  if (cause instanceof EtlError && !TRANSIENT.has(cause.code)) return 'permanent';
  if (database !== undefined && isMalformed(database)) return 'permanent';
  return classifyState(database?.code, facts.retryOn);
}

/** Errors of ours that another attempt may not meet. */
const TRANSIENT: ReadonlySet<string> = new Set([
  'ETL-1001',
  'ETL-1002',
  'ETL-3301',
  'ETL-3207',
  // A swallowed error is as good or bad as what was swallowed: a serialization failure may pass.
  'ETL-3203',
]);

function describe(cause: Error, database: DatabaseError | undefined, facts: FailureFacts): EtlError {
  const task = `task defined at ${formatLocation(facts.location)}`;
  if (database === undefined) {
    const where = [...formatThrowLocation(cause, facts.location), task].join(', in the ');
    return new EtlError('ETL-3001', {
      what: cause.message || cause.name,
      where,
      data: describeDataState(facts),
      cause,
    });
  }
  const statement = facts.statementOf(database);
  const lost = facts.ending === 'unknown' || database.severity === 'FATAL';
  return new EtlError(lost ? 'ETL-1002' : 'ETL-3001', {
    what: statement?.message || database.message,
    where: [task, ...findFile(cause), ...formatSqlPosition(database, statement)].join('\n'),
    why: [describeState(database.code), ...formatObjects(database)].join(', '),
    fix: database.hint,
    data: describeDataState(facts),
    cause,
  });
}

/** The first place in the user's own code on the stack of an exception. */
function formatThrowLocation(cause: Error, { root }: Location): string[] {
  const frame = listUserFrames(cause.stack)[0];
  return frame === undefined ? [] : [`thrown at ${formatPosition(frame.file, frame, root.directory)}`];
}

/** An error of ours that was raised deep inside gets the place of its task and the state of the data. */
function completeError(error: EtlError, facts: FailureFacts): EtlError {
  return new EtlError(error.code, {
    what: error.message,
    where: error.where ?? `task defined at ${formatLocation(facts.location)}`,
    why: error.why,
    fix: error.fix,
    data: error.data ?? describeDataState(facts),
    cause: error.cause,
  });
}

function findFile(cause: Error): string[] {
  return cause instanceof FileError ? [`file "${cause.file}"`] : [];
}

function formatSqlPosition(error: DatabaseError, statement: FailedStatement | undefined): string[] {
  const lines: string[] = [];
  // The context of a COPY names line and column, and quotes the value: row data stays out of reports.
  const copy = /^COPY ([^,]+), line (\d+)(?:, column ([^:\n]+))?/.exec(error.where ?? '');
  if (copy)
    lines.push(`COPY ${copy[1]}, line ${copy[2]}${copy[3] === undefined ? '' : `, column "${copy[3]}"`}`);
  if (error.position !== undefined && statement)
    lines.push(formatCaretExcerpt(statement.sql, Number(error.position)));
  return lines;
}

/** Names of the schema, never values. */
function formatObjects(error: DatabaseError): string[] {
  const named: string[] = [];
  if (error.constraint !== undefined) named.push(`constraint "${error.constraint}"`);
  if (error.table !== undefined) named.push(`table "${error.table}"`);
  if (error.column !== undefined) named.push(`column "${error.column}"`);
  return named;
}

function describeDataState(facts: FailureFacts): string {
  switch (facts.ending) {
    case 'rolled back':
      return `"${facts.taskId}" wrote nothing`;
    case 'unknown':
      return `whether "${facts.taskId}" was committed is not known: the connection was lost during COMMIT`;
    case 'no transaction':
      return `"${facts.taskId}" is not recorded: what it did outside of a database is not undone, and a resume repeats it`;
    case 'check data':
      return `"${facts.taskId}" ended its transaction itself: look at what it wrote before it did`;
    default:
      return facts.ending satisfies never;
  }
}
