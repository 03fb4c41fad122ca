import { Client } from 'pg';
import { from } from 'pg-copy-streams';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import type { ProtocolClient } from '../../../src/runtime/protocol.js';
import { Wire } from '../../../src/runtime/wire.js';
import type { TestDatabase } from '../../support/database.js';

/** Runs `work` in a transaction of its own, which is committed after it, or rolled back when it throws. */
export async function onWire<T>(db: TestDatabase, work: (wire: Wire) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: db.url });
  await client.connect();
  try {
    await client.query('begin isolation level repeatable read');
    const wire = new Wire(client as unknown as ProtocolClient);
    wire.open();
    const result = await work(wire);
    wire.shut();
    wire.handOver();
    await client.query('commit');
    return result;
  } finally {
    await client.end();
  }
}

/** Sends COPY text. */
export function sendText(wire: Wire, text: string) {
  return async (table: string, columns: string): Promise<number> => {
    const stream = from(`copy ${table} (${columns}) from stdin`);
    wire.query(stream);
    await pipeline(Readable.from([text]), stream);
    return stream.rowCount;
  };
}
