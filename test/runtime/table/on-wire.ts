import { copyInto } from '../../../src/runtime/copy/copy-in.js';
import type { TaskConnection } from '../../../src/runtime/postgres/task-connection.js';
import type { TestDatabase } from '../../support/database.js';
import { openTransaction, unstopped } from '../copy/on-wire.js';
import { describeTable } from '../../../src/runtime/table/describe.js';
import { assertTable } from '../../../src/runtime/table/refuse.js';
import { writeDescribed } from '../../../src/runtime/table/write.js';
import type { BringRows, WriteTarget, Written } from '../../../src/runtime/table/write-target.js';

/** Runs `work` in a new transaction. Commits after `work`, and rolls back if `work` throws. */
export async function inTransaction<T>(
  db: TestDatabase,
  work: (taskConnection: TaskConnection) => Promise<T>,
): Promise<T> {
  await using open = await openTransaction(db.url, 'begin isolation level repeatable read');
  const result = await work(open.taskConnection);
  open.taskConnection.endByRunner();
  // The task connection refuses a COMMIT.
  await open.client.query('commit');
  return result;
}

/** Returns a function that sends COPY text. */
export function sendText(taskConnection: TaskConnection, text: string): BringRows {
  return (table, columns) =>
    copyInto(taskConnection, `copy ${table} (${columns}) from stdin`, [Buffer.from(text)], {
      signal: unstopped,
    });
}

/** Describes the table, as the tasks do, and writes to it. */
export async function writeTable(
  taskConnection: TaskConnection,
  target: WriteTarget,
  columns: readonly string[],
  bringRows: BringRows,
): Promise<Written> {
  const table = await describeTable(taskConnection, target.into);
  assertTable(table, target.into);
  return writeDescribed(taskConnection, { ...target, table, columns }, bringRows);
}
