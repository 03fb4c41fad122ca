import { Client } from 'pg';
import type { ProtocolClient } from '../../../src/runtime/postgres/protocol.js';
import { TaskConnection } from '../../../src/runtime/postgres/task-connection.js';

/** A connection in a transaction, as a task has it. */
export interface OpenWire extends AsyncDisposable {
  readonly taskConnection: TaskConnection;
  readonly client: Client;
  /** The first column of the first row. */
  ask(sql: string): Promise<unknown>;
}

/** Begins a transaction on a connection of its own, which ends without a COMMIT. */
export async function openWire(url: string, begin = 'begin'): Promise<OpenWire> {
  const client = new Client({ connectionString: url });
  client.on('error', () => {}); // Tests end it on purpose.
  await client.connect();
  await client.query(begin);
  const taskConnection = new TaskConnection(client as unknown as ProtocolClient);
  taskConnection.open();
  return {
    taskConnection,
    client,
    ask: async (sql) => {
      const { rows } = (await taskConnection.query({ text: sql, rowMode: 'array' })) as { rows: unknown[][] };
      return rows[0]?.[0];
    },
    [Symbol.asyncDispose]: async () => {
      if (taskConnection.lost === undefined) await client.end();
    },
  };
}

/** For tests that nobody stops. */
export const unstopped: AbortSignal = new AbortController().signal;

/** The error that the work must end with. */
export async function failureOf(work: Promise<unknown>): Promise<Error & { readonly code?: string }> {
  try {
    await work;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it did not fail');
}
