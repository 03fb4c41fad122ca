import type { EventEmitter } from 'node:events';
import type { QueryResult, Submittable } from 'pg';
import type { CancelTarget } from '../../hooks/client.js';

/** Called once with the outcome of a query. */
export type Callback = (error: Error | null, result?: QueryResult) => void;

/** A message of the server: an ErrorResponse, a CommandComplete or a ReadyForQuery. */
export interface ServerMessage {
  /** SQLSTATE of an error. */
  readonly code?: string;
  readonly message?: string;
  readonly severity?: string;
  /** Of PostgreSQL's source, that raised an error. */
  readonly routine?: string;
  /** The command tag, such as `INSERT 0 5`. */
  readonly text?: string;
  /** The transaction status: `I` idle, `T` in a transaction, `E` in a failed one. */
  readonly status?: string;
  /** The values of a row, as text. */
  readonly fields?: readonly (string | null)[];
}

/** The driver's own query, as its connection drives it. */
export interface DriverQuery {
  readonly name?: unknown;
  readonly rows?: unknown;
  /** Whether it goes by the extended protocol. */
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

/** What the runner uses of a `pg.Connection`. */
export interface ProtocolConnection extends Emitter {
  /** The texts of the statements that the driver has prepared, by name. */
  parsedStatements: Record<string, string>;
  readonly stream: { destroy(): void; cork(): void; uncork(): void; write(bytes: Buffer): unknown };
}

/** What the runner uses of a `pg.Client` that Knex hands out, where the published types say less. */
export interface ProtocolClient extends Emitter, CancelTarget {
  readonly connection: ProtocolConnection;
  query(config: unknown, values?: unknown, callback?: Callback): unknown;
  getTransactionStatus(): string | null;
  /** The parser of a type by its OID: a user's program can have set its own. */
  getTypeParser(oid: number, format: 'text'): (text: string) => unknown;
  /** Set: Knex's pool throws the connection away instead of handing it out again. */
  __knex__disposed?: unknown;
  end(): Promise<void>;
  /** The class of the client has the class of its queries. */
  readonly constructor: {
    readonly Query: new (config: object, values: unknown, callback: Callback) => DriverQuery;
  };
}

/**
 * The types that the ledger's answers have, whatever parsers a user's program has set for all of pg. Other values stay
 * text.
 */
const LEDGER_TYPES = {
  getTypeParser: (oid: number) => PARSERS.get(oid) ?? String,
};

const PARSERS: ReadonlyMap<number, (text: string) => unknown> = new Map<number, (text: string) => unknown>([
  [16, (text) => text === 't'],
  [21, Number],
  [23, Number],
  [701, Number],
  [114, (text) => JSON.parse(text) as unknown],
  [3802, (text) => JSON.parse(text) as unknown],
  [1184, (text) => new Date(text)],
]);

/** Sends one statement (or several without values) and waits for its result. A `Wire` takes it in its turn. */
export function send(
  client: Pick<ProtocolClient, 'query'>,
  text: string,
  values?: readonly unknown[],
): Promise<QueryResult> {
  return new Promise((resolve, reject) => {
    client.query({ text, values, types: LEDGER_TYPES }, undefined, (error, result) => {
      if (error) reject(error);
      else resolve(result as QueryResult);
    });
  });
}

/** A query as `pg.Client.query` takes it. */
export interface QueryCall {
  readonly config: unknown;
  readonly values: unknown;
  readonly callback: Callback;
}

/**
 * A call of `query` as something that can travel in a flight; undefined for what can't: several statements in one text,
 * a COPY, and what the driver keeps state of, such as a named statement.
 */
export function toPipelinedQuery(
  client: ProtocolClient,
  { config, values, callback }: QueryCall,
): DriverQuery | undefined {
  const given = typeof config === 'string' ? { text: config } : (config as PipelinedConfig);
  const bound = values ?? given.values ?? [];
  if (typeof given.text !== 'string' || !Array.isArray(bound) || given.name || given.rows) return undefined;
  if (bound.length === 0 && !/^[^;]+$/.test(given.text)) return undefined;
  if (/\bcopy\b/i.test(given.text)) return undefined;
  const { Query } = client.constructor;
  return new Query({ types: client, ...given, queryMode: 'extended' }, bound, callback);
}

interface PipelinedConfig {
  readonly text?: unknown;
  readonly values?: unknown;
  readonly name?: unknown;
  readonly rows?: unknown;
}

/** True for a COPY stream, a cursor, and whatever else writes its messages itself. */
export function isSubmittable(config: unknown): config is Submittable & Partial<EventEmitter> & Refusable {
  return typeof config === 'object' && config !== null && 'submit' in config;
}

/** What a query that pg takes may have besides `submit`. */
export interface Refusable {
  /** It goes on only when the task has taken or brought its next part: nothing can wait for its end. */
  readonly isHeld?: boolean;
  handleError?(error: Error): void;
}

/** The callback inside a query's config. */
export function getCallback(config: unknown): Callback | undefined {
  return (config as { callback?: Callback } | null)?.callback;
}

/** The SQL of a query. */
export function getText(config: unknown): string {
  return typeof config === 'string' ? config : String((config as { text?: unknown } | null)?.text);
}

/** The transaction that does a task: exact enough to stop it and nothing else. */
export interface TransactionId {
  readonly pid: number;
  readonly xid: string;
}

/** What the server answered to one statement of a flight. Values are text. */
export interface StatementResult {
  readonly rows: readonly (readonly (string | null)[])[];
  /** The command tag, such as `INSERT 0 1`. */
  readonly tag: string;
}

/** One statement of a flight. */
export interface PipelineStatement {
  readonly text: string;
  /** For its `$1`, `$2`, …; a function is asked when it is sent. */
  readonly values?: readonly (string | null)[] | (() => readonly string[]);
  /** Parsed once by a connection that keeps statements. */
  readonly keep?: true;
  /** Its answer is wanted before the next statement has ended. */
  readonly flush?: true;
}
