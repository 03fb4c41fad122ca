import { userInfo } from 'node:os';
import { EtlError, didYouMean } from '../../errors.js';
import type { Connection } from '../connection.js';
import type { OpenSettings, Variables } from '../hook.js';
import { type Setting, type SslMode, createBadValueError, readSslMode } from './libpq-setting.js';

/** A connection whose every field has a value, so the driver takes nothing from the environment. */
export interface ResolvedServer {
  /** The connection with `host`, `port`, `login` and `database`, but without its password. */
  readonly connection: Connection & Required<Pick<Connection, 'host' | 'port' | 'login' | 'database'>>;
  /** The address that the socket connects to: the host, or PGHOSTADDR if the connection names no host. */
  readonly address: string;
  readonly applicationName: string;
  /** Command-line options of the server process, such as `-c search_path=app`. */
  readonly options: string | undefined;
  readonly connectTimeoutMillis: number;
  /** The idle time before the first TCP keepalive, by default 5 s. Undefined if keepalives are off. */
  readonly keepAliveMillis: number | undefined;
  readonly tls: TlsRequest;
}

/** The TLS options of a connection. Paths are as the user wrote them. */
export interface TlsRequest {
  readonly mode: SslMode;
  readonly rootcert: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

/**
 * Resolves every field as libpq does: from the connection, else from the `PG*` variable, else the default. An empty
 * value counts as not set. Two defaults differ from libpq. The host is `localhost`, where libpq uses a Unix socket. The
 * time limit to connect is 10 s, where libpq has no limit; `connect_timeout=0` also means 10 s. Throws ETL-2204 for an
 * unknown option, ETL-2206 for a value that makes no sense, ETL-2207 for an unsupported option, and ETL-2213 if there
 * is no user.
 * https://www.postgresql.org/docs/current/libpq-connect.html
 */
export function resolveServer(connection: Connection, settings: OpenSettings): ResolvedServer {
  refuseUnknown(connection, settings.notice);
  const findOption = (name: Option): Setting | undefined => findSetting(connection, settings.variables, name);
  const address = resolveAddress(connection, settings.variables);
  const attributes = findOption('target_session_attrs');
  if (attributes && attributes.text !== 'any') throw createUnsupportedError(connection, attributes.name);
  const keepsAlive = parseWholeNumber(findOption('keepalives')) !== 0;
  return {
    ...address,
    applicationName: findOption('application_name')?.text ?? settings.applicationName,
    options: findOption('options')?.text,
    // The options have seconds. `||` gives the default also for 0.
    connectTimeoutMillis: (parseWholeNumber(findOption('connect_timeout')) || 10) * 1_000,
    keepAliveMillis: keepsAlive ? (parseWholeNumber(findOption('keepalives_idle')) ?? 5) * 1_000 : undefined,
    tls: {
      mode: readSslMode(findOption('sslmode'), findOption('sslrootcert')?.text),
      rootcert: findOption('sslrootcert')?.text,
      cert: findOption('sslcert')?.text,
      key: findOption('sslkey')?.text,
    },
  };
}

/** The options that a connection's `extra` can have, each with the variable that is its fallback. */
const VARIABLE_OF = {
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  application_name: 'PGAPPNAME',
  options: 'PGOPTIONS',
  connect_timeout: 'PGCONNECT_TIMEOUT',
  keepalives: undefined,
  keepalives_idle: undefined,
  target_session_attrs: 'PGTARGETSESSIONATTRS',
} as const;
type Option = keyof typeof VARIABLE_OF;

/** The keys of `extra` that only Airflow's PostgresHook uses. Airflow does not pass these keys to libpq. */
const AIRFLOW_ONLY = new Set([
  'iam',
  'redshift',
  'redshift-serverless',
  'cursor',
  'cluster-identifier',
  'workgroup-name',
  'aws_conn_id',
  'sqlalchemy_scheme',
  'sqlalchemy_query',
]);

/**
 * Throws ETL-2204 for an unknown option, and ETL-2207 for `iam=true`. If there are options that only Airflow uses,
 * sends one notice that names them.
 */
function refuseUnknown(connection: Connection, notice: OpenSettings['notice']): void {
  const { id, definedBy, extra } = connection;
  const keys = Object.keys(extra);
  const unknown = keys.find((key) => !Object.hasOwn(VARIABLE_OF, key) && !AIRFLOW_ONLY.has(key));
  if (unknown !== undefined) {
    throw new EtlError('ETL-2204', {
      what: `connection "${id}" has an unknown option "${unknown}"${didYouMean(unknown, Object.keys(VARIABLE_OF))}`,
      where: definedBy,
      fix: `remove the option, or use one of: ${Object.keys(VARIABLE_OF).join(', ')}`,
    });
  }
  // Without this check, etl would log in without a token, and the error would not name `iam` as the cause.
  if (/^true$/i.test(String(extra['iam']))) throw createUnsupportedError(connection, 'iam');
  const ignored = keys.filter((key) => AIRFLOW_ONLY.has(key));
  if (ignored.length > 0)
    notice(`connection "${id}": etl ignores ${ignored.join(', ')}, which only Airflow uses`);
}

/**
 * Creates ETL-2207 for an option that etl does not support. An option without an entry in `UNSUPPORTED` is about roles.
 */
function createUnsupportedError({ id, definedBy }: Connection, name: string): EtlError {
  const [why, fix] = UNSUPPORTED[name] ?? [
    "the driver can't choose a server by its role",
    'name the host that accepts writes, and remove this option',
  ];
  const what = `connection "${id}" uses ${name}, which is not supported`;
  return new EtlError('ETL-2207', { what, where: definedBy, why, fix });
}

/** The reasons and fixes of ETL-2207 by option. */
const UNSUPPORTED: Readonly<Record<string, readonly [why: string, fix: string]>> = {
  iam: [
    'etl fetches no token from AWS',
    'fetch a token with "aws rds generate-db-auth-token", and set the token as the password',
  ],
  'more than one host': ['the driver connects to one host', 'name only the host that accepts writes'],
};

/**
 * Returns the option from `extra`, else from the variable of the option, else undefined. An empty value counts as not
 * set. Throws ETL-2206 if the value is an object or a list.
 */
function findSetting(connection: Connection, variables: Variables, name: Option): Setting | undefined {
  const value = connection.extra[name];
  const where = connection.definedBy;
  if (value === undefined || value === null || value === '')
    return findVariable(variables, VARIABLE_OF[name]);
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
    return { text: String(value), name, where };
  }
  throw createBadValueError(
    { name, where },
    'the value is an object or a list',
    'write text, a number, true or false',
  );
}

/** Returns a variable. Undefined if the variable is not set or empty, or if the option has no variable. */
function findVariable(variables: Variables, name: string | undefined): Setting | undefined {
  const text = name === undefined ? undefined : variables[name];
  return text && name ? { text, name, where: 'the environment' } : undefined;
}

/**
 * Parses a whole number from 0 to 999999. Returns undefined if the setting is undefined. `true` and `false`, which a
 * JSON connection can have, are 1 and 0. Throws ETL-2206 for any other text.
 */
function parseWholeNumber(found: Setting | undefined): number | undefined {
  if (!found) return undefined;
  const text = found.text
    .trim()
    .replace(/^true$/i, '1')
    .replace(/^false$/i, '0');
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw createBadValueError(
    found,
    'the value is not a whole number from 0 to 999999',
    `write for example ${found.name}=10`,
  );
}

/**
 * Resolves host, port, user and database, each from the connection, else from its variable, else from its default. The
 * default host is `localhost`, the default user is the user of the operating system, and the default database has the
 * name of the user. Throws ETL-2206 for a port that makes no sense, ETL-2207 for a list of hosts, and ETL-2213 if there
 * is no user.
 */
function resolveAddress(
  connection: Connection,
  variables: Variables,
): Pick<ResolvedServer, 'connection' | 'address'> {
  // PGHOSTADDR belongs to PGHOST. It must not redirect a connection that has a host of its own.
  const hostAddress = connection.host ? undefined : findVariable(variables, 'PGHOSTADDR')?.text;
  const host = connection.host || findVariable(variables, 'PGHOST')?.text || hostAddress || 'localhost';
  if (host.includes(',')) throw createUnsupportedError(connection, 'more than one host');
  const login = connection.login || findVariable(variables, 'PGUSER')?.text || getAccountName(connection);
  const database = connection.database || findVariable(variables, 'PGDATABASE')?.text || login;
  const port = resolvePort(connection, variables);
  // A copy by spreading has no password.
  return { connection: { ...connection, host, port, login, database }, address: hostAddress ?? host };
}

/** Returns the port of the connection, else of PGPORT, else 5432. Throws ETL-2206 if it is not from 1 to 65535. */
function resolvePort({ port, definedBy }: Connection, variables: Variables): number {
  const found =
    port === undefined
      ? findVariable(variables, 'PGPORT')
      : { text: String(port), name: 'port', where: definedBy };
  const number = parseWholeNumber(found) ?? 5432;
  if (found && (number < 1 || number > 65_535)) {
    throw createBadValueError(
      found,
      'a port is a number from 1 to 65535',
      'write the port of the server; the default port of PostgreSQL is 5432',
    );
  }
  return number;
}

/** Returns the name of the operating system's user. Throws ETL-2213 if that user has no name. */
function getAccountName({ id, definedBy }: Connection): string {
  try {
    return userInfo().username;
  } catch (cause) {
    throw new EtlError('ETL-2213', {
      what: `connection "${id}" names no user`,
      where: definedBy,
      why: 'the account that runs etl has no name on this machine that etl could use instead',
      fix: 'add the user to the connection, or set PGUSER',
      cause,
    });
  }
}
