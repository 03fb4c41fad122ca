import { quote, quotePlus } from './percent.js';

/** An ID and the location that the ID points to. A Connection is data only: nothing has been opened or tried. */
export interface Connection {
  readonly id: string;
  /** Airflow's `conn_type`, normalised: `postgres`, `pglite`, or another type, which no hook opens. */
  readonly scheme: string;
  /**
   * The variable, flag or config key that defines the connection, for messages: `ETL_CONN_MY_DB`, `--conn`,
   * `connections.my_db in etl.config.ts`.
   */
  readonly definedBy: string;
  /**
   * A host name, an IP address, the directory of a Unix socket, which starts with `/`, or a list of them with commas. An
   * empty text is libpq's default host, whatever PGHOST says.
   */
  readonly host?: string;
  readonly port?: number;
  readonly login?: string;
  /** Not enumerable, so that no log, `inspect` or `JSON.stringify` shows it. */
  readonly password?: string;
  /** Airflow's `schema`: the name of the database. For `pglite`: the data directory, or `:memory:`. */
  readonly database?: string;
  /** Airflow's `extra`: driver options such as `sslmode`. The values can be secret, so never print them. */
  readonly extra: Readonly<Record<string, unknown>>;
}

/** The fields of a connection. An undefined field is absent. */
export interface ConnectionFields {
  readonly scheme: string;
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly login?: string | undefined;
  readonly password?: string | undefined;
  readonly database?: string | undefined;
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Creates a frozen connection. The password is not enumerable, so a copy made by spreading has no password. Copy the
 * password by name. A password in `extra` wins, as in libpq, and is removed from there.
 */
export function createConnection(
  fields: ConnectionFields & Pick<Connection, 'id' | 'definedBy'>,
): Connection {
  const { id, scheme, definedBy, host, port, login, database } = fields;
  const { password, extra } = movePassword(fields);
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

/** Returns the password and the other extras of a server's connection. */
function movePassword({
  scheme,
  password,
  extra = {},
}: ConnectionFields): Pick<ConnectionFields, 'password' | 'extra'> {
  const { password: moved, ...rest } = extra;
  return scheme === 'postgres' && typeof moved === 'string'
    ? { password: moved, extra: rest }
    : { password, extra };
}

/**
 * Formats a connection for messages, without secrets. A password and each extra that can be secret are written as
 * `***`.
 *
 * - `postgres://etl:***@db:5432/shop?sslmode=require&options=***`
 * - `postgres://@:5433` if there is only a port
 * - `pglite:data/shop`
 */
export function formatDsn(connection: Connection): string {
  const { scheme, host = '', port, login = '', password, database = '', extra } = connection;
  // The directory of a pglite connection is not percent-encoded. A reader of `pglite://<text>` takes the text after
  // `//` as the directory, so a directory that starts with `//` gets another `//` before it.
  if (scheme === 'pglite') return `pglite:${database.startsWith('//') ? '//' : ''}${database}`;
  const user = quote(login) + (password === undefined ? '' : ':***');
  // Airflow writes a port without host and login as `type://@:5433`, not as `type://:5433`.
  const at = user !== '' || (host === '' && port !== undefined) ? '@' : '';
  const suffix = port === undefined ? '' : `:${port}`;
  const address = host
    .split(',')
    .map((each) => formatHost(each) + suffix)
    .join(',');
  const query = Object.entries(extra).map(maskPair).join('&');
  const path = database + query === '' ? '' : `/${quote(database)}`;
  return `${scheme.replaceAll('_', '-')}://${user}${at}${address}${path}${query && `?${query}`}`;
}

/** Formats a host for a URI. Only an IPv6 address has a colon and no slash. */
function formatHost(host: string): string {
  return host.includes(':') && !host.includes('/') ? `[${host}]` : quote(host);
}

/**
 * The extras whose values are never secret: libpq's parameters except the passwords, and except `options`, which can set
 * any server variable.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
 */
const HARMLESS: ReadonlySet<string> = new Set(
  (
    'host hostaddr port dbname user require_auth channel_binding connect_timeout client_encoding application_name ' +
    'fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout ' +
    'replication gssencmode sslmode requiressl sslnegotiation sslcompression sslcert sslkey sslcertmode sslrootcert ' +
    'sslcrl sslcrldir sslsni requirepeer ssl_min_protocol_version ssl_max_protocol_version krbsrvname gsslib ' +
    'gssdelegation target_session_attrs load_balance_hosts service passfile min_protocol_version max_protocol_version ' +
    'pgbouncer connection_limit pool_timeout schema'
  ).split(' '),
);

/** Formats one extra for the query of a URI: `sslmode=require`, or `options=***` if the value can be secret. */
function maskPair([key, value]: [string, unknown]): string {
  const shown = HARMLESS.has(key) && (typeof value === 'string' || typeof value === 'number');
  return `${quotePlus(key)}=${shown ? quotePlus(String(value)) : '***'}`;
}
