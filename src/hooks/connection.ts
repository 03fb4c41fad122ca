import { quote, quotePlus } from './percent.js';

/** An ID and where it points: data only. Nothing is opened, and nothing here has been tried. */
export interface Connection {
  readonly id: string;
  /** The Airflow `conn_type`, normalised: `postgres`, `pglite`, or any other type that no hook here opens. */
  readonly scheme: string;
  /** Where the definition was found, for people: `ETL_CONN_MY_DB`, `--conn`, `connections.my_db in etl.config.ts`. */
  readonly definedBy: string;
  /** A host name, an address, or the directory of a Unix socket (then it starts with `/`). */
  readonly host?: string;
  readonly port?: number;
  readonly login?: string;
  /** Not enumerable, so that no log, `inspect` or `JSON.stringify` shows it. */
  readonly password?: string;
  /** Airflow's `schema`: the name of the database. For `pglite` the data directory, or `:memory:`. */
  readonly database?: string;
  /** Airflow's `extra`: driver options such as `sslmode`. Values may be secret: never print them. */
  readonly extra: Readonly<Record<string, unknown>>;
}

/** The parts that a connection is made of; an undefined one is absent. */
export interface ConnectionFields {
  readonly scheme: string;
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly login?: string | undefined;
  readonly password?: string | undefined;
  readonly database?: string | undefined;
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
}

/** What a connection is called, and where it was found. */
export interface ConnectionName {
  readonly id: string;
  readonly definedBy: string;
}

/**
 * A frozen connection. A copy made by spreading has no password, because the password is not enumerable:
 * name it when you copy.
 */
export function createConnection(fields: ConnectionFields & ConnectionName): Connection {
  const { id, scheme, definedBy, host, port, login, password, database, extra } = fields;
  const connection: Connection = {
    id,
    scheme,
    definedBy,
    ...(host !== undefined && { host }),
    ...(port !== undefined && { port }),
    ...(login !== undefined && { login }),
    ...(database !== undefined && { database }),
    extra: Object.freeze({ ...extra }),
  };
  if (password !== undefined) Object.defineProperty(connection, 'password', { value: password });
  return Object.freeze(connection);
}

/** Where a connection points, for people: no password, and no value of an extra that could be one. */
export function formatDsn(connection: Connection): string {
  const { scheme, host, password, extra } = connection;
  if (scheme === 'pglite') return formatPgliteDsn(connection);
  return joinUri(connection, {
    host: host?.includes(':') ? `[${host}]` : quote(host ?? ''),
    password: password === undefined ? undefined : '***',
    query: Object.entries(extra).map(maskPair).join('&'),
  });
}

/** The strings that must not be shown anywhere, raw; who masks an output knows their other forms. */
export function listSecrets(connection: Connection): readonly string[] {
  const secrets = new Set(connection.password === undefined ? [] : [connection.password]);
  for (const [key, value] of Object.entries(connection.extra)) {
    if (!HARMLESS.has(key)) for (const text of listStrings(value)) secrets.add(text);
  }
  secrets.delete('');
  return [...secrets];
}

/** Parts of a URI that are encoded (or masked) already; an undefined password is absent. */
export interface UriParts {
  readonly host: string;
  readonly password: string | undefined;
  readonly query: string;
}

/** Airflow's URI form of a connection, with `parts` in place of its own host, password and extra. */
export function joinUri(connection: Connection, parts: UriParts): string {
  const { scheme, login, port, database } = connection;
  const { host, password, query } = parts;
  const user = quote(login ?? '') + (password === undefined ? '' : `:${password}`);
  // `type://@:5433`, not `type://:5433`: Airflow's writer marks a port that follows nothing.
  const at = user !== '' || (host === '' && port !== undefined) ? '@' : '';
  const place = host + (port === undefined ? '' : `:${port}`);
  const path = database === undefined ? (query === '' ? '' : '/') : `/${quote(database)}`;
  const type = scheme.toLowerCase().replaceAll('_', '-');
  const [protocol, name] = splitProtocol(place);
  return `${type}://${protocol}${user}${at}${name}${path}${query === '' ? '' : `?${query}`}`;
}

/** `pglite:<dir>`: the directory as it is, because everything after the colon is the directory. */
export function formatPgliteDsn(connection: Connection): string {
  const directory = connection.database ?? '';
  return directory.startsWith('//') ? `pglite://${directory}` : `pglite:${directory}`;
}

/**
 * Extras whose value is never secret. `options` is not one: it can set any server variable.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
 */
const HARMLESS: ReadonlySet<string> = new Set([
  'sslmode',
  'sslrootcert',
  'application_name',
  'connect_timeout',
  'target_session_attrs',
]);

function maskPair([key, value]: [string, unknown]): string {
  const shown = HARMLESS.has(key) && (typeof value === 'string' || typeof value === 'number');
  return `${quotePlus(key)}=${shown ? quotePlus(String(value)) : '***'}`;
}

function* listStrings(value: unknown): Generator<string> {
  if (typeof value === 'string') yield value;
  if (typeof value !== 'object' || value === null) return;
  for (const inner of Object.values(value)) yield* listStrings(inner);
}

/** Airflow writes the protocol of a host (`k8s://name`) before the login, and the name after it. */
function splitProtocol(place: string): [protocol: string, name: string] {
  const end = place.indexOf('://');
  return end < 0 ? ['', place] : [place.slice(0, end + 3), place.slice(end + 3)];
}
