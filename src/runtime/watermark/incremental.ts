import { EtlError } from '../../errors.js';
import type { ProtocolClient } from '../postgres/protocol.js';
import { quoteIdentifier, quoteLiteral, quoteTable } from '../sql/quote.js';
import { type Duration, parseDuration } from '../duration.js';
import { type CursorType, readCanonicalText, chooseLater } from './cursor.js';
import { type HighWatermark, findHighWatermark } from './high-watermark.js';
import type { Watermarks } from './watermark.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import type { Log } from '../report/event.js';

/** Reads only the rows that were added or changed since the last run. */
export interface Incremental {
  /**
   * The column that shows which rows are new. The column must not be null, and is one of:
   *
   * - a `timestamptz`, `timestamp` or `date` that the writing transaction sets to `now()`
   * - a whole number from a sequence
   * - an `xid8` that the writing transaction sets to `pg_current_xact_id()`
   */
  readonly cursor: string;
  /** The cursor value at which the first run starts. Default: the first row. */
  readonly initial?: string;
  /**
   * How much earlier than the begin of its transaction a row may be stamped, such as `'5m'`. For an application that
   * sets the time itself.
   */
  readonly lag?: Duration;
  /** The time zone of a cursor of type `timestamp` or `date`, such as `'UTC'`. */
  readonly timeZone?: string;
}

/** The input of an incremental task: a table or a query. */
export type IncrementalSource =
  { readonly table: string; readonly query?: never } | { readonly query: string; readonly table?: never };

/** The rows that one run reads: the rows with `low <= cursor < high`. */
export interface IncrementalRange {
  /** SQL text. In a first run without `initial`, the lowest value of the cursor's type. */
  readonly low: string;
  /** SQL text. The same as `low` if there is nothing new. */
  readonly high: string;
  /** The range as an SQL condition that contains both values, for COPY, which takes no bound values. */
  readonly where: string;
}

/** The option `incremental` of a sql task. The task reads from the database that it writes to. */
export type SqlIncremental = Incremental & IncrementalSource;

/**
 * Returns the high watermark that was found before the transaction of the attempt began. Throws the error if the search
 * failed.
 */
export type FoundHighWatermark = () => HighWatermark & { readonly source: IncrementalSource };

/**
 * Finds the high watermark of the rows to read, before the transaction that reads the rows. `client` is an idle
 * connection to the database of the rows. Does not throw if the search fails: the returned function throws the error.
 * So a task that is already done, and needs no high watermark, does not fail. Throws if the option `lag` is no
 * duration.
 */
export async function prepareHighWatermark(
  client: ProtocolClient,
  incremental: Incremental,
  { source, signal }: { readonly source: IncrementalSource; readonly signal: AbortSignal },
): Promise<FoundHighWatermark> {
  const { cursor, lag, timeZone } = incremental;
  // A query becomes a subquery. The line break ends a comment in the last line of the query.
  const table = source.table === undefined ? undefined : quoteTable(source.table);
  const from = table ?? `(${removeSemicolon(source.query ?? '')}\n) as source`;
  const lagMs = lag === undefined ? undefined : parseDuration(lag, 'incremental.lag');
  try {
    const upper = await findHighWatermark(client, { from, table, cursor, timeZone, lagMs, signal });
    return () => ({ ...upper, source });
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

/**
 * Finds the range of rows that a task reads in this attempt, and sets the task's watermark to the end of the range. The
 * watermark is committed together with the task's data. `taskConnection` has the task's own transaction. The range is
 * empty if the high watermark is not above the watermark. Throws what `highWatermark` throws, and ETL-3711 if the
 * watermark belongs to another cursor or another type.
 */
export async function findIncrementalRange(
  incremental: Incremental,
  highWatermark: FoundHighWatermark,
  { taskConnection, watermarks, log }: AttemptParts,
): Promise<IncrementalRange> {
  const { type, high: upper } = highWatermark();
  const { cursor } = incremental;
  const low = await findLow(incremental, type, { taskConnection, watermarks });
  const high = upper === undefined ? low : chooseLater(type, low, upper);
  // The high watermark can be below the watermark. For times the reason is an open transaction, and for numbers it is a
  // restarted numbering or deleted rows.
  if (type.kind !== 'time' && upper !== undefined && high !== upper)
    log(
      `all values of "${cursor}" are below ${low}, where this run starts to read: new rows with lower values are not read (was the numbering restarted?)`,
    );
  // An empty table has no number to record: the lowest value would say nothing.
  if (high !== type.lowest) watermarks.put({ name: cursor, value: high, type: type.name });
  const literal = (value: string): string => `${quoteLiteral(value)}::${type.sql}`;
  const name = quoteIdentifier(cursor);
  const where = `${name} operator(pg_catalog.>=) ${literal(low)}
    and ${name} operator(pg_catalog.<) ${literal(high)}`;
  return { low, high, where };
}

/**
 * Says which transaction held rows back, for a task that has written no row. Without this line, nobody could tell whether
 * there were no new rows.
 */
export function explainNoRows(highWatermark: FoundHighWatermark | undefined, log: Log): void {
  const heldBack = highWatermark?.().heldBack;
  if (heldBack !== undefined) log(heldBack);
}

/** The parts of an attempt that its incremental range needs. */
interface AttemptParts {
  readonly taskConnection: TaskConnection;
  readonly watermarks: Watermarks;
  readonly log: Log;
}

/**
 * Finds the cursor value where this attempt starts to read, as canonical text:
 *
 * - the task's watermark
 * - else the option `initial`
 * - else the lowest value of the type
 *
 * Throws ETL-3711 if the watermark has another type, or if the task's newest watermark belongs to another cursor.
 */
async function findLow(
  { cursor, initial }: Incremental,
  type: CursorType,
  { taskConnection, watermarks }: Pick<AttemptParts, 'taskConnection' | 'watermarks'>,
): Promise<string> {
  const row = await watermarks.find(cursor);
  const other = (await watermarks.readAll()).find((each) => each.name !== cursor && each.type !== undefined);
  // `other` is the watermark of another cursor that the task had. It says nothing about the cursor of today. The row of
  // today's cursor counts only if it was set later, by a run or by a person.
  const isNewest = other === undefined || (row !== undefined && row.setAt > other.setAt);
  if (!isNewest)
    throw createChangedCursorError(cursor, {
      what: `the task has read up to ${other.name} ${other.value}, and now its cursor is "${cursor}"`,
      why: 'the old watermark says nothing about the new cursor column',
    });
  if (row === undefined) {
    return initial === undefined ? type.lowest : readCanonicalText(taskConnection, type, initial);
  }
  if (row.type === type.name) return row.value; // An earlier run has set the value, as canonical text.
  if (row.type !== undefined)
    throw createChangedCursorError(cursor, {
      what: `the type of the cursor "${cursor}" was ${row.type}, and now is ${type.name}`,
      why: 'the old watermark can not be compared with values of the new type',
    });
  // A person has set the value on the command line, so its form can be any that PostgreSQL reads.
  return readCanonicalText(taskConnection, type, row.value);
}

/** Removes spaces at both ends, and one semicolon at the end, which a subquery can't have. */
function removeSemicolon(query: string): string {
  return query.trim().replace(/;$/, '');
}

/** Creates ETL-3711 for a task whose watermark does not fit its cursor. */
function createChangedCursorError(
  cursor: string,
  parts: { readonly what: string; readonly why: string },
): EtlError {
  const fix = `start over with --full-refresh, or set where the task continues: etl state set <dag> <task> ${cursor} <value>`;
  return new EtlError('ETL-3711', { ...parts, fix });
}
