import { copyInto } from '../copy/copy-in.js';
import { copyOut } from '../copy/copy-out.js';
import type { Source } from '../source.js';
import { describeTable } from '../table/describe.js';
import { assertTable } from '../table/refuse.js';
import { writeDescribed, type BringRows, type WriteTarget } from '../table/write.js';
import type { TaskContext } from '../task.js';
import { formatFor, withPlainText } from '../transfer/format.js';
import { selectQuery, selectTable, type Selection } from '../transfer/selection.js';
import type { TransactionBody, Work } from './body.js';
import type { BoundSql } from './sql.js';

/** What is read from another database, and the table that it goes to. */
export interface TransferSource<Context = TaskContext> extends WriteTarget {
  /** The ID of the connection that is read. It is never written to. */
  readonly from: string;
  /** `table` or `schema.table`, or a view, there. */
  readonly table?: string;
  /** One query, instead of a table; values are for its `$1`, `$2`, …. */
  readonly query?: string | BoundSql | ((context: Context) => string | BoundSql);
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
  const { from, table, query, into, mode, key, deleteMissing } = options;
  const source = { from, table, query, into, mode, key, deleteMissing } as TransferSource;
  return {
    transactional: true,
    source: async () =>
      JSON.stringify(source, (_, value: unknown) => (typeof value === 'function' ? String(value) : value)),
    run: (work) => transfer(source, work),
  };
}

async function transfer(source: TransferSource, work: Work): Promise<TransferResult> {
  const { wire } = work;
  const table = await describeTable(wire, source.into);
  assertTable(table, source.into);
  const from = await work.source(source.from);
  const selection =
    source.table === undefined
      ? await selectQuery(from.wire, queryOf(source, work.context))
      : await selectTable(from.wire, source.table, table);
  const format = formatFor(selection.columns, table.columns);
  let bytes = 0;
  const bring = bringing({ from, selection, format }, work, (count) => {
    bytes += count;
    work.moved({ bytes: count });
  });
  const target = { ...source, table, columns: selection.columns.map(({ name }) => name) };
  const written = await writeDescribed(wire, target, bring);
  return { ...written, bytes };
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
        copyOut(from.wire, `copy ${selection.sql} to stdout ${options}`, { signal }),
        { signal, moved },
      );
    return format === 'binary' ? copy() : withPlainText(from.wire, () => withPlainText(wire, copy));
  };
}
