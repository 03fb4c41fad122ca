import type { Database } from '../../hooks/hook.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { type Session, openSession } from './session.js';
import { WATCH_CLIENT } from '../postgres/transaction.js';
import { CLEAN_UP_MS, within } from '../waiting.js';
import { TaskConnection } from '../postgres/task-connection.js';
import { WRITES_NOTHING_LOCK } from '../postgres/advisory-lock.js';

/** After its first query nobody can make it a transaction that writes. */
const BEGIN = [
  'begin isolation level repeatable read read only',
  `select pg_advisory_xact_lock_shared(${WRITES_NOTHING_LOCK})`,
];

/** A database that a task reads from, besides the one that it writes to: one snapshot, and nothing can be written. */
export interface ReadSession {
  readonly session: Session;
  /** Its connection: for COPY. */
  readonly taskConnection: TaskConnection;
  /** Never throws. */
  close(): Promise<void>;
}

/** What a task asks on the idle connection of a source, before its snapshot is taken. */
export type BeforeSnapshot = (client: ProtocolClient) => Promise<void>;

/** Opens the source with this ID. */
export type OpenReadSession = (connectionId: string, first?: BeforeSnapshot) => Promise<ReadSession>;

/** The sources of one attempt: each connection is opened once, whoever asks for it first. */
export class ReadSessions {
  readonly #open: OpenReadSession;
  readonly #byId = new Map<string, Promise<ReadSession>>();

  constructor(open: OpenReadSession) {
    this.#open = open;
  }

  /** `first` runs where the connection is not open yet. */
  readonly open: OpenReadSession = (id, first) => {
    const source = this.#byId.get(id) ?? this.#open(id, first);
    this.#byId.set(id, source);
    return source;
  };

  /** Never throws. One that could not be opened has nothing to close. */
  async close(): Promise<void> {
    if (this.#byId.size === 0) return;
    const opened = [...this.#byId.values()];
    this.#byId.clear();
    await Promise.allSettled(opened.map(async (source) => (await source).close()));
  }
}

/**
 * Opens a read-only transaction on a connection of its own. A task commits in one database only: what it wrote to a
 * second one could be there, or not, when it is repeated. `first` runs before the transaction begins.
 */
export async function openReadSession(
  database: Database,
  signal: AbortSignal,
  first?: BeforeSnapshot,
): Promise<ReadSession> {
  const { client, end } = await connect(database);
  const cut = (): void => client.connection.stream.destroy();
  signal.addEventListener('abort', cut, { once: true });
  const taskConnection = new TaskConnection(client);
  const close = async (): Promise<void> => {
    signal.removeEventListener('abort', cut);
    taskConnection.close();
    taskConnection.detach();
    await within(end(), CLEAN_UP_MS);
  };
  try {
    signal.throwIfAborted();
    await first?.(client);
    const watch = database.openControl === undefined ? [] : WATCH_CLIENT;
    await send(client, [...BEGIN, ...watch].join('; '));
    taskConnection.open();
    return { session: await openSession(database.knex, taskConnection, client), taskConnection, close };
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
