import { EventEmitter } from 'node:events';
import { Socket, connect } from 'node:net';
import type { Client, ClientConfig } from 'pg';
import type { Connection } from './connection.js';
import { describeConnectError } from './connect-error.js';
import type { Knex } from 'knex';
import type { OpenSettings } from './hook.js';

/** What the clients of one database share. */
export interface Clients {
  /** As the user's errors show it: with the host, port, login and database that are used. */
  readonly connection: Connection;
  /** Those with a socket that is open or opening. */
  readonly open: Set<Client>;
  /** Aborted when the database closes: no client may connect after that. */
  readonly closing: AbortSignal;
}

/**
 * pg's `Client` for one database: it reads nothing from the environment, `connect` rejects with an `EtlError` whose
 * cause is the driver's error, and `clients.open` knows it. It comes in as an argument because pg is loaded on first use.
 */
export function createClientClass(
  Base: typeof Client,
  clients: Clients,
): new (config: ClientConfig) => Client {
  return class extends Base {
    declare readonly connectionParameters: object;
    readonly #timeout: number;

    constructor(config: ClientConfig) {
      super(config);
      this.#timeout = config.connectionTimeoutMillis ?? Infinity;
      // The driver fills these two from the environment when they are empty.
      Object.assign(this.connectionParameters, { options: config.options, replication: undefined });
    }

    override async connect(): Promise<this> {
      clients.closing.throwIfAborted();
      clients.open.add(this);
      this.once('end', () => clients.open.delete(this));
      const start = performance.now();
      try {
        await super.connect();
        return this;
      } catch (error) {
        // After an error of its own the driver leaves the socket open.
        this.connection.stream.destroy();
        clients.open.delete(this);
        const inTime = performance.now() - start < this.#timeout - TIMER_PRECISION;
        throw describeConnectError(inTime ? error : createLateConnectionError(error), clients.connection);
      }
    }
  };
}

/** Ends a session now: its statement is cancelled, its transaction rolled back. Bounded by `millis`; never rejects. */
export async function terminate(client: Client & DriverState, millis: number): Promise<void> {
  // The public getter prints that it is deprecated.
  const active = client._getActiveQuery?.();
  // A COPY stream without a listener would end the process with the error of its lost socket.
  if (active instanceof EventEmitter) active.on('error', () => {});
  client.connection.stream.pause(); // Else the next statement of the queue would go out after the cancelled one.
  // The server notices a lost socket only between statements, unless client_connection_check_interval is set.
  if (active) await cancelStatement(client, millis);
  client.connection.stream.destroy();
}

/** What pg has and does not declare. */
interface DriverState extends CancelTarget {
  readonly connection: Client['connection'];
  _getActiveQuery?(): unknown;
}

/** Milliseconds by which a timer may be early. */
const TIMER_PRECISION = 10;

/** What a cancel request is made of: pg's own fields. */
export interface CancelTarget {
  readonly host: string;
  readonly port: number;
  readonly processID?: number | null;
  readonly secretKey?: number | null;
  readonly connection: { readonly stream: object };
}

/**
 * Asks the server to end the statement that is under way, within `millis`; never rejects, and does not say whether it
 * did. A database in this process is not asked: its statements block whoever could.
 *
 * In plain text: the key is good for nothing but the statement that ends anyway.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
 */
export function cancelStatement(client: CancelTarget, millis: number): Promise<void> {
  const { host, port, processID, secretKey, connection } = client;
  if (!processID || typeof secretKey !== 'number' || !(connection.stream instanceof Socket))
    return Promise.resolve();
  const request = Buffer.alloc(16);
  [16, 80_877_102, processID, secretKey].forEach((word, index) => request.writeInt32BE(word, index * 4));
  const where = host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port };
  return new Promise((resolve) => {
    const socket = connect(where, () => socket.end(request));
    const timer = setTimeout(() => socket.destroy(), millis);
    socket.on('error', () => {}); // A server that can't be reached has lost the session too; `close` follows.
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.resume();
  });
}

function createLateConnectionError(cause: unknown): Error {
  return Object.assign(new Error('no answer in time', { cause }), { code: 'ETIMEDOUT' });
}

/** knex prints to stdout, which belongs to data, unless told otherwise. */
export function createKnexLog(notice: OpenSettings['notice']): Knex.Logger {
  const say = (message: unknown): void => {
    const line = String(message).split('\n')[0] ?? '';
    // Errors of connecting are thrown as well.
    if (!/^(Acquire connection|Connection) error:/i.test(line)) notice(`knex: ${line}`);
  };
  return { debug: say, deprecate: say, error: say, warn: say };
}
