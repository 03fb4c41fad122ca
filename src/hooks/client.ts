import { EventEmitter } from 'node:events';
import { Socket, connect } from 'node:net';
import type { Client, ClientConfig } from 'pg';
import type { Knex } from 'knex';
import { createAuthenticationError, createServerTooOldError, describeConnectError } from './connect-error.js';
import type { Connection } from './connection.js';
import type { OpenSettings } from './hook.js';
import { Authentication, type AuthenticationRules } from './postgres/authentication.js';
import { isSocket } from './postgres/hosts.js';
import type { SessionAttributes } from './postgres/libpq.js';
import { assertAttributes, type ReportedState } from './postgres/session-attributes.js';
import { getSocketPath } from './socket.js';
import type { Trace, TracedClient } from './statement-trace.js';

/** The state that all clients of one database share. */
export interface Clients {
  /** The number of sessions that a run needs, in words. Undefined if the database is not opened for a run. */
  readonly need?: string | undefined;
  /** Takes each statement. Undefined without `--debug`. */
  readonly trace?: Trace | undefined;
  /** The clients with a socket that is open or connecting. */
  readonly open: Set<Client>;
  /** Aborted when the database closes. No client can connect after that. */
  readonly closing: AbortSignal;
}

/** The settings of a client. pg ignores `rules`. */
export interface SessionConfig extends ClientConfig {
  readonly rules: SessionRules;
}

/** The demands of a client on its server, beyond pg's own settings. */
export interface SessionRules {
  /** The connection for error messages, with the host, port, login and database that are used. */
  readonly connection: Connection;
  readonly attributes: SessionAttributes;
  readonly authentication: AuthenticationRules;
  /** Settings of the session, by name. */
  readonly settings: Readonly<Record<string, string>>;
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
): new (config: SessionConfig) => Client {
  return class extends Base {
    declare readonly connectionParameters: object;
    declare getStartupConf: () => Readonly<Record<string, string>>;
    readonly #timeout: number;
    readonly #rules: SessionRules;
    /** The values that the server reports when it accepts the client, such as `server_version`. */
    readonly #reported = new Map<string, string>();
    /** The version as `server_version_num` has it: 170004 is 17.4. Undefined until the client is connected. */
    serverVersion: number | undefined;

    constructor(config: SessionConfig) {
      super(config);
      this.#timeout = config.connectionTimeoutMillis ?? Infinity;
      this.#rules = config.rules;
      // If these two are empty, the driver has read them from the environment (PGOPTIONS, PGREPLICATION).
      Object.assign(this.connectionParameters, { options: config.options, replication: undefined });
      const { getStartupConf } = Base.prototype as unknown as typeof this;
      this.getStartupConf = () => ({ ...getStartupConf.call(this), ...config.rules.settings });
      this.connection.on('parameterStatus', ({ parameterName, parameterValue }: ParameterStatus) => {
        if (REPORTED.has(parameterName)) this.#reported.set(parameterName, parameterValue);
        if (parameterName === 'server_version') this.serverVersion = parseServerVersion(parameterValue);
      });
      watchAuthentication(this, config.rules, Boolean(config.ssl));
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
        await assertServer(this, this.#reported, this.#rules);
        if (clients.trace !== undefined) (await loadTrace(clients.trace))(this, performance.now() - start);
        return this;
      } catch (error) {
        // The driver leaves the socket open if it found the error itself. A session that was open emits an error when its
        // socket is destroyed, which would end the process without a listener.
        this.on('error', () => {});
        this.connection.stream.destroy();
        clients.open.delete(this);
        // The driver's error for its time limit has no code. So every error that comes at the time limit is reported as
        // ETIMEDOUT, and has the driver's error as its cause.
        const inTime = performance.now() - start < this.#timeout - TIMER_PRECISION;
        const late = Object.assign(new Error('no answer in time', { cause: error }), { code: 'ETIMEDOUT' });
        const sessions = { need: clients.need, open: clients.open.size };
        throw describeConnectError(inTime ? error : late, this.#rules.connection, sessions);
      }
    }
  };
}

/** Rejects if the server of a new session is too old, or is not of the kind that the connection asks for. */
async function assertServer(
  client: Client,
  reported: ReadonlyMap<string, string>,
  { connection, attributes }: SessionRules,
): Promise<void> {
  const version = reported.get('server_version') ?? '';
  if ((parseServerVersion(version) ?? Infinity) < OLDEST_VERSION)
    throw createServerTooOldError(connection, version);
  if (attributes === 'any') return;
  const state: ReportedState = {
    isStandby: reported.get('in_hot_standby'),
    isReadOnly: reported.get('default_transaction_read_only'),
    query: async (text) => {
      const query = { text, query_timeout: ATTRIBUTES_MS };
      return (await client.query<{ value: string }>(query)).rows[0]?.value;
    },
  };
  await assertAttributes(connection, attributes, state);
}

/** The longest time that a server may take to say whether it is a standby, if it does not report it by itself. */
const ATTRIBUTES_MS = 10_000;

/**
 * Ends the session before it sends a password if the server authenticates the client in a way that the connection forbids.
 * pg handles each message after this function has seen the message.
 */
function watchAuthentication({ connection }: Client, rules: SessionRules, isEncrypted: boolean): void {
  const authentication = new Authentication(rules.authentication, isEncrypted);
  const check = (why: string | undefined): void => {
    if (why === undefined) return;
    connection.emit('error', createAuthenticationError(rules.connection, why));
    // Nothing can be sent on a destroyed socket. pg asks for the password later, in a microtask.
    connection.stream.destroy();
  };
  connection.on('authenticationCleartextPassword', () => check(authentication.requestPassword('password')));
  connection.on('authenticationMD5Password', () => check(authentication.requestPassword('md5')));
  connection.on('authenticationSASL', ({ mechanisms }: { mechanisms: readonly string[] }) =>
    check(authentication.offerMechanisms(mechanisms)),
  );
  connection.on('authenticationSASLFinal', () => authentication.finish());
  connection.on('authenticationOk', () => check(authentication.accept()));
}

/** The values that a client remembers of those that the server reports. */
const REPORTED: ReadonlySet<string> = new Set([
  'server_version',
  'in_hot_standby',
  'default_transaction_read_only',
]);

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
  const address = isSocket(host) ? { path: getSocketPath(host, port) } : { host, port };
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
