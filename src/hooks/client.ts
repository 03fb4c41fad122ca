import { EventEmitter } from 'node:events';
import { Socket, connect } from 'node:net';
import type { Client, ClientConfig } from 'pg';
import type { Connection } from './connection.js';
import { createServerTooOldError, describeConnectError } from './connect-error.js';
import type { Knex } from 'knex';
import type { OpenSettings } from './hook.js';
import type { Trace, TracedClient } from './statement-trace.js';

/** The state that all clients of one database share. */
export interface Clients {
  /** The connection for error messages, with the host, port, login and database that are used. */
  readonly connection: Connection;
  /** How many sessions a run needs. Undefined if the database is not opened for a run. */
  readonly need?: string | undefined;
  /** Takes each statement. Undefined without `--debug`. */
  readonly trace?: Trace | undefined;
  /** The clients with a socket that is open or connecting. */
  readonly open: Set<Client>;
  /** Aborted when the database closes. No client can connect after that. */
  readonly closing: AbortSignal;
}

/** The members of pg that a client class needs. They are an argument because pg is imported on first use. */
export interface Driver {
  readonly Client: typeof Client;
  readonly defaults: { readonly parseInputDatesAsUTC?: boolean | undefined };
}

/**
 * Creates a subclass of pg's `Client` for one database. The class reads nothing from the environment and adds each
 * client to `clients.open`. Its `connect` rejects with an ETL-1001 whose cause is the driver's error.
 */
export function createClientClass(
  { Client: Base, defaults }: Driver,
  clients: Clients,
): new (config: ClientConfig) => Client {
  return class extends Base {
    declare readonly connectionParameters: object;
    readonly #timeout: number;
    /** The version that the server reports when it accepts the client, such as `17.4 (Debian 17.4-1)`. */
    #versionText = '';
    /** The version as `server_version_num` has it: 170004 is 17.4. Undefined until the client is connected. */
    serverVersion: number | undefined;

    constructor(config: ClientConfig) {
      super(config);
      this.#timeout = config.connectionTimeoutMillis ?? Infinity;
      // If these two are empty, the driver has read them from the environment (PGOPTIONS, PGREPLICATION).
      Object.assign(this.connectionParameters, { options: config.options, replication: undefined });
      this.connection.on('parameterStatus', ({ parameterName, parameterValue }: ParameterStatus) => {
        if (parameterName !== 'server_version') return;
        this.#versionText = parameterValue;
        this.serverVersion = parseServerVersion(parameterValue);
      });
    }

    /** True if pg writes dates in UTC. */
    get usesUtcDates(): boolean {
      return defaults.parseInputDatesAsUTC === true;
    }

    override async connect(): Promise<this> {
      clients.closing.throwIfAborted();
      clients.open.add(this);
      this.once('end', () => clients.open.delete(this));
      const start = performance.now();
      try {
        await super.connect();
        if ((this.serverVersion ?? Infinity) < OLDEST_VERSION)
          throw createServerTooOldError(clients.connection, this.#versionText);
        if (clients.trace !== undefined) (await loadTrace(clients.trace))(this, performance.now() - start);
        return this;
      } catch (error) {
        // The driver leaves the socket open if it found the error itself.
        this.connection.stream.destroy();
        clients.open.delete(this);
        // The driver's error for its time limit has no code. So every error that comes at the time limit is reported as
        // ETIMEDOUT, and has the driver's error as its cause.
        const inTime = performance.now() - start < this.#timeout - TIMER_PRECISION;
        const late = Object.assign(new Error('no answer in time', { cause: error }), { code: 'ETIMEDOUT' });
        const sessions = { need: clients.need, open: clients.open.size };
        throw describeConnectError(inTime ? error : late, clients.connection, sessions);
      }
    }
  };
}

/** Loads the code of the trace. Returns a function that reports a new session, and from then on all of its statements. */
export async function loadTrace(trace: Trace): Promise<(client: Client, millis?: number) => void> {
  const { traceClient } = await import('./statement-trace.js');
  return (client, millis) => {
    const traced = client as unknown as TracedClient;
    trace.opened({ pid: traced.processID ?? undefined, millis });
    traceClient(traced, trace);
  };
}

/** The oldest supported version: PostgreSQL 14. */
const OLDEST_VERSION = 140_000;

/** The message of the server that reports the value of a setting. */
interface ParameterStatus {
  readonly parameterName: string;
  readonly parameterValue: string;
}

/**
 * Parses the text of `server_version`: `17.4 (Debian 17.4-1)` -> 170004, `14beta2` -> 140000, `9.6.24` -> 90624. Returns
 * undefined if the text does not begin with a number.
 */
export function parseServerVersion(text: string): number | undefined {
  const [, major, minor = '0', patch = '0'] = /^(\d+)(?:\.(\d+))?(?:\.(\d+))?/.exec(text) ?? [];
  if (major === undefined) return undefined;
  // Before version 10, a major version had two numbers.
  return Number(major) < 10
    ? Number(major) * 10_000 + Number(minor) * 100 + Number(patch)
    : Number(major) * 10_000 + Number(minor);
}

/**
 * Ends a session now: cancels its statement and closes its socket, so the server rolls back the transaction. Takes at
 * most `millis` milliseconds. Never rejects.
 */
export async function terminate(client: Client & DriverState, millis: number): Promise<void> {
  // The public getter `activeQuery` prints a deprecation warning.
  const active = client._getActiveQuery?.();
  // A COPY stream emits an error when its socket is lost. Without a listener, that error would end the process.
  if (active instanceof EventEmitter) active.on('error', () => {});
  // Otherwise the client would send its next queued statement after the cancelled one.
  client.connection.stream.pause();
  // Without client_connection_check_interval, the server notices a lost socket only between statements.
  if (active) await cancelStatement(client, millis);
  client.connection.stream.destroy();
}

/** Members of pg's client that its types do not declare. */
interface DriverState extends CancelTarget {
  readonly connection: Client['connection'];
  _getActiveQuery?(): unknown;
}

/** The number of milliseconds by which a timer can fire before its delay is over. */
const TIMER_PRECISION = 10;

/** The members of pg's client that a cancel request needs. */
export interface CancelTarget {
  readonly host: string;
  readonly port: number;
  readonly processID?: number | null;
  readonly secretKey?: number | null;
  readonly connection: { readonly stream: object };
}

/** A cancel request is four 32-bit integers: its length in bytes, this code, the process ID and the secret key. */
const CANCEL_REQUEST_CODE = 80_877_102;

/**
 * Asks the server to cancel the running statement. Takes at most `millis` milliseconds. Never rejects, and does not
 * tell whether the server cancelled the statement. Does nothing for the embedded database, whose statements block the
 * event loop: no statement can be running when this function is called.
 *
 * The request is not encrypted. A person who reads the key of the request can only cancel statements of a session whose
 * statement ends anyway.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
 */
export function cancelStatement(client: CancelTarget, millis: number): Promise<void> {
  const { host, port, processID, secretKey, connection } = client;
  if (!processID || typeof secretKey !== 'number' || !(connection.stream instanceof Socket))
    return Promise.resolve();
  const request = Buffer.alloc(16);
  const words = [request.length, CANCEL_REQUEST_CODE, processID, secretKey];
  words.forEach((word, index) => request.writeInt32BE(word, index * 4));
  const address = host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port };
  return new Promise((resolve) => {
    const socket = connect(address, () => socket.end(request));
    const timer = setTimeout(() => socket.destroy(), millis);
    socket.on('error', () => {}); // A server that can't be reached has lost the session, too. `close` is emitted next.
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    // The server closes the socket without an answer. A socket that is not read would never emit `close`.
    socket.resume();
  });
}

/**
 * Creates a logger for knex that calls `notice` with the first line of each message. By default knex prints to stdout,
 * which is for data only.
 */
export function createKnexLog(notice: OpenSettings['notice']): Knex.Logger {
  const log = (message: unknown): void => {
    const line = String(message).split('\n')[0] ?? '';
    // Knex also throws an error of connecting. With this line the user would see the error twice.
    if (!/^(Acquire connection|Connection) error:/i.test(line)) notice(`knex: ${line}`);
  };
  return { debug: log, deprecate: log, error: log, warn: log };
}
