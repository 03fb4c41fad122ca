import { EtlError } from '../errors.js';
import type { Connection } from './connection.js';

/**
 * Creates an ETL-1001 for an error of connecting, which becomes the `cause`. Returns an `EtlError` unchanged. For a server
 * without a free session, the error says how many sessions are needed (`sessions`).
 * `connection` has the host, port, login and database that were used. The message never shows the password.
 */
export function describeConnectError(
  error: unknown,
  connection: Connection,
  sessions: OpenSessions = {},
): EtlError {
  if (error instanceof EtlError) return error;
  const code = getCode(error);
  const explain = EXPLAIN_BY_CODE[code] ?? chooseByPattern(code);
  const [what, fix, reason = getMessage(error)] = explain(describeInWords(connection), {
    ...sessions,
    error,
  });
  const why = code === '53300' ? [reason, ...describeSessions(sessions)].join('\n') : reason;
  return new EtlError('ETL-1001', {
    what: `connection "${connection.id}" ${what}${formatCode(code)}`,
    where: connection.definedBy,
    why,
    fix,
    cause: error,
  });
}

/** The sessions of this process in one database. */
interface OpenSessions {
  /** The text of `describeNeed`. Undefined if no run has opened the database. */
  readonly need?: string | undefined;
  /** The number of sessions that are open. */
  readonly open?: number;
}

/** Says how many sessions a run with this pool needs in one database, and what for. */
export function describeNeed(poolSize: number): string {
  return `a run needs 1 connection to this server for its lock, and 1 for each task that runs at once: at most ${poolSize + 1} (--concurrency ${poolSize})`;
}

/** Says how many sessions are open and how many a run needs, for an error about too many sessions. */
function describeSessions({ need, open }: OpenSessions): string[] {
  if (need === undefined) return [];
  return [
    need,
    ...(open === undefined
      ? []
      : [`this process had ${open} ${open === 1 ? 'connection' : 'connections'} and asked for 1 more`]),
  ];
}

/** Creates an ETL-1001 for a connection that requires TLS from a server without TLS. */
export function createTlsNotOfferedError(connection: Connection, sslmode: string): EtlError {
  return new EtlError('ETL-1001', {
    what: `connection "${connection.id}" requires TLS, which ${describeInWords(connection).server} does not offer`,
    where: connection.definedBy,
    why: `sslmode is ${sslmode}`,
    fix: 'turn on ssl at the server, or write sslmode=prefer to connect without TLS',
  });
}

/** The code of the `cause` of an error about a server that is not of the kind that the connection asks for. */
const WRONG_SERVER = 'WRONG_SERVER';

/**
 * Creates an ETL-1001 for a server that is not of the kind that the connection asks for. `why` is a clause about the
 * server, such as `it is a standby`.
 */
export function createWrongServerError(connection: Connection, attributes: string, why: string): EtlError {
  return new EtlError('ETL-1001', {
    what: `connection "${connection.id}" can't use ${describeInWords(connection).server}: ${why}`,
    where: connection.definedBy,
    why: `target_session_attrs is ${attributes}`,
    fix: 'name the hosts of all servers in the connection, or change target_session_attrs',
    cause: Object.assign(new Error(why), { code: WRONG_SERVER }),
  });
}

/** Creates an ETL-1001 for a server that authenticates the client in a way that the connection forbids. */
export function createAuthenticationError(connection: Connection, why: string): EtlError {
  return new EtlError('ETL-1001', {
    what: `connection "${connection.id}" does not log in to ${describeInWords(connection).server}`,
    where: connection.definedBy,
    why,
    fix: 'change the method in the pg_hba.conf of the server, or the parameter of the connection',
  });
}

/**
 * Creates an ETL-1001 for a connection whose servers have all failed. `failures` has one error for each, in the order in
 * which they were tried.
 */
export function createNoServerError(connection: Connection, failures: readonly EtlError[]): EtlError {
  const subject = `connection "${connection.id}" `;
  const lines = failures.map(
    ({ what, why }) => `it ${what.replace(subject, '')}${why === undefined ? '' : ` (${why})`}`,
  );
  return new EtlError('ETL-1001', {
    what: `${subject}found no server among its hosts`,
    where: connection.definedBy,
    why: [...new Set(lines)].join('\n'),
    fix: 'check that one of the servers runs, and that it is of the kind that target_session_attrs names',
    cause: new AggregateError(failures.map(({ cause }) => cause)),
  });
}

/**
 * Says whether the next host of a list is tried after an error, by libpq's rule: the server can't be reached, does not
 * answer in time, does not accept sessions now, or is not of the kind that the connection asks for. After any other
 * error, such as a wrong password or a certificate that is not trusted, no other host is tried.
 */
export function isOtherHostTried(error: unknown): error is EtlError {
  if (!(error instanceof EtlError) || error.code !== 'ETL-1001') return false;
  const code = getCode(error.cause);
  return /^(?:E(?!AUTH|CONNRESET|PIPE)[A-Z_]{3,}|57P03)$/.test(code) || code === WRONG_SERVER;
}

/** Creates an ETL-2214 for a server that is older than the oldest supported version. `version` is the server's text. */
export function createServerTooOldError(connection: Connection, version: string): EtlError {
  return new EtlError('ETL-2214', {
    what: `connection "${connection.id}" leads to PostgreSQL ${version}, and etl needs version 14 or later`,
    where: connection.definedBy,
    why: `${describeInWords(connection).server} reports this version`,
    fix: 'upgrade the server, or name another one',
    data: 'nothing was changed',
  });
}

/** Creates an ETL-1001 for a connection without a password to a server that asks for one. */
export function createPasswordMissingError(connection: Connection): EtlError {
  const { server, user } = describeInWords(connection);
  return new EtlError('ETL-1001', {
    what: `connection "${connection.id}" has no password, and ${server} asks ${user} for a password`,
    where: connection.definedBy,
    why: 'neither the connection nor PGPASSWORD nor the password file (PGPASSFILE, ~/.pgpass) has a password',
    fix: 'add the password to one of these three; the password file must have mode 0600',
  });
}

/** Returns the SQLSTATE of an error, or the code of a Node error. Returns an empty string if the error has no code. */
export function getCode(error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : '';
}

/**
 * Returns the parts of a connection as the messages write them, for example the server `db:5432`, the user `user "ann"`
 * and the database `database "shop"`.
 */
function describeInWords({ host = 'localhost', port = 5432, login = '', database = login }: Connection) {
  const server = /^[/@]/.test(host) ? `${host}/.s.PGSQL.${port}` : `${host}:${port}`;
  return { server, user: `user "${login}"`, database: `database "${database}"` };
}

/**
 * Explains one kind of error: `what` continues "connection "<id>" …". If `why` is absent, the error
 * has the message of the driver's error as its `why`.
 */
type Explain = (
  words: ReturnType<typeof describeInWords>,
  facts: OpenSessions & { readonly error: unknown },
) => readonly [what: string, fix: string, why?: string];

const explainNoAnswer: Explain = ({ server }) => [
  `got no answer from ${server}`,
  'try the same host and port from this machine with another client',
  'packets to the server get lost, usually because of a firewall, a security group, or a VPN that is off',
];
const explainUnknownHost: Explain = ({ server }) => [
  `names a host that can't be found: ${server}`,
  'check the spelling of the host name, and the DNS servers of this machine',
  'the host name does not resolve on this machine',
];
const explainUnusableSocket: Explain = ({ server }) => [
  `can't use the socket ${server}`,
  'check that the server runs on this machine, and that its unix_socket_directories has this directory',
];

/**
 * The explanations by SQLSTATE or by code of a Node error.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const EXPLAIN_BY_CODE: Readonly<Record<string, Explain>> = {
  ECONNREFUSED: ({ server }) => [
    `could not connect to ${server}`,
    'check that the server runs, and that host and port of the connection are right',
    'no server listens on this host and port, or a firewall refuses the connection',
  ],
  ENOENT: explainUnusableSocket,
  EACCES: explainUnusableSocket,
  ENOTFOUND: explainUnknownHost,
  EAI_AGAIN: explainUnknownHost,
  ETIMEDOUT: explainNoAnswer,
  EHOSTUNREACH: explainNoAnswer,
  ENETUNREACH: explainNoAnswer,
  '28P01': ({ server, user }) => [
    `was refused by ${server} as ${user}`,
    'check the user and the password: the password is in the URL of the connection, else in PGPASSWORD or the password file (PGPASSFILE, ~/.pgpass)',
    'the password is wrong, or the user does not exist',
  ],
  '28000': ({ server, user }) => [
    `was refused by ${server} as ${user}`,
    'allow this user from this machine in the pg_hba.conf of the server, with or without TLS (see sslmode)',
  ],
  '3D000': ({ server, database }) => [
    `names a ${database} that ${server} does not have`,
    'check the spelling of the name (case counts), or create the database',
    'the server accepts the user, but has no database of this name',
  ],
  '42501': ({ server, user, database }) => [
    `may not open ${database} on ${server} as ${user}`,
    'grant CONNECT on the database to this user',
  ],
  '53300': (words, { need, error }) => [
    `was refused by ${words.server}: too many connections`,
    `end connections that are not needed, or raise ${describeLimit(words, error)}` +
      (need === undefined ? '' : '; with --concurrency 1 a run needs 2 connections'),
  ],
  '57P03': ({ server }) => [
    `is not served yet by ${server}`,
    'try again in a minute: the server is starting, stopping or recovering',
  ],
};

/**
 * Describes the limit that a server named with SQLSTATE 53300. The function in PostgreSQL's source code tells the limit,
 * because the message can be in any language. Another program, such as a pooler, sends no such function.
 * https://github.com/postgres/postgres/blob/REL_18_0/src/backend/utils/init/postinit.c
 */
function describeLimit({ user, database }: ReturnType<typeof describeInWords>, error: unknown): string {
  const { routine } = Object(error) as { routine?: unknown };
  if (routine === 'InitializeSessionUserId') return `the limit of ${user} (alter role … connection limit …)`;
  if (routine === 'CheckMyDatabase') return `the limit of ${database} (alter database … connection limit …)`;
  return routine === undefined
    ? 'the limits of the pooler and of the server behind it'
    : 'max_connections of the server';
}

/** Formats ` (SQLSTATE 28P01)`, or ` (ECONNREFUSED)` for a code of Node.js. Returns an empty string for no code. */
function formatCode(code: string): string {
  if (code === '') return '';
  return /^[0-9][0-9A-Z]{4}$/.test(code) ? ` (SQLSTATE ${code})` : ` (${code})`;
}

/** Returns the explanation for an error whose code is not in `EXPLAIN_BY_CODE`. */
function chooseByPattern(code: string): Explain {
  // OpenSSL and Node have many codes for a certificate that is not trusted, such as CERT_HAS_EXPIRED.
  if (/^ERR_TLS|CERT|SIGNATURE|^CRL_|^HOSTNAME_MISMATCH$/.test(code))
    return ({ server }) => [
      `does not trust the certificate of ${server}`,
      'set sslrootcert to the certificate of the authority that signed it (sslmode=verify-ca skips the host name check)',
    ];
  return ({ server }) => [
    `could not be opened on ${server}`,
    'check host, port and sslmode, and read the log of the server',
  ];
}

function getMessage(error: unknown): string {
  return error instanceof Error && error.message !== '' ? error.message : String(error);
}
