import type { Database } from '../hooks/hook.js';
import { send, type ProtocolClient } from './protocol.js';
import { openSession, type Session } from './session.js';
import { WATCH_CLIENT } from './transaction.js';
import { within } from './waiting.js';
import { WRITES_NOTHING_LOCK } from './watermark/others.js';
import { Wire } from './wire.js';

/** For the end of a connection that only reads. */
const CLOSE_MS = 2000;

/** After its first query nobody can make it a transaction that writes. */
const BEGIN = [
  'begin isolation level repeatable read read only',
  `select pg_advisory_xact_lock_shared(${WRITES_NOTHING_LOCK})`,
];

/** A database that a task reads from, besides the one that it writes to: one snapshot, and nothing can be written. */
export interface Source {
  readonly session: Session;
  /** Its connection: for COPY. */
  readonly wire: Wire;
  /** Never throws. */
  close(): Promise<void>;
}

/**
 * Opens a read-only transaction on a connection of its own. A task commits in one database only: what it wrote to a
 * second one could be there, or not, when it is repeated.
 */
export async function openSource(database: Database, signal: AbortSignal): Promise<Source> {
  const { client, end } = await connect(database);
  const cut = (): void => client.connection.stream.destroy();
  signal.addEventListener('abort', cut, { once: true });
  const wire = new Wire(client);
  const close = async (): Promise<void> => {
    signal.removeEventListener('abort', cut);
    wire.shut();
    wire.detach();
    await within(end(), CLOSE_MS);
  };
  try {
    signal.throwIfAborted();
    const watch = database.openControl === undefined ? [] : WATCH_CLIENT;
    await send(client, [...BEGIN, ...watch].join('; '));
    wire.open();
    return { session: await openSession(database.knex, wire, client), wire, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Outside of the pool where that is possible: tasks that read each other's databases must not wait for each other. */
async function connect(database: Database): Promise<{ client: ProtocolClient; end: () => Promise<unknown> }> {
  if (database.openControl !== undefined) {
    const client = (await database.openControl()) as unknown as ProtocolClient;
    return { client, end: () => client.end() };
  }
  const { client: pool } = database.knex;
  const client = (await pool.acquireConnection()) as ProtocolClient;
  const end = async (): Promise<void> => {
    await send(client, 'rollback');
    await pool.releaseConnection(client);
  };
  return { client, end };
}
