import { userInfo } from 'node:os';
import { EtlError, didYouMean } from '../../errors.js';
import type { Connection } from '../connection.js';
import type { OpenSettings, Variables } from '../hook.js';
import { type Setting, type SslMode, createBadValueError, readSslMode } from './libpq-setting.js';

/** A connection with every field decided, so that nothing is left for the driver to read from the environment. */
export interface ResolvedServer {
  /** The connection with `host`, `port`, `login` and `database` filled in, without its password. */
  readonly connection: Connection & Required<Pick<Connection, 'host' | 'port' | 'login' | 'database'>>;
  /** Where the socket goes: the host, unless PGHOSTADDR gives the address of PGHOST. */
  readonly address: string;
  readonly applicationName: string;
  /** Command-line options for the server's session, as `-c search_path=app`. */
  readonly options: string | undefined;
  readonly connectTimeoutMillis: number;
  /** Idle time before the first TCP keepalive; `undefined` when they are off. */
  readonly keepAliveMillis: number | undefined;
  readonly tls: TlsRequest;
}

/** How a connection wants to be secured; paths as they were given. */
export interface TlsRequest {
  readonly mode: SslMode;
  readonly rootcert: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

/**
 * Decides every field as libpq does: the connection, then the `PG*` variable, then the default. An empty value counts
 * as none. Two defaults are ours: the host is `localhost` (libpq: a Unix socket), and the time to connect is 10 s, also
 * where libpq would wait for ever. Throws ETL-2204 for an unknown option, ETL-2206 for a value that makes no sense
 * and ETL-2207 for what is not supported. https://www.postgresql.org/docs/current/libpq-connect.html
 */
export function resolveServer(connection: Connection, settings: OpenSettings): ResolvedServer {
  refuseUnknown(connection, settings.notice);
  const findOption = (name: Option): Setting | undefined => findSetting(connection, settings.variables, name);
  const address = resolveAddress(connection, settings.variables);
  const attributes = findOption('target_session_attrs');
  if (attributes && attributes.text !== 'any') throw createUnsupportedError(connection, attributes.name);
  const keepAlive = parseWholeNumber(findOption('keepalives')) !== 0;
  return {
    ...address,
    applicationName: findOption('application_name')?.text ?? settings.applicationName,
    options: findOption('options')?.text,
    connectTimeoutMillis: (parseWholeNumber(findOption('connect_timeout')) || 10) * 1_000,
    keepAliveMillis: keepAlive ? (parseWholeNumber(findOption('keepalives_idle')) ?? 5) * 1_000 : undefined,
    tls: {
      mode: readSslMode(findOption('sslmode'), findOption('sslrootcert')?.text),
      rootcert: findOption('sslrootcert')?.text,
      cert: findOption('sslcert')?.text,
      key: findOption('sslkey')?.text,
    },
  };
}

/** Options that a connection's `extra` may hold, with the variable that fills each. */
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

/** Keys that Airflow's PostgresHook takes out of `extra` before libpq sees it. */
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

function refuseUnknown(connection: Connection, notice: OpenSettings['notice']): void {
  const { id, definedBy, extra } = connection;
  const keys = Object.keys(extra);
  const unknown = keys.find((key) => !Object.hasOwn(VARIABLE_OF, key) && !AIRFLOW_ONLY.has(key));
  if (unknown !== undefined) {
    throw new EtlError('ETL-2204', {
      what: `Connection "${id}" has an unknown option "${unknown}"${didYouMean(unknown, Object.keys(VARIABLE_OF))}`,
      where: definedBy,
      fix: `Remove it, or use one of: ${Object.keys(VARIABLE_OF).join(', ')}.`,
    });
  }
  // Without it the login would be tried with no token, and the reason would stay hidden.
  if (/^true$/i.test(String(extra['iam']))) throw createUnsupportedError(connection, 'iam');
  const ignored = keys.filter((key) => AIRFLOW_ONLY.has(key));
  if (ignored.length > 0)
    notice(`Connection "${id}": ${ignored.join(', ')} only mean something to Airflow; ignored.`);
}

function createUnsupportedError({ id, definedBy }: Connection, name: string): EtlError {
  const [why, fix] = UNSUPPORTED[name] ?? [
    'The driver can only ask for any server.',
    'Name the host that accepts writes, and leave this option out.',
  ];
  const what = `Connection "${id}" uses ${name}, which is not supported.`;
  return new EtlError('ETL-2207', { what, where: definedBy, why, fix });
}

const UNSUPPORTED: Readonly<Record<string, readonly [why: string, fix: string]>> = {
  iam: [
    'No token is fetched from AWS.',
    'Fetch one with "aws rds generate-db-auth-token" and give it as the password.',
  ],
  'more than one host': ['The driver connects to one host.', 'Name the host that accepts writes.'],
};

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
    'It is an object or a list.',
    'Give text, a number or a truth value.',
  );
}

function findVariable(variables: Variables, name: string | undefined): Setting | undefined {
  const text = name === undefined ? undefined : variables[name];
  return text && name ? { text, name, where: 'the environment' } : undefined;
}

/** A number from 0, where `true` and `false` of a JSON connection are 1 and 0. */
function parseWholeNumber(found: Setting | undefined): number | undefined {
  if (!found) return undefined;
  const text = found.text
    .trim()
    .replace(/^true$/i, '1')
    .replace(/^false$/i, '0');
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw createBadValueError(
    found,
    'It is not a whole number from 0.',
    `Write ${found.name}=10, for example.`,
  );
}

function resolveAddress(
  connection: Connection,
  variables: Variables,
): Pick<ResolvedServer, 'connection' | 'address'> {
  // PGHOSTADDR belongs to PGHOST: it must not send a connection with a host of its own elsewhere.
  const given = connection.host ? undefined : findVariable(variables, 'PGHOSTADDR')?.text;
  const host = connection.host || findVariable(variables, 'PGHOST')?.text || given || 'localhost';
  if (host.includes(',')) throw createUnsupportedError(connection, 'more than one host');
  const login = connection.login || findVariable(variables, 'PGUSER')?.text || getAccountName(connection);
  const database = connection.database || findVariable(variables, 'PGDATABASE')?.text || login;
  const { id, scheme, definedBy, extra } = connection;
  const resolved = {
    id,
    scheme,
    definedBy,
    extra,
    host,
    port: resolvePort(connection, variables),
    login,
    database,
  };
  return { connection: resolved, address: given ?? host };
}

function resolvePort({ port, definedBy }: Connection, variables: Variables): number {
  const found =
    port === undefined
      ? findVariable(variables, 'PGPORT')
      : { text: String(port), name: 'port', where: definedBy };
  const number = parseWholeNumber(found) ?? 5432;
  if (found && (number < 1 || number > 65_535)) {
    throw createBadValueError(
      found,
      'A port is a number from 1 to 65535.',
      'PostgreSQL listens on 5432 unless told otherwise.',
    );
  }
  return number;
}

function getAccountName({ id, definedBy }: Connection): string {
  try {
    return userInfo().username;
  } catch (cause) {
    throw new EtlError('ETL-2213', {
      what: `Connection "${id}" names no user.`,
      where: definedBy,
      why: 'The account that runs this has no name on this machine that could be used instead.',
      fix: 'Add the user to the connection, or set PGUSER.',
      cause,
    });
  }
}
