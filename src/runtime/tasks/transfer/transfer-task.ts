import { copyInto } from '../../copy/copy-in.js';
import { copyOut } from '../../copy/copy-out.js';
import type { Source } from '../../session/read-session.js';
import { describeTable } from '../../table/describe.js';
import { assertTable } from '../../table/refuse.js';
import { writeDescribed } from '../../table/write.js';
import { formatFor, withPlainText } from './transfer-format.js';
import { type Selection, selectQuery, selectTable } from './selection.js';
import { type Bound, type Incremental, boundOf, incrementalRange } from '../../watermark/incremental.js';
import { inlineValues } from '../../copy/inline-values.js';
import { type Before, type TransactionBody, type Work, describeOptions } from '../task-body.js';
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
export function transferBody(options: TransferSource): TransactionBody {
  const { from, table, query, into, mode, key, deleteMissing, incremental } = options;
  const source = { from, table, query, into, mode, key, deleteMissing, incremental } as TransferSource;
  const body: TransactionBody = {
    transactional: true,
    source: async () => describeOptions(source),
    run: (work) => transfer(source, work),
  };
  if (incremental === undefined) return body;
  return { ...body, settle: (before) => settleSource(source, incremental, before) };
}

/**
 * The bound, on the connection that the rows are then read from: another one could lead to another replica. Before the
 * task's own transaction begins, which would hold back the rows of a source in the same database. An error waits until
 * somebody asks for the bound, also one of the connection.
 */
async function settleSource(
  options: TransferSource,
  incremental: Incremental,
  { source: open, context, signal }: Before,
): Promise<Bound> {
  const { table } = options;
  let bound: Bound | undefined;
  try {
    await open(options.from, async (client) => {
      const source =
        table === undefined ? { query: await inlineValues(client, queryOf(options, context)) } : { table };
      bound = await boundOf(client, incremental, { source, signal });
    });
  } catch (error) {
    return () => {
      throw error;
    };
  }
  if (bound === undefined) throw new Error('a source was opened before its bound was taken');
  return bound;
}

async function transfer(source: TransferSource, work: Work): Promise<TransferResult> {
  const { wire } = work;
  const table = await describeTable(wire, source.into);
  assertTable(table, source.into);
  const from = await work.source(source.from);
  const condition = (): Promise<string | undefined> => newRows(source, work);
  const selection =
    source.table === undefined
      ? await selectQuery(from.wire, queryFor(source, work), condition)
      : await selectTable(from.wire, source.table, { target: table, condition });
  const format = formatFor(selection.columns, table.columns);
  let bytes = 0;
  const bring = bringing({ from, selection, format }, work, (count) => {
    bytes += count;
    work.moved({ bytes: count });
  });
  const target = {
    ...source,
    mode: modeFor(source, work.context),
    table,
    columns: selection.columns.map(({ name }) => name),
  };
  const written = await writeDescribed(wire, target, bring);
  return { ...written, bytes };
}

/** The condition on rows that are new; undefined for a transfer of all rows. */
async function newRows({ incremental }: TransferSource, work: Work): Promise<string | undefined> {
  const { bound, wire, watermarks, context } = work;
  if (incremental === undefined || bound === undefined) return undefined;
  return (await incrementalRange(incremental, bound, { wire, watermarks, log: context.log })).where;
}

/** In a full refresh every row comes again: what was appended before gives way to it. */
function modeFor({ mode, incremental }: TransferSource, { run }: TaskContext): WriteTarget['mode'] {
  return incremental !== undefined && run.fullRefresh && mode === 'append' ? 'replace' : mode;
}

/** That of the bound, where there is one: the function of an attempt is called once. */
function queryFor(source: TransferSource, { bound, context }: Work): string | BoundSql {
  return bound?.().source.query ?? queryOf(source, context);
}

function queryOf({ query = '' }: TransferSource, context: TaskContext): string | BoundSql {
  return typeof query === 'function' ? query(context) : query;
}

/** What goes from one COPY to the other. */
interface Movement {
  readonly from: Source;
  readonly selection: Selection;
  readonly format: 'binary' | 'text';
}

/**
 * The bytes of one COPY are those of the other: nothing is made of a row on the way. In several parts at a time the
 * source could be read faster, but it is the one COPY into the target that takes the time.
 */
function bringing(
  { from, selection, format }: Movement,
  { wire, context: { signal } }: Work,
  moved: (bytes: number) => void,
): BringRows {
  const options = `(format ${format}, encoding 'UTF8')`;
  return async (table, list) => {
    const copy = (): Promise<number> =>
      copyInto(
        wire,
        `copy ${table} (${list}) from stdin ${options}`,
        copyOut(from.wire, `copy ${selection.sql} to stdout ${options}`, { signal, isLending: true }),
        { signal, moved, isOwner: true },
      );
    return format === 'binary' ? copy() : withPlainText(from.wire, () => withPlainText(wire, copy));
  };
}
