import { didYouMean } from '../../errors.js';

/** A parameter of libpq. */
export interface Parameter {
  /** The variable that sets the parameter for every connection. */
  readonly variable?: string;
  /** The values that libpq accepts. Absent: any text, or the program that uses the parameter checks the value. */
  readonly values?: readonly string[];
}

/** libpq's words for TLS versions. Their case does not matter, and an empty text is the default. */
const TLS_VERSIONS = ['', 'TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const;
const PROTOCOL_VERSIONS = ['3.0', '3.2', 'latest'] as const;

/**
 * All parameters of libpq 18, with their variables.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
 * https://www.postgresql.org/docs/current/libpq-envars.html
 */
export const PARAMETERS = {
  host: { variable: 'PGHOST' },
  hostaddr: { variable: 'PGHOSTADDR' },
  port: { variable: 'PGPORT' },
  dbname: { variable: 'PGDATABASE' },
  user: { variable: 'PGUSER' },
  password: { variable: 'PGPASSWORD' },
  passfile: { variable: 'PGPASSFILE' },
  service: { variable: 'PGSERVICE' },
  require_auth: { variable: 'PGREQUIREAUTH' },
  channel_binding: { variable: 'PGCHANNELBINDING', values: ['disable', 'prefer', 'require'] },
  connect_timeout: { variable: 'PGCONNECT_TIMEOUT' },
  client_encoding: { variable: 'PGCLIENTENCODING' },
  options: { variable: 'PGOPTIONS' },
  application_name: { variable: 'PGAPPNAME' },
  fallback_application_name: {},
  keepalives: {},
  keepalives_idle: {},
  keepalives_interval: {},
  keepalives_count: {},
  tcp_user_timeout: {},
  replication: {},
  gssencmode: { variable: 'PGGSSENCMODE', values: ['disable', 'prefer', 'require'] },
  sslmode: {
    variable: 'PGSSLMODE',
    values: ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'],
  },
  sslnegotiation: { variable: 'PGSSLNEGOTIATION', values: ['postgres', 'direct'] },
  sslcompression: { variable: 'PGSSLCOMPRESSION' },
  sslcert: { variable: 'PGSSLCERT' },
  sslkey: { variable: 'PGSSLKEY' },
  sslkeylogfile: {},
  sslpassword: {},
  sslcertmode: { variable: 'PGSSLCERTMODE', values: ['disable', 'allow', 'require'] },
  sslrootcert: { variable: 'PGSSLROOTCERT' },
  sslcrl: { variable: 'PGSSLCRL' },
  sslcrldir: { variable: 'PGSSLCRLDIR' },
  sslsni: { variable: 'PGSSLSNI' },
  requirepeer: { variable: 'PGREQUIREPEER' },
  ssl_min_protocol_version: { variable: 'PGSSLMINPROTOCOLVERSION', values: TLS_VERSIONS },
  ssl_max_protocol_version: { variable: 'PGSSLMAXPROTOCOLVERSION', values: TLS_VERSIONS },
  min_protocol_version: { variable: 'PGMINPROTOCOLVERSION', values: PROTOCOL_VERSIONS },
  max_protocol_version: { variable: 'PGMAXPROTOCOLVERSION', values: PROTOCOL_VERSIONS },
  krbsrvname: { variable: 'PGKRBSRVNAME' },
  gsslib: { variable: 'PGGSSLIB' },
  gssdelegation: { variable: 'PGGSSDELEGATION' },
  scram_client_key: {},
  scram_server_key: {},
  target_session_attrs: {
    variable: 'PGTARGETSESSIONATTRS',
    values: ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'],
  },
  load_balance_hosts: { variable: 'PGLOADBALANCEHOSTS', values: ['disable', 'random'] },
  oauth_issuer: {},
  oauth_client_id: {},
  oauth_client_secret: {},
  oauth_scope: {},
} as const satisfies Readonly<Record<string, Parameter>>;

/** The key word of a parameter of libpq. */
export type ParameterName = keyof typeof PARAMETERS;

/**
 * The settings of a session that libpq takes from a variable only. The values are their names on the server. A variable
 * whose value is `default` counts as not set.
 */
export const SESSION_VARIABLES = { PGTZ: 'TimeZone', PGDATESTYLE: 'DateStyle', PGGEQO: 'geqo' } as const;

/** Says whether a text is the key word of a parameter of libpq. */
export function isParameterName(name: string): name is ParameterName {
  return Object.hasOwn(PARAMETERS, name);
}

/** The keys of `extra` that only Airflow's PostgresHook uses. Airflow does not pass these keys to libpq. */
const AIRFLOW_ONLY =
  'iam redshift redshift-serverless cursor cluster-identifier workgroup-name aws_conn_id sqlalchemy_scheme sqlalchemy_query';

/**
 * The programs whose parameters are often in a copied URL, with the parameters that say nothing about the server or the
 * session: they concern the program's own pool, cache or prepared statements.
 */
const IGNORED_OF: Readonly<Record<string, string>> = {
  Airflow: AIRFLOW_ONLY,
  Prisma: 'pgbouncer connection_limit pool_timeout socket_timeout statement_cache_size',
  Supabase: 'supa pool_mode',
  Rails: 'pool checkout_timeout reaping_frequency idle_timeout prepared_statements reconnect adapter',
  Django: 'conn_max_age conn_health_checks',
  'node-postgres': 'uselibpqcompat max min idleTimeoutMillis',
  SQLAlchemy: 'pool_size max_overflow pool_recycle pool_pre_ping prepared_statement_cache_size',
  JDBC: 'prepareThreshold preparedStatementCacheQueries tcpKeepAlive',
};

/**
 * Returns the program that uses a parameter which means nothing for `etl`, or undefined for any other parameter. Prisma's
 * `schema=public` and Rails' `encoding=utf8` are what PostgreSQL does anyway.
 */
export function findIgnoringProgram(name: string, value: unknown): string | undefined {
  if (name === 'schema' && value === 'public') return 'Prisma';
  if (name === 'encoding' && /^(?:utf-?8|unicode)$/i.test(String(value))) return 'Rails';
  return Object.keys(IGNORED_OF).find((program) => IGNORED_OF[program]?.split(' ').includes(name));
}

/** The text to write instead of a parameter of another program. */
const SEARCH_PATH =
  "write options=-c%20search_path%3D<schema> in a URI, or options='-c search_path=<schema>'";
const SSLMODE =
  'write sslmode=require to encrypt, or sslmode=verify-full and sslrootcert to verify the server, too';
const ADVICE: Readonly<Record<string, string>> = {
  schema: SEARCH_PATH,
  schemas: SEARCH_PATH,
  search_path: SEARCH_PATH,
  currentSchema: SEARCH_PATH,
  schema_search_path: SEARCH_PATH,
  encoding: 'write client_encoding=UTF8: etl reads and writes UTF-8',
  ssl: SSLMODE,
  sslaccept: SSLMODE,
  sslidentity: SSLMODE,
  ssl_require: SSLMODE,
  sslfactory: SSLMODE,
  useSSL: SSLMODE,
  username: 'write user=<name>',
  login: 'write user=<name>',
  database: 'write dbname=<name>',
  db: 'write dbname=<name>',
  ApplicationName: 'write application_name=<name>',
  sslca: 'write sslrootcert=<file>',
  connectTimeout: 'write connect_timeout=<seconds>',
  loginTimeout: 'write connect_timeout=<seconds>',
  targetServerType: 'write target_session_attrs=primary',
  loadBalanceHosts: 'write load_balance_hosts=random',
};
/** Settings of the server that other drivers accept as parameters. */
const SERVER_SETTING =
  /^(?:statement_timeout|lock_timeout|idle_in_transaction_session_timeout|timezone|role|datestyle)$/i;

/**
 * Returns what to write instead of a parameter that libpq does not have. Undefined if the name is neither near to a
 * parameter nor known from another program.
 */
export function findParameterAdvice(name: string): string | undefined {
  const advice = Object.hasOwn(ADVICE, name) ? ADVICE[name] : undefined;
  if (advice !== undefined) return advice;
  if (SERVER_SETTING.test(name))
    return `write options=-c%20${name}%3D<value> in a URI, or options='-c ${name}=<value>'`;
  if (findIgnoringProgram(name, undefined) !== undefined) return 'remove the parameter';
  const near = didYouMean(name, Object.keys(PARAMETERS));
  return near === '' ? undefined : `remove the parameter, or correct its name`;
}
