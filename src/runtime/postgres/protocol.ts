import type { EventEmitter } from 'node:events';
import type { QueryResult, Submittable } from 'pg';
import type { CancelTarget } from '../../hooks/client.js';

/** Called once with the error or the result of a query. */
export type Callback = (error: Error | null, result?: QueryResult) => void;

/** A message of the server: an ErrorResponse, a CommandComplete, a ReadyForQuery or a DataRow. */
export interface ServerMessage {
  /** The SQLSTATE of an error. */
  readonly code?: string;
  readonly message?: string;
  readonly severity?: string;
  /** The function in PostgreSQL's source code that raised an error. */
  readonly routine?: string;
  /** The command tag, such as `INSERT 0 5`. */
  readonly text?: string;
  /** The transaction status: `I` idle, `T` in a transaction, `E` in a failed one. */
  readonly status?: string;
  /** The values of a row, as text. */
  readonly fields?: readonly (string | null)[];
}

/** A query of the driver, with the methods that `pg.Client` calls. */
export interface DriverQuery {
  readonly name?: unknown;
  readonly rows?: unknown;
  /** Returns true if the query uses the extended protocol. */
  requiresPreparation(): boolean;
  submit(connection: ProtocolConnection): Error | null;
  handleRowDescription(message: ServerMessage): void;
  handleDataRow(message: ServerMessage): void;
  handleCommandComplete(message: ServerMessage, connection: ProtocolConnection): void;
  handleEmptyQuery(connection: ProtocolConnection): void;
  handleError(error: Error, connection: ProtocolConnection): void;
  handleReadyForQuery(connection: ProtocolConnection): void;
}

interface Emitter {
  on(event: string, listener: (argument: never) => void): unknown;
  removeListener(event: string, listener: (argument: never) => void): unknown;
}

/** The part of `pg.Connection` that the runner uses. */
export interface ProtocolConnection extends Emitter {
  /** The SQL of the statements that the driver has prepared, by name. */
  parsedStatements: Record<string, string>;
  /** The SQL of the statements that the driver is preparing, by name. Older versions of pg do not have it. */
  submittedNamedStatements?: Record<string, string>;
  readonly stream: {
    readonly bytesRead: number;
    readonly bytesWritten: number;
    destroy(error?: Error): void;
    cork(): void;
    uncork(): void;
    write(bytes: Buffer): unknown;
    /** The stream of the embedded database lacks the members below. */
    isPaused?(): boolean;
    readonly writableLength?: number;
  };
}

/** The part of `pg.Client` that the runner uses. The published types lack some of these members. */
export interface ProtocolClient extends Emitter, CancelTarget {
  readonly connection: ProtocolConnection;
  query(config: unknown, values?: unknown, callback?: Callback): unknown;
  /**
   * Returns the transaction status of the last ReadyForQuery: `I` idle, `T` in a transaction, `E` in a failed
   * transaction.
   */
  getTransactionStatus(): string | null;
  /** Returns the parser of a type by its OID. A user's program can set its own parsers. */
  getTypeParser(oid: number, format: 'text'): (text: string) => unknown;
  /** True if pg writes dates in UTC. The driver has this setting for all clients (`pg.defaults.parseInputDatesAsUTC`). */
  readonly usesUtcDates?: boolean;
  /**
   * The version of the server as `server_version_num` has it: 170004 is 17.4. Undefined until the client is connected.
   */
  readonly serverVersion?: number | undefined;
  /** The task that uses the client, for the trace. Absent without `--debug`. */
  readonly trace?: { taskId: string | undefined };
  /** Returns the query that was sent and has no ReadyForQuery yet. The public getter prints a deprecation warning. */
  _getActiveQuery?(): unknown;
  /** If set, Knex's pool removes the connection instead of using it again. */
  __knex__disposed?: unknown;
  end(): Promise<void>;
  /** The class of the client. The class of its queries is a static member. */
  readonly constructor: {
    readonly Query: new (config: object, values: unknown, callback: Callback) => DriverQuery;
  };
}

/**
 * The parsers for the results of the runner's own queries. They do not depend on the parsers that a user's program
 * has set for all of pg. Values of other types stay text.
 */
const LEDGER_TYPES = { getTypeParser: (oid: number) => PARSERS.get(oid) ?? String };

/** The parsers by the OID of the type: bool, int8, int2, int4, float8, json, jsonb, timestamptz. */
const PARSERS: ReadonlyMap<number, (text: string) => unknown> = new Map<number, (text: string) => unknown>([
  [16, (text) => text === 't'],
  [20, Number],
  [21, Number],
  [23, Number],
  [701, Number],
  [114, (text) => JSON.parse(text) as unknown],
  [3802, (text) => JSON.parse(text) as unknown],
  [1184, (text) => new Date(text)],
]);

/**
 * Sends one statement with `values`, which can be empty, or any number of statements without `values`. Returns the
 * result. With `values`, the server refuses a text with more than one statement. `client` can be a `TaskConnection`,
 * which sends the statement after the queries before it.
 */
export function send(
  client: Pick<ProtocolClient, 'query'>,
  text: string,
  values?: readonly unknown[],
): Promise<QueryResult> {
  return new Promise((resolve, reject) => {
    const queryMode = values && 'extended';
    client.query({ text, values, types: LEDGER_TYPES, queryMode }, undefined, (error, result) => {
      if (error) reject(error);
      else resolve(result as QueryResult);
    });
  });
}

/**
 * Creates a query of the driver that can be the last query of a pipeline. `config`, `values` and `callback` are the
 * arguments of `pg.Client.query`. Returns undefined for a query that can't be in a pipeline:
 *
 * - a named statement or a limit of rows (`rows`), for which the driver keeps state
 * - a text that may have several statements, which the extended protocol refuses
 * - a COPY, whose data follow in messages of their own
 */
export function toPipelinedQuery(
  client: ProtocolClient,
  config: unknown,
  values: unknown,
  callback: Callback,
): DriverQuery | undefined {
  const given = typeof config === 'string' ? { text: config } : (config as PipelinedConfig);
  const bound = values ?? given.values ?? [];
  if (typeof given.text !== 'string' || !Array.isArray(bound) || given.name || given.rows) return undefined;
  // A text with a semicolon may have several statements. With values, the driver itself uses the extended protocol.
  if (bound.length === 0 && !/^[^;]+$/.test(given.text)) return undefined;
  if (/\bcopy\b/i.test(given.text)) return undefined;
  const { Query } = client.constructor;
  return new Query({ types: client, ...given, queryMode: 'extended' }, bound, callback);
}

/** The members of a query config that decide whether the query can be in a pipeline. */
type PipelinedConfig = Partial<Record<'text' | 'values' | 'name' | 'rows', unknown>>;

/** Returns true for a query that writes its messages itself, such as a COPY stream or a cursor. */
export function isSubmittable(config: unknown): config is Submittable & Partial<EventEmitter> & Refusable {
  return typeof config === 'object' && config !== null && 'submit' in config;
}

/** The optional members of a query that writes its messages itself. */
export interface Refusable {
  /**
   * True if the query continues only when the task reads or writes its next chunk. A later query of the task would
   * then wait forever.
   */
  readonly isHeld?: boolean;
  handleError?(error: Error): void;
}

/**
 * Returns the error of a query that pg would refuse without sending it. pg then reports the error, but no ReadyForQuery
 * follows. Returns undefined for every other query. The checks and messages are those of `Query.submit` of pg.
 */
export function findSubmitError(
  { connection }: Pick<ProtocolClient, 'connection'>,
  config: unknown,
  values: unknown,
): Error | undefined {
  if (typeof config === 'string') return undefined;
  const { text, name, values: own } = config as PipelinedConfig;
  if (typeof text !== 'string' && typeof name !== 'string')
    return isSubmittable(config)
      ? undefined
      : new Error('A query must have either text or a name. Supplying neither is unsupported.');
  const previous = typeof name === 'string' && findPrepared(connection, name);
  if (text && previous && text !== previous)
    return new Error(`Prepared statements must be unique - '${name}' was used for a different statement`);
  const bound = values ?? own;
  return bound && !Array.isArray(bound) ? new Error('Query values must be an array') : undefined;
}

/** Returns the SQL of the statement that the driver has prepared, or is preparing, with this name. */
function findPrepared(connection: ProtocolConnection, name: string): string | undefined {
  return connection.parsedStatements[name] || connection.submittedNamedStatements?.[name];
}

/** Returns the callback in a query config, if there is one. */
export function getCallback(config: unknown): Callback | undefined {
  return (config as { callback?: Callback } | null)?.callback;
}

/** Returns the values in a query config, if there are any. */
export function getValues(config: unknown): unknown {
  return (config as { values?: unknown } | null)?.values;
}

/** Returns the SQL text of a query config. */
export function getText(config: unknown): string {
  return typeof config === 'string' ? config : String((config as { text?: unknown } | null)?.text);
}

/**
 * The identity of a transaction: the process ID of its backend and its transaction ID. The two together identify
 * exactly one transaction, so a request to stop this transaction stops no other.
 */
export interface TransactionId {
  readonly pid: number;
  readonly xid: string;
  /** The time when the server was started. Two servers behind one address differ in it. */
  readonly serverStart: string;
}

/** The answer of the server to one statement of a pipeline. Values are text. */
export interface StatementResult {
  readonly rows: readonly (readonly (string | null)[])[];
  /** The command tag, such as `INSERT 0 1`. */
  readonly tag: string;
}

/** One statement of a pipeline. */
export interface PipelineStatement {
  readonly text: string;
  /** The values of the parameters `$1`, `$2`, …. A function is called when the statement is encoded. */
  readonly values?: readonly (string | null)[] | (() => readonly string[]);
  /** Set: the statement is prepared once on each connection that prepares statements. */
  readonly keep?: true;
  /** Set: the server sends the answer at once (a Flush message), before the next statement has ended. */
  readonly flush?: true;
}
