import { EtlError } from '../errors.js';
import type { Connection } from './connection.js';

/**
 * The ETL-1001 for an error of connecting, which is its `cause`; an `EtlError` is returned as it is. `connection` has
 * the host, port, login and database that were used. Never shows the password.
 */
export function describeConnectError(error: unknown, connection: Connection): EtlError {
  if (error instanceof EtlError) return error;
  const code = getCode(error);
  const [what, why, fix] = (REASONS[code] ?? describeOtherReason(code))(
    describeInWords(connection),
    getMessage(error),
  );
  return new EtlError('ETL-1001', {
    what: `Connection "${connection.id}" ${what}${code && ` (${code})`}.`,
    where: connection.definedBy,
    why,
    fix,
    cause: error,
  });
}

/** The ETL-1001 for a server that offers no TLS where the connection insists on it. */
export function createTlsNotOfferedError(connection: Connection, sslmode: string): EtlError {
  return new EtlError('ETL-1001', {
    what: `Connection "${connection.id}" wants TLS, which ${describeInWords(connection).server} does not offer.`,
    where: connection.definedBy,
    why: `sslmode is ${sslmode}.`,
    fix: 'Turn on ssl at the server; or write sslmode=prefer, which goes on without it.',
  });
}

/** The ETL-1001 for a server that asks for a password where there is none. */
export function createPasswordMissingError(connection: Connection): EtlError {
  const { server, user } = describeInWords(connection);
  return new EtlError('ETL-1001', {
    what: `Connection "${connection.id}" has no password, and ${server} asks ${user} for one.`,
    where: connection.definedBy,
    why: 'Neither the connection nor PGPASSWORD nor the password file (PGPASSFILE, ~/.pgpass) has one.',
    fix: 'Add it in one of these places; the password file must have mode 0600.',
  });
}

/** The SQLSTATE or Node's code of an error, or an empty string. */
export function getCode(error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : '';
}

interface Words {
  readonly server: string;
  readonly user: string;
  readonly database: string;
}

function describeInWords({
  host = 'localhost',
  port = 5432,
  login = '',
  database = login,
}: Connection): Words {
  const server = host.startsWith('/') ? `${host}/.s.PGSQL.${port}` : `${host}:${port}`;
  return { server, user: `user "${login}"`, database: `database "${database}"` };
}

type Reason = (words: Words, message: string) => readonly [what: string, why: string, fix: string];

const explainNoAnswer: Reason = ({ server }) => [
  `got no answer from ${server}`,
  'Packets to it get lost: a firewall, a security group or a VPN that is off, most often.',
  'Try the same host and port from this machine with another client.',
];
const explainUnknownHost: Reason = ({ server }) => [
  `names a host that can't be found: ${server}`,
  'The name does not resolve on this machine.',
  'Check its spelling, and that this machine uses the right DNS.',
];
const explainUnusableSocket: Reason = ({ server }, message) => [
  `can't use the socket ${server}`,
  message,
  'Is the server up on this machine, and is this the directory of its unix_socket_directories?',
];

/** By SQLSTATE, or by the code of Node's error. https://www.postgresql.org/docs/current/errcodes-appendix.html */
const REASONS: Readonly<Record<string, Reason>> = {
  ECONNREFUSED: ({ server }) => [
    `was refused by ${server}`,
    'Nothing listens there.',
    'Is the server up, and are host and port right?',
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
    'The password is wrong, or there is no such user.',
    'Check user and password where the connection is defined.',
  ],
  '28000': ({ server, user }, message) => [
    `was refused by ${server} as ${user}`,
    message,
    'The pg_hba.conf of the server has to let this user in from this machine, with or without TLS (sslmode).',
  ],
  '3D000': ({ server, database }) => [
    `names a ${database} that ${server} does not have`,
    'The server let the user in, and has no database of this name.',
    'Check its spelling (case counts), or create it.',
  ],
  '42501': ({ server, user, database }, message) => [
    `may not open ${database} on ${server} as ${user}`,
    message,
    'Grant CONNECT on the database to this user.',
  ],
  '53300': ({ server }, message) => [
    `found no free session on ${server}`,
    message,
    'End sessions that are not needed, lower the concurrency, or raise max_connections.',
  ],
  '57P03': ({ server }, message) => [
    `is not served yet by ${server}`,
    message,
    'The server starts, stops or recovers: try again in a minute.',
  ],
};

function describeOtherReason(code: string): Reason {
  // OpenSSL's names of what is wrong with a certificate, and Node's own.
  const certificate = /^ERR_TLS|CERT|SIGNATURE|^CRL_|^HOSTNAME_MISMATCH$/.test(code);
  if (certificate) {
    return ({ server }, message) => [
      `does not trust the certificate of ${server}`,
      message,
      'Give the authority that signed it as sslrootcert (sslmode=verify-ca leaves the name unchecked).',
    ];
  }
  return ({ server }, message) => [
    `could not be opened on ${server}`,
    message,
    'Check host, port and sslmode, and the log of the server.',
  ];
}

function getMessage(error: unknown): string {
  return error instanceof Error && error.message !== '' ? error.message : String(error);
}
