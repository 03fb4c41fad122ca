import type { QueryResult } from 'pg';
import type { Database } from '../../hooks/hook.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { type Settings, VALUE_SETTINGS, buildSetCalls } from '../postgres/value-settings.js';
import { type Session, UnboundSession } from './session.js';
import { buildLongSettings } from '../postgres/transaction.js';
import { SERVER_START, type WatchedBackend } from '../postgres/session-state.js';
import { SilenceWatch } from '../postgres/silence-watch.js';
import { CLEAN_UP_MS, within } from '../waiting.js';
import { TaskConnection } from '../postgres/task-connection.js';
import { WRITES_NOTHING_LOCK } from '../postgres/advisory-lock.js';

/**
 * The statements that begin a read session. The second statement is also the first query of the transaction: after it,
 * nobody can change the transaction to read write.
 */
const BEGIN = [
  'begin isolation level repeatable read read only',
  `select pg_catalog.pg_advisory_xact_lock_shared(${WRITES_NOTHING_LOCK}::pg_catalog.int8)`,
];

/**
 * A read-only session on a second database, next to the database that the task writes to. All queries of the session
 * see the same snapshot.
 */
export interface ReadSession {
  readonly session: Session;
  /** The connection of `session`, for COPY. */
  readonly taskConnection: TaskConnection;
  /** Ends the transaction and the connection. Never rejects. */
  close(): Promise<void>;
}

/** The options for opening a read session. */
export interface ReadSessionOptions {
  /** Runs queries on the connection before the transaction begins and takes its snapshot. */
  readonly beforeSnapshot?: (client: ProtocolClient) => Promise<void>;
  /** Settings of the transaction in addition to `VALUE_SETTINGS`. */
  readonly settings?: Settings;
}

/**
 * Opens a read session on the connection with this ID. The options have no effect if the attempt has opened the
 * connection already.
 */
export type OpenReadSession = (connectionId: string, options?: ReadSessionOptions) => Promise<ReadSession>;

/** The read sessions of one attempt. Each connection is opened once, at its first use. */
export class ReadSessions {
  readonly #open: OpenReadSession;
  readonly #byId = new Map<string, Promise<ReadSession>>();
  readonly #opened: (readonly [connectionId: string, ReadSession])[] = [];

  constructor(open: OpenReadSession) {
    this.#open = open;
  }

  /**
   * Returns the read session of a connection ID. The first call for an ID opens the session. Two calls at the same time
   * get the same session, because the map holds promises.
   */
  readonly open: OpenReadSession = (id, options) => {
    const known = this.#byId.get(id);
    if (known !== undefined) return known;
    const readSession = this.#open(id, options).then((opened) => {
      this.#opened.push([id, opened]);
      return opened;
    });
    this.#byId.set(id, readSession);
    return readSession;
  };

  /** Returns a statement that is running on one of the connections. Undefined if there is none. */
  findRunning(): { readonly sql: string; readonly connectionId: string } | undefined {
    for (const [connectionId, { taskConnection }] of this.#opened) {
      const sql = taskConnection.runningSql;
      if (sql !== undefined) return { sql, connectionId };
    }
    return undefined;
  }

  /** The last errors that clients of `session.pg` have reported on the connections. */
  get reported(): readonly Error[] {
    return this.#opened.flatMap(([, { taskConnection }]) => taskConnection.reported ?? []);
  }

  /** Closes all read sessions. Never rejects, also if a session could not be opened. */
  async close(): Promise<void> {
    if (this.#byId.size === 0) return;
    const opened = [...this.#byId.values()];
    this.#byId.clear();
    await Promise.allSettled(opened.map(async (readSession) => (await readSession).close()));
  }
}

/**
 * Opens a read-only transaction on a new connection. The transaction is read-only because a task commits in one
 * database only. If a task could also write here, a retry would write the same rows a second time.
 * An abort of `signal` destroys the connection.
 *
 * Rejects with the reason of `signal`, the error of `beforeSnapshot`, or the error of the server. Closes the connection
 * before it rejects.
 */
export async function openReadSession(
  { connectionId, database }: { readonly connectionId: string; readonly database: Database },
  signal: AbortSignal,
  { beforeSnapshot, settings = {} }: ReadSessionOptions = {},
): Promise<ReadSession> {
  const { client, end } = await connect(database);
  const destroyStream = (): void => client.connection.stream.destroy();
  signal.addEventListener('abort', destroyStream, { once: true });
  const taskConnection = new TaskConnection(client, connectionId);
  let backend: WatchedBackend | undefined;
  let isBeginSent = false;
  const watch = new SilenceWatch({
    connectionId,
    client,
    database,
    backend: () => backend,
    isBeginning: () => isBeginSent && backend === undefined,
    mayAwaitTask: () => taskConnection.mayAwaitTask,
  });
  const close = async (): Promise<void> => {
    watch.stop();
    signal.removeEventListener('abort', destroyStream);
    taskConnection.close();
    taskConnection.detach();
    await within(end(), CLEAN_UP_MS); // A server that does not answer can't hold up the end of the attempt.
  };
  try {
    signal.throwIfAborted(); // The listener misses an abort that happened while the connection was opened.
    await beforeSnapshot?.(client);
    const values = `select pg_catalog.pg_backend_pid() as pid, ${SERVER_START} as "serverStart",
      ${buildSetCalls({ ...VALUE_SETTINGS, ...settings }).join(', ')}`;
    // The server must notice a dead client. The embedded database, which has no `openControl`, runs in this process.
    const limits = buildLongSettings(client, database.openControl !== undefined);
    isBeginSent = true;
    // pg returns one result for each statement.
    const results: unknown = await send(client, [...BEGIN, values, ...limits].join('; '));
    backend = (results as readonly QueryResult<WatchedBackend>[])[BEGIN.length]?.rows[0];
    taskConnection.open();
    const isolation = 'repeatable read';
    const session = await new UnboundSession(database.knex).bind({ taskConnection, client, isolation });
    return { session, taskConnection, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Opens a connection outside of the pool if the database allows more connections, otherwise takes one from the pool. If
 * all connections came from the pools, two tasks that read each other's databases would wait for each other.
 *
 * `end` closes the connection, or rolls back and returns the connection to the pool.
 */
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
