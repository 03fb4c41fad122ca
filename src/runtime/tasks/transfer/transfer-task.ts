import { copyInto } from '../../copy/copy-in.js';
import { copyOut } from '../../copy/copy-out.js';
import { describeTable } from '../../table/describe.js';
import { assertTable } from '../../table/refuse.js';
import { writeDescribed } from '../../table/write.js';
import { chooseFormat } from './transfer-format.js';
import { TRANSFER_SETTINGS } from '../../postgres/value-settings.js';
import type { ProtocolClient } from '../../postgres/protocol.js';
import { describeNarrowing } from './narrowing.js';
import { selectQuery, selectTable } from './selection.js';
import {
  type FoundHighWatermark,
  type Incremental,
  prepareHighWatermark,
  findIncrementalRange,
} from '../../watermark/incremental.js';
import { inlineBoundValues } from '../../copy/inline-values.js';
import { aStatement, checkReturned } from '../option-rule.js';
import { type BeforeTransaction, type TransactionBody, type TaskWork, listOptions } from '../task-body.js';
import { findUnsetCursors } from '../unset-cursor.js';
import type { BoundSql } from '../../sql/bind.js';
import type { BringRows, WriteTarget } from '../../table/write-target.js';
import type { TaskContext } from '../task-context.js';

/** The options of a transfer task that say what it reads from another database, and the table that it writes. */
export interface TransferSource<Context = TaskContext> extends WriteTarget {
  /** The ID of the connection that is read. The task never writes there. */
  readonly from: string;
  /** The table or view that is read: `table` or `schema.table`. */
  readonly table?: string;
  /** Instead of `table`: one query, with values for its `$1`, `$2`, …, or a function that returns it. */
  readonly query?: string | BoundSql | ((context: Context) => string | BoundSql);
  /**
   * Reads only the rows that were added or changed since the last run. The `cursor` is a column of the table or the
   * query. Can't be used with `mode: 'replace'`.
   */
  readonly incremental?: Incremental;
}

/** The result of a `transfer` task, for the tasks that need it. */
export interface TransferResult {
  /** The number of rows that were read from the other database. */
  readonly rows: number;
  /** The number of rows that were inserted. */
  readonly inserted: number;
  /** The number of rows that a merge updated. Rows that were equal already are not counted. */
  readonly updated: number;
  /** The number of rows that `deleteMissing` deleted. */
  readonly deleted: number;
  /** The number of bytes of data that went through this process. */
  readonly bytes: number;
}

/**
 * Creates the body of a transfer task, which copies rows from one database to another with COPY on both sides, in
 * constant memory. The other database is read in one snapshot (`repeatable read`, read only). Columns are matched by
 * name.
 */
export function createTransferBody(options: TransferSource): TransactionBody {
  const { from, table, query, into, mode, key, deleteMissing, incremental } = options;
  const ownOptions = { from, table, query, into, mode, key, deleteMissing, incremental } as TransferSource;
  const body: TransactionBody = {
    transactional: true,
    settings: TRANSFER_SETTINGS,
    ...(mode === 'merge' && { merges: into }),
    listCode: () => listOptions(ownOptions, Object.keys(ownOptions)),
    run: (work) => runTransfer(ownOptions, work),
  };
  if (incremental === undefined) return body;
  const { cursor, timeZone } = incremental;
  const reads = table === undefined ? {} : { reads: { table, cursor, timeZone, conn: from } };
  return {
    ...body,
    ...reads,
    findHighWatermark: (before) => findSourceHighWatermark(ownOptions, incremental, before),
  };
}

/**
 * Opens the read session and finds the high watermark on its connection, because another connection could lead to another
 * replica. The search runs before the read session takes its snapshot. It also runs before the task's own transaction
 * begins: if both connections lead to the same database, an open transaction of the task would hold the high watermark
 * back.
 *
 * Does not reject if the connection or the search fails: the returned function throws the error. So an attempt that finds
 * the task already done does not fail.
 */
async function findSourceHighWatermark(
  options: TransferSource,
  incremental: Incremental,
  { openReadSession, context, signal }: BeforeTransaction,
): Promise<FoundHighWatermark> {
  const { table } = options;
  let highWatermark: FoundHighWatermark | undefined;
  try {
    const beforeSnapshot = async (client: ProtocolClient): Promise<void> => {
      const source =
        table === undefined
          ? { query: await inlineBoundValues(client, buildQuery(options, context)) }
          : { table };
      highWatermark = await prepareHighWatermark(client, incremental, { source, signal });
    };
    await openReadSession(options.from, { beforeSnapshot, settings: TRANSFER_SETTINGS });
  } catch (error) {
    return () => {
      throw error;
    };
  }
  // The callback does not run if the read session is open already. Nothing opens it before this function.
  if (highWatermark === undefined)
    throw new Error('the read session was opened before its high watermark was found');
  return highWatermark;
}

/**
 * Runs one attempt of a transfer: describes the table that is written, selects the rows of the other database, and sends
 * them from one COPY to the other. Throws `EtlError` ETL-3511 if one of the tables does not exist, and ETL-3532 for a value
 * that the table would change.
 */
async function runTransfer(options: TransferSource, work: TaskWork): Promise<TransferResult> {
  const { taskConnection, highWatermark } = work;
  const { signal, run } = work.context;
  const table = await describeTable(taskConnection, options.into);
  assertTable(table, options.into);
  const source = (await work.openReadSession(options.from, { settings: TRANSFER_SETTINGS })).taskConnection;
  const condition = (): Promise<string | undefined> => buildNewRowsCondition(options, work);
  // The user's function is called once an attempt: if it was called for the high watermark, its query is used again.
  const getQuery = (): string | BoundSql =>
    highWatermark?.().source.query ?? buildQuery(options, work.context);
  const selection =
    options.table === undefined
      ? await selectQuery(source, getQuery(), { target: table, condition })
      : await selectTable(source, options.table, { target: table, condition });
  const format = chooseFormat(selection.columns, table.columns);
  const copyOptions = `(format ${format}, encoding 'UTF8')`;
  let bytes = 0;
  const moved = (count: number): void => {
    bytes += count;
    work.moved({ bytes: count });
  };
  // Pipes the bytes of one COPY unchanged into the other. Reading with several COPY statements in parallel would be no
  // faster, because the single COPY into the table takes most of the time.
  const bringRows: BringRows = (into, list) => {
    const text = `copy ${selection.sql} to stdout ${copyOptions}`;
    const chunks = copyOut(source, text, { signal, isLending: true });
    return copyInto(taskConnection, `copy ${into} (${list}) from stdin ${copyOptions}`, chunks, {
      signal,
      moved,
      isOwner: true,
    }).catch((error: unknown) => {
      throw describeNarrowing(error, selection.columns, { from: options.from, table });
    });
  };
  // A full refresh reads every row again: `append` would add the rows of earlier runs a second time. A merge updates them.
  const mustReplace = options.incremental !== undefined && run.fullRefresh && options.mode === 'append';
  const mode = mustReplace ? 'replace' : options.mode;
  const columns = selection.columns.map(({ name }) => name);
  const written = await writeDescribed(taskConnection, { ...options, mode, table, columns }, bringRows);
  if (mode === 'merge') {
    const warnings = await findUnsetCursors(
      taskConnection,
      { table: options.into, columns },
      work.cursorReaders(),
    );
    for (const warning of warnings) work.context.log(warning);
  }
  return { ...written, bytes };
}

/**
 * Builds the SQL condition for the new rows, and moves the task's watermark to the end of their range. Returns undefined
 * if the transfer is not incremental.
 */
async function buildNewRowsCondition(
  { incremental }: TransferSource,
  work: TaskWork,
): Promise<string | undefined> {
  const { highWatermark, taskConnection, watermarks, context } = work;
  if (incremental === undefined || highWatermark === undefined) return undefined;
  return (
    await findIncrementalRange(incremental, highWatermark, { taskConnection, watermarks, log: context.log })
  ).where;
}

/** Returns the query of the options. Calls the user's function if `query` is a function. */
function buildQuery({ query = '' }: TransferSource, context: TaskContext): string | BoundSql {
  return typeof query === 'function' ? checkReturned(query(context), 'query', aStatement) : query;
}
