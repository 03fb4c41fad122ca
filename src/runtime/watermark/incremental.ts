import { EtlError } from '../../errors.js';
import type { ProtocolClient } from '../postgres/protocol.js';
import { quoteIdentifier, quoteLiteral, quoteTable } from '../sql/quote.js';
import { type Duration, parseDuration } from '../duration.js';
import { type CursorType, readCanonicalText, chooseLater } from './cursor.js';
import { type HighWatermark, settle } from './high-watermark.js';
import type { Watermarks } from './watermark.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import type { Log } from '../report/event.js';

/** Reads only the rows that have come, or were changed, since the last run. */
export interface Incremental {
  /**
   * The column that says when a row has come: of the type `timestamptz` (`timestamp`, `date`), stamped with `now()` by the
   * transaction that writes the row; a whole number from a sequence; or `xid8`, of `pg_current_xact_id()`. Not null.
   */
  readonly cursor: string;
  /** Where the first run begins; without it, with the first row. */
  readonly initial?: string;
  /** How much earlier than its transaction a row may be stamped, where an application gives the time: `'5m'`. */
  readonly lag?: Duration;
  /** The time zone of a cursor whose type has none. */
  readonly timeZone?: string;
}

/** What an incremental task reads from: a table, or a query without its semicolon. */
export type IncrementalSource =
  { readonly table: string; readonly query?: never } | { readonly query: string; readonly table?: never };

/** The rows of one run: those with `low <= cursor < high`. */
export interface IncrementalRange {
  /** SQL text, also in the first run. */
  readonly low: string;
  /** SQL text; the same as `low` where there is nothing new. */
  readonly high: string;
  /** The condition on the rows, with both values in it, for a COPY, which takes no bound values. */
  readonly where: string;
}

/** The option of a sql task: what it reads, in the database that it writes to. */
export type SqlIncremental = Incremental & IncrementalSource;

/** The bound of one attempt, found before its transaction begins; calling it throws what kept it from being found. */
export type FoundHighWatermark = () => HighWatermark & { readonly source: IncrementalSource };

/**
 * Finds up to where the rows of a source are complete, on an idle connection to it, before the transaction that reads
 * them. An error waits until somebody asks: a task that is done already needs no bound.
 */
export async function prepareHighWatermark(
  client: ProtocolClient,
  incremental: Incremental,
  { source, signal }: { readonly source: IncrementalSource; readonly signal: AbortSignal },
): Promise<FoundHighWatermark> {
  const { cursor, lag, timeZone } = incremental;
  const table = source.table === undefined ? undefined : quoteTable(source.table);
  const from = table ?? `(${removeEnd(source.query ?? '')}\n) as source`;
  const lagMs = lag === undefined ? undefined : parseDuration(lag, 'incremental.lag');
  try {
    const upper = await settle(client, { from, table, cursor, timeZone, lagMs, signal });
    return () => ({ ...upper, source });
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

/**
 * The rows that a task reads in this attempt. Its watermark goes up to the end of the range, in the same COMMIT as what
 * the task makes of them. `wire` is that of the task's own transaction.
 */
export async function findIncrementalRange(
  incremental: Incremental,
  highWatermark: FoundHighWatermark,
  {
    taskConnection,
    watermarks,
    log,
  }: { readonly taskConnection: TaskConnection; readonly watermarks: Watermarks; readonly log: Log },
): Promise<IncrementalRange> {
  const { type, high: upper, heldBack } = highWatermark();
  const { cursor } = incremental;
  const low = await findLow(incremental, type, { taskConnection, watermarks });
  const high = upper === undefined ? low : chooseLater(type, low, upper);
  if (heldBack !== undefined && high === low) log(heldBack);
  // Times can be held back. Numbers only grow, where they are not begun anew, or their newest rows deleted.
  if (type.kind !== 'time' && upper !== undefined && high !== upper)
    log(
      `no row has a "${cursor}" from ${low} on, where the last run has ended: rows that are numbered anew are not read`,
    );
  // Before the first row there is no number that could be told from the lowest.
  if (high !== type.lowest) watermarks.put({ name: cursor, value: high, type: type.name });
  const literal = (value: string): string => `${quoteLiteral(value)}::${type.name}`;
  const name = quoteIdentifier(cursor);
  const where = `${name} >= ${literal(low)} and ${name} < ${literal(high)}`;
  return { low, high, where };
}

async function findLow(
  { cursor, initial }: Incremental,
  type: CursorType,
  {
    taskConnection,
    watermarks,
  }: { readonly taskConnection: TaskConnection; readonly watermarks: Watermarks },
): Promise<string> {
  const row = await watermarks.find(cursor);
  const other = (await watermarks.readAll()).find((each) => each.name !== cursor && each.type !== undefined);
  // What a cursor of long ago has left says nothing of the rows that have come by another one since.
  if (other !== undefined && !(row !== undefined && row.setAt > other.setAt))
    throw createOtherCursorError(cursor, other);
  if (row === undefined) {
    return initial === undefined ? type.lowest : readCanonicalText(taskConnection, type, initial);
  }
  if (row.type === type.name) return row.value;
  if (row.type !== undefined) throw createOtherCursorTypeError(cursor, row.type, type.name);
  return readCanonicalText(taskConnection, type, row.value);
}

function removeEnd(query: string): string {
  return query.trim().replace(/;$/, '');
}

const CHOICE = (cursor: string): string =>
  `begin anew with --full-refresh, or say where it goes on: etl state set <dag> <task> ${cursor} <value>`;

function createOtherCursorError(
  cursor: string,
  other: { readonly name: string; readonly value: string },
): EtlError {
  return new EtlError('ETL-3711', {
    what: `the task has come up to ${other.name} ${other.value}, and now its cursor is "${cursor}"`,
    why: 'where it is by the new cursor is not known',
    fix: CHOICE(cursor),
  });
}

function createOtherCursorTypeError(cursor: string, before: string, now: string): EtlError {
  return new EtlError('ETL-3711', {
    what: `the cursor "${cursor}" was of type ${before}, and now it is of type ${now}`,
    why: 'where it is in the new type is not known',
    fix: CHOICE(cursor),
  });
}
