import { copyInto } from '../../copy/copy-in.js';
import { copyOut } from '../../copy/copy-out.js';
import type { ReadSession } from '../../session/read-session.js';
import { describeTable } from '../../table/describe.js';
import { assertTable } from '../../table/refuse.js';
import { writeDescribed } from '../../table/write.js';
import { chooseFormat, withPortableText } from './transfer-format.js';
import { type Selection, selectQuery, selectTable } from './selection.js';
import {
  type FoundHighWatermark,
  type Incremental,
  prepareHighWatermark,
  findIncrementalRange,
} from '../../watermark/incremental.js';
import { inlineBoundValues } from '../../copy/inline-values.js';
import {
  type BeforeTransaction,
  type TransactionBody,
  type TaskWork,
  describeOptions,
} from '../task-body.js';
import type { BoundSql } from '../../sql/bind.js';
import type { BringRows, WriteTarget } from '../../table/write-target.js';
import type { TaskContext } from '../task-context.js';

/** What is read from another database, and the table that it goes to. */
export interface TransferSource<Context = TaskContext> extends WriteTarget {
  /** The ID of the connection that is read. It is never written to. */
  readonly from: string;
  /** `table` or `schema.table`, or a view, there. */
  readonly table?: string;
  /** One query, instead of a table; values are for its `$1`, `$2`, …. */
  readonly query?: string | BoundSql | ((context: Context) => string | BoundSql);
  /**
   * Only the rows that have come, or were changed, since the last run; the `cursor` is a column of the table or the
   * query. Not with `mode: 'replace'`.
   */
  readonly incremental?: Incremental;
}

/** What a `transfer` task gives to the tasks that need it. */
export interface TransferResult {
  /** Rows that came from the other database. */
  readonly rows: number;
  readonly inserted: number;
  /** By a merge; rows that were the same already are not counted. */
  readonly updated: number;
  /** By `deleteMissing`. */
  readonly deleted: number;
  /** Of data that went through this process. */
  readonly bytes: number;
}

/**
 * Rows from one database to another by COPY on both sides, in constant memory. The other database is read in one
 * snapshot (`repeatable read`, read only); columns go by their names.
 */
export function createTransferBody(options: TransferSource): TransactionBody {
  const { from, table, query, into, mode, key, deleteMissing, incremental } = options;
  const source = { from, table, query, into, mode, key, deleteMissing, incremental } as TransferSource;
  const body: TransactionBody = {
    transactional: true,
    readCode: async () => describeOptions(source),
    run: (work) => runTransfer(source, work),
  };
  if (incremental === undefined) return body;
  return { ...body, findHighWatermark: (before) => findSourceHighWatermark(source, incremental, before) };
}

/**
 * The bound, on the connection that the rows are then read from: another one could lead to another replica. Before the
 * task's own transaction begins, which would hold back the rows of a source in the same database. An error waits until
 * somebody asks for the bound, also one of the connection.
 */
async function findSourceHighWatermark(
  options: TransferSource,
  incremental: Incremental,
  { openReadSession: open, context, signal }: BeforeTransaction,
): Promise<FoundHighWatermark> {
  const { table } = options;
  let highWatermark: FoundHighWatermark | undefined;
  try {
    await open(options.from, async (client) => {
      const source =
        table === undefined
          ? { query: await inlineBoundValues(client, buildQuery(options, context)) }
          : { table };
      highWatermark = await prepareHighWatermark(client, incremental, { source, signal });
    });
  } catch (error) {
    return () => {
      throw error;
    };
  }
  if (highWatermark === undefined) throw new Error('a source was opened before its bound was taken');
  return highWatermark;
}

async function runTransfer(source: TransferSource, work: TaskWork): Promise<TransferResult> {
  const { taskConnection } = work;
  const table = await describeTable(taskConnection, source.into);
  assertTable(table, source.into);
  const from = await work.openReadSession(source.from);
  const condition = (): Promise<string | undefined> => buildNewRowsCondition(source, work);
  const selection =
    source.table === undefined
      ? await selectQuery(from.taskConnection, reuseOrBuildQuery(source, work), condition)
      : await selectTable(from.taskConnection, source.table, { target: table, condition });
  const format = chooseFormat(selection.columns, table.columns);
  let bytes = 0;
  const bring = createBringRows({ readSession: from, selection, format }, work, (count) => {
    bytes += count;
    work.moved({ bytes: count });
  });
  const target = {
    ...source,
    mode: chooseMode(source, work.context),
    table,
    columns: selection.columns.map(({ name }) => name),
  };
  const written = await writeDescribed(taskConnection, target, bring);
  return { ...written, bytes };
}

/** The condition on rows that are new; undefined for a transfer of all rows. */
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

/** In a full refresh every row comes again: what was appended before gives way to it. */
function chooseMode({ mode, incremental }: TransferSource, { run }: TaskContext): WriteTarget['mode'] {
  return incremental !== undefined && run.fullRefresh && mode === 'append' ? 'replace' : mode;
}

/** That of the bound, where there is one: the function of an attempt is called once. */
function reuseOrBuildQuery(source: TransferSource, { highWatermark, context }: TaskWork): string | BoundSql {
  return highWatermark?.().source.query ?? buildQuery(source, context);
}

function buildQuery({ query = '' }: TransferSource, context: TaskContext): string | BoundSql {
  return typeof query === 'function' ? query(context) : query;
}

/** What goes from one COPY to the other. */
interface TransferPlan {
  readonly readSession: ReadSession;
  readonly selection: Selection;
  readonly format: 'binary' | 'text';
}

/**
 * The bytes of one COPY are those of the other: nothing is made of a row on the way. In several parts at a time the
 * source could be read faster, but it is the one COPY into the target that takes the time.
 */
function createBringRows(
  { readSession: from, selection, format }: TransferPlan,
  { taskConnection, context: { signal } }: TaskWork,
  moved: (bytes: number) => void,
): BringRows {
  const options = `(format ${format}, encoding 'UTF8')`;
  return async (table, list) => {
    const copy = (): Promise<number> =>
      copyInto(
        taskConnection,
        `copy ${table} (${list}) from stdin ${options}`,
        copyOut(from.taskConnection, `copy ${selection.sql} to stdout ${options}`, {
          signal,
          isLending: true,
        }),
        { signal, moved, isOwner: true },
      );
    return format === 'binary'
      ? copy()
      : withPortableText(from.taskConnection, () => withPortableText(taskConnection, copy));
  };
}
