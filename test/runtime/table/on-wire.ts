import { copyInto } from '../../../src/runtime/copy/copy-in.js';
import type { Wire } from '../../../src/runtime/postgres/task-connection.js';
import type { TestDatabase } from '../../support/database.js';
import { openWire, unstopped } from '../copy/on-wire.js';
import type { BringRows } from '../../../src/runtime/table/write-target.js';

/** Runs `work` in a transaction of its own, which is committed after it, or rolled back when it throws. */
export async function onWire<T>(db: TestDatabase, work: (wire: Wire) => Promise<T>): Promise<T> {
  await using open = await openWire(db.url, 'begin isolation level repeatable read');
  const result = await work(open.wire);
  open.wire.handOver();
  await open.wire.query({ text: 'commit' });
  return result;
}

/** Sends COPY text. */
export function sendText(wire: Wire, text: string): BringRows {
  return (table, columns) =>
    copyInto(wire, `copy ${table} (${columns}) from stdin`, [Buffer.from(text)], { signal: unstopped });
}
