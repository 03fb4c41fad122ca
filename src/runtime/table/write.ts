import { send } from '../postgres/protocol.js';
import { quoteIdentifier } from '../sql/quote.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import { type Table, describeTable } from './describe.js';
import { assertMergeKey, merge } from './merge.js';
import { assertColumns, assertReplaceable, assertTable } from './refuse.js';
import type { BringRows, WriteTarget, Written } from './write-target.js';

/**
 * Writes rows into a table in one transaction, which stays open. `columns` are those that `bring` brings, in its order.
 * Views, grants, foreign keys, indexes and identity sequences of the table stay as they are.
 *
 * Throws `EtlError` ETL-3511 to ETL-3516 before a row is sent where table, columns or key do not fit, and ETL-3517
 * where keys of a merge are null or come twice.
 */
export async function writeTable(
  taskConnection: TaskConnection,
  target: WriteTarget,
  columns: readonly string[],
  bring: BringRows,
): Promise<Written> {
  const table = await describeTable(taskConnection, target.into);
  assertTable(table, target.into);
  return writeDescribed(taskConnection, { ...target, table, columns }, bring);
}

/** A target whose table is described already. */
export interface DescribedTarget extends WriteTarget {
  readonly table: Table;
  readonly columns: readonly string[];
  /**
   * What a row alone can break (not null, checks, the key of a merge) fails while the rows come, and not when they
   * are merged.
   */
  readonly isChecked?: boolean;
}

/** As `writeTable`. */
export async function writeDescribed(
  taskConnection: TaskConnection,
  target: DescribedTarget,
  bring: BringRows,
): Promise<Written> {
  const { table, columns, mode, key, deleteMissing = false, isChecked = false } = target;
  assertColumns(table, columns);
  if (mode === 'merge') {
    assertMergeKey(table, columns, key);
    return merge(taskConnection, { table, columns, key, deleteMissing, isChecked }, bring);
  }
  if (mode === 'replace') {
    assertReplaceable(table);
    await emptyTable(taskConnection, table);
  }
  const rows = await bring(table.sql, columns.map(quoteIdentifier).join(', '));
  return { rows, inserted: rows, updated: 0, deleted: 0 };
}

/**
 * TRUNCATE gives the space back and takes no time for any size, but locks readers out until the COMMIT, and needs a
 * privilege of its own. A table that foreign keys refer to can't be truncated, so that one is emptied by DELETE, which
 * checks them.
 */
async function emptyTable(taskConnection: TaskConnection, table: Table): Promise<void> {
  const canTruncate = table.mayTruncate && !table.isReferenced && table.kind !== 'foreign table';
  const before = taskConnection.rows.written;
  await send(taskConnection, canTruncate ? `truncate ${table.sql}` : `delete from ${table.sql}`);
  // The rows of a task are those that it brought, however the table was emptied.
  taskConnection.rows.written = before;
}
