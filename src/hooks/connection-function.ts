import { describeThrown, EtlError } from '../errors.js';
import { isRecord } from '../runtime/json.js';
import { CONNECTION_FUNCTION_MS, untilAnswered } from '../runtime/waiting.js';
import { createConnection, type Connection } from './connection.js';
import { createMalformedError } from './definition.js';
import { parseConnection } from './parse-connection.js';
import { buildFields } from './postgres/conninfo.js';

/** The argument of a function that returns a connection. */
export interface ConnectionRequest {
  /** The ID of the connection. */
  readonly id: string;
  /** Aborted after 30 seconds, when the result is not waited for any more. */
  readonly signal: AbortSignal;
}

/**
 * Parameters of a connection by libpq's key words, such as `host`, `port`, `dbname`, `user`, `password` and `sslmode`. The
 * names `database` and `username`, and the field `engine` and the identifiers of a secret of RDS, are understood, too. A
 * parameter that is undefined or null is not set.
 */
export type ConnectionParts = Readonly<Record<string, string | number | boolean | null | undefined>>;

/**
 * Returns a connection string, or its parameters, for example from a secret manager. Called at most once in a process,
 * and only if a command uses the connection and neither a flag nor a variable defines it.
 */
export type ConnectionFunction = (
  request: ConnectionRequest,
) => string | ConnectionParts | Promise<string | ConnectionParts>;

/**
 * Calls the function of a connection, and parses its result. Rejects with ETL-2216 if the function throws or rejects, with
 * ETL-2217 if it gives no result in 30 seconds, and with ETL-2201 if the result is no connection. No error quotes the
 * result.
 */
export async function callConnectionFunction(
  call: ConnectionFunction,
  { id, definedBy }: Pick<Connection, 'id' | 'definedBy'>,
): Promise<Connection> {
  const stop = new AbortController();
  const request = { id, signal: stop.signal };
  // A function without `async` can throw at once.
  const answered = Promise.resolve()
    .then(() => call(request))
    .catch((cause: unknown) => {
      throw new EtlError('ETL-2216', {
        what: `the function of connection "${id}" failed`,
        where: definedBy,
        why: describeThrown(cause),
        fix: `correct the function, or set another definition, such as the variable ETL_CONN_… or --conn`,
        cause,
      });
    });
  const value: unknown = await untilAnswered(answered, CONNECTION_FUNCTION_MS, () => {
    const late = new EtlError('ETL-2217', {
      what: `the function of connection "${id}" gave no result in ${CONNECTION_FUNCTION_MS / 1000} seconds`,
      where: definedBy,
      fix: 'give the requests of the function a time limit, for example with its `signal`',
    });
    stop.abort(late);
    return late;
  });
  return toConnection(value, { id, definedBy });
}

/** Returns the connection that the result of a function describes. Throws ETL-2201 if it describes none. */
function toConnection(value: unknown, { id, definedBy }: Pick<Connection, 'id' | 'definedBy'>): Connection {
  if (typeof value === 'string') return parseConnection(id, value, definedBy);
  const refuse = (why: string, fix: string): Error =>
    createMalformedError({ id, definedBy, text: '' }, { why: `the result of the function ${why}`, fix });
  if (!isRecord(value) || Array.isArray(value))
    throw refuse(
      `is ${describeKind(value)}`,
      'return a connection string, or an object such as { host, dbname, user, password }',
    );
  const { url } = value;
  if (typeof url === 'string') return parseConnection(id, url, definedBy);
  const parameters = Object.entries(value).flatMap(([name, part]) => {
    if (part === undefined || part === null || RDS_FIELDS.has(name)) return [];
    const text = toText(part);
    if (text !== undefined) return [[ALIASES[name] ?? name, text] as const];
    throw refuse(
      `has a parameter that is ${typeof part === 'string' ? 'a text with a NUL or half a character' : describeKind(part)}`,
      'return text, a number, true or false for each parameter',
    );
  });
  if (parameters.length === 0)
    throw refuse('has no parameter', 'return for example { host, dbname, user, password }');
  return createConnection({ id, definedBy, ...buildFields(new Map(parameters)) });
}

/** Returns the text of a parameter. Undefined if the value has none that a server can read. */
function toText(part: unknown): string | undefined {
  if (typeof part === 'boolean') return part ? '1' : '0';
  if (typeof part === 'number') return String(part);
  return typeof part === 'string' && !/[\0\p{Cs}]/u.test(part) ? part : undefined;
}

/** Other names of libpq's parameters, as the drivers of Node and the secrets of RDS have them. */
const ALIASES: Readonly<Record<string, string>> = { username: 'user', database: 'dbname' };
/** The fields of a secret of RDS that say nothing about how to connect. */
const RDS_FIELDS: ReadonlySet<string> = new Set([
  'engine',
  'dbInstanceIdentifier',
  'dbClusterIdentifier',
  'masterarn',
]);

/** Describes the kind of a value, and never the value itself. */
function describeKind(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
