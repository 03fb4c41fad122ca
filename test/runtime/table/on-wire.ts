import { copyInto } from '../../../src/runtime/copy/copy-in.js';
import type { TaskConnection } from '../../../src/runtime/postgres/task-connection.js';
import type { TestDatabase } from '../../support/database.js';
import { openWire, unstopped } from '../copy/on-wire.js';
import type { BringRows } from '../../../src/runtime/table/write-target.js';

/** Runs `work` in a transaction of its own, which is committed after it, or rolled back when it throws. */
export async function onWire<T>(
  db: TestDatabase,
  work: (taskConnection: TaskConnection) => Promise<T>,
): Promise<T> {
  await using open = await openWire(db.url, 'begin isolation level repeatable read');
  const result = await work(open.taskConnection);
  open.taskConnection.endByRunner();
  await open.taskConnection.query({ text: 'commit' });
  return result;
}

/** Sends COPY text. */
export function sendText(taskConnection: TaskConnection, text: string): BringRows {
  return (table, columns) =>
    copyInto(taskConnection, `copy ${table} (${columns}) from stdin`, [Buffer.from(text)], {
      signal: unstopped,
    });
}
