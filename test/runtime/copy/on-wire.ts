import { Client } from 'pg';
import type { ProtocolClient } from '../../../src/runtime/postgres/protocol.js';
import { TaskConnection } from '../../../src/runtime/postgres/task-connection.js';

/** A connection with an open transaction, like the connection of a task. */
export interface OpenTransaction extends AsyncDisposable {
  readonly taskConnection: TaskConnection;
  readonly client: Client;
  /** Returns the first column of the first row. */
  ask(sql: string): Promise<unknown>;
}

/** Begins a transaction on a new connection. The end of the connection rolls the transaction back. */
export async function openTransaction(url: string, begin = 'begin'): Promise<OpenTransaction> {
  const client = new Client({ connectionString: url });
  client.on('error', () => {}); // Tests end the connection on purpose.
  await client.connect();
  await client.query(begin);
  const taskConnection = new TaskConnection(client as unknown as ProtocolClient, 'db');
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

/** A signal that never aborts. */
export const unstopped: AbortSignal = new AbortController().signal;

/** Returns the error with which the work fails. Throws if the work succeeds. */
export async function failureOf(work: Promise<unknown>): Promise<Error & { readonly code?: string }> {
  try {
    await work;
  } catch (error) {
    return error as Error;
  }
  throw new Error('the work did not fail');
}
