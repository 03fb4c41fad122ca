import { renameTable } from '../postgres/failed-statement.js';
import { send } from '../postgres/protocol.js';
import { type DatabaseError, findDatabaseError } from '../postgres/sqlstate.js';
import { quoteIdentifier, unquoteIdentifier } from '../sql/quote.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import type { Table } from './describe.js';
import { lockExclusively } from './exclusive-lock.js';
import { assertMergeKey, INCOMING_NAME, merge } from './merge.js';
import { assertColumns, assertDeletable, assertReplaceable, createRowsLeftError } from './refuse.js';
import type { BringRows, WriteTarget, Written } from './write-target.js';

/** A write to a table that is described already. */
export interface DescribedTarget extends WriteTarget {
  readonly table: Table;
  readonly columns: readonly string[];
  /**
   * Makes a merge check `not null`, check constraints and the key while the rows are copied. COPY then reports the line
   * of a bad row. Otherwise these errors occur when the rows are merged.
   */
  readonly isChecked?: boolean;
}

/**
 * Writes rows into a table in the open transaction, and does not end the transaction. `columns` are the columns that
 * `copyRows` copies, in the same order. Views, grants, foreign keys, indexes and identity sequences of the table do not
 * change.
 *
 * Throws `EtlError` ETL-3512 to ETL-3516 before a row is sent if the table, the columns or the key do not fit. Throws
 * `EtlError` ETL-3517 if the key of a merge is null or occurs twice.
 */
export async function writeDescribed(
  taskConnection: TaskConnection,
  write: DescribedTarget,
  copyRows: BringRows,
): Promise<Written> {
  const { table, columns, mode, key, deleteMissing = false, isChecked = false } = write;
  assertColumns(table, columns);
  if (mode === 'merge') {
    assertMergeKey(table, columns, key);
    if (deleteMissing) assertDeletable(table);
    try {
      return await merge(taskConnection, { table, columns, key, deleteMissing, isChecked }, copyRows);
    } catch (error) {
      nameTargetTable(findDatabaseError(error), table);
      throw error;
    }
  }
  if (mode === 'replace') {
    assertReplaceable(table);
    await emptyTable(taskConnection, table);
  }
  const rows = await copyRows(table.sql, columns.map(quoteIdentifier).join(', '));
  return { rows, inserted: rows, updated: 0, deleted: 0 };
}

/**
 * Replaces the temporary table of a merge in an error of the server by the table that the user named. `error` is undefined
 * if the server reported none.
 */
export function nameTargetTable(error: DatabaseError | undefined, table: Table): void {
  const [name = table.sql] = table.sql.match(/(?:"(?:[^"]|"")+"|[^".]+)$/) ?? [];
  if (error !== undefined) renameTable(error, INCOMING_NAME, unquoteIdentifier(name));
}

/**
 * Deletes all rows of the table, and none of the tables that inherit from it. Uses TRUNCATE if possible. TRUNCATE frees the
 * disk space and is fast for a table of any size. It also locks out readers until the COMMIT.
 *
 * Uses DELETE in three cases: the role does not have the TRUNCATE privilege; a foreign key of another table refers to the
 * table, so PostgreSQL refuses TRUNCATE (DELETE checks the foreign keys); or the table is a foreign table. Throws
 * `EtlError` ETL-3512 if a rule or a trigger of the table can keep the DELETE from deleting rows.
 */
async function emptyTable(taskConnection: TaskConnection, table: Table): Promise<void> {
  const canTruncate = table.mayTruncate && !table.isReferenced && table.kind !== 'foreign table';
  const before = taskConnection.rows.written;
  if (canTruncate) await lockExclusively(taskConnection, { target: table.own, sql: `truncate ${table.own}` });
  else {
    assertDeletable(table);
    await send(taskConnection, `delete from ${table.own}`);
    const { rows } = await send(taskConnection, `select exists (select from ${table.own}) as "isLeft"`);
    if ((rows[0] as { isLeft: boolean }).isLeft) throw createRowsLeftError(table);
  }
  // Deleted rows do not count as rows of the task, so that the count does not depend on how the table was emptied.
  taskConnection.rows.written = before;
}
