/** The fields of PostgreSQL's error that the runtime reads. https://www.postgresql.org/docs/current/protocol-error-fields.html */
export interface DatabaseError extends Error {
  /** SQLSTATE, five characters. */
  readonly code: string;
  readonly severity?: string;
  readonly detail?: string;
  readonly hint?: string;
  /** In characters, from 1, in the text of the statement. */
  readonly position?: string;
  /** The context, such as the line and column of a COPY. */
  readonly where?: string;
  readonly table?: string;
  readonly column?: string;
  readonly constraint?: string;
  /** Of PostgreSQL's source, that raised it. */
  readonly routine?: string;
}

/** PostgreSQL's names for the states that tasks meet. https://www.postgresql.org/docs/current/errcodes-appendix.html */
const NAMES: Readonly<Record<string, string>> = {
  '22001': 'string too long for its column',
  '22003': 'number out of range',
  '22007': 'not a date or time',
  '22008': 'date or time out of range',
  '22012': 'division by zero',
  '22021': 'character not in the encoding',
  '22023': 'invalid parameter value',
  '22P02': 'not a value of the type',
  '22P04': 'bad COPY file format',
  '22P05': 'character that the encoding can not hold',
  '23502': 'not-null violation',
  '23503': 'foreign key violation',
  '23505': 'unique violation',
  '23514': 'check violation',
  '25006': 'read-only transaction',
  '25P02': 'transaction already aborted',
  '25P03': 'idle in transaction for too long',
  '28000': 'not allowed to connect',
  '28P01': 'wrong password',
  '40001': 'serialization failure',
  '40P01': 'deadlock',
  '42501': 'insufficient privilege',
  '42601': 'syntax error',
  '42703': 'undefined column',
  '42804': 'wrong data type',
  '42883': 'undefined function',
  '42P01': 'undefined table',
  '42P07': 'table exists already',
  '53100': 'disk full on the server',
  '53200': 'out of memory on the server',
  '53300': 'too many connections',
  '55P03': 'lock not available',
  '57014': 'statement cancelled',
  '57P01': 'terminated by an administrator',
  '57P02': 'server crash',
  '57P03': 'server is starting up or shutting down',
  P0001: 'raised by a function',
};

/** `SQLSTATE 42P01, undefined table`. */
export function describeState(code: string): string {
  const name = NAMES[code];
  return name === undefined ? `SQLSTATE ${code}` : `SQLSTATE ${code}, ${name}`;
}

/** The server's error inside an error: itself, or what Objection or a caller has wrapped around it. */
export function findDatabaseError(error: unknown): DatabaseError | undefined {
  let current: unknown = error;
  for (let depth = 0; depth < 5 && typeof current === 'object' && current !== null; depth++) {
    const { code, nativeError, cause } = current as {
      code?: unknown;
      nativeError?: unknown;
      cause?: unknown;
    };
    if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && 'severity' in current)
      return current as DatabaseError;
    current = nativeError ?? cause;
  }
  return undefined;
}

/** True for states in which the server ended the connection: 08 and 57P01 to 57P05. */
function isConnectionState(code: string): boolean {
  return code.startsWith('08') || code.startsWith('57P');
}

/** An error's SQLSTATE, and the routine that raised it. */
type ErrorOrigin = Pick<DatabaseError, 'routine'> & { readonly code?: unknown };

/**
 * True for a statement that came with fewer or more values than it has parameters. A pooler uses its state, 08P01, for its
 * last word before it closes a connection; only PostgreSQL names a routine.
 */
export function isMalformed({ code, routine }: ErrorOrigin): boolean {
  return code === '08P01' && routine !== undefined;
}

/** True for a statement that was refused because one before it had failed. */
export function isAborted(error: unknown): boolean {
  return findDatabaseError(error)?.code === '25P02';
}

/** True for an error after which the server has closed the connection: of the states above, and its own timeouts. */
export function isConnectionEnd(error: ErrorOrigin): boolean {
  const { code } = error;
  if (typeof code !== 'string' || isMalformed(error)) return false;
  return isConnectionState(code) || code === '25P03' || code === '25P04' || code === '28000';
}

const SOCKET_CODES: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'EPIPE',
  'ECONNREFUSED',
  'ETIMEDOUT',
  'ENOTFOUND',
]);

/** True for an error that the loss of a connection has made: of the server, of the driver, or of the socket. */
export function isConnectionLoss(error: Error & ErrorOrigin): boolean {
  const { code, message } = error;
  if (isMalformed(error)) return false;
  if (typeof code === 'string' && (isConnectionState(code) || SOCKET_CODES.has(code))) return true;
  // The driver has no code for these.
  return /Connection terminated|not queryable|connection was closed/.test(message);
}
