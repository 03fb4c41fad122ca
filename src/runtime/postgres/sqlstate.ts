/**
 * The fields of an error of the server that the runtime reads.
 * https://www.postgresql.org/docs/current/protocol-error-fields.html
 */
export interface DatabaseError extends Error {
  /** The SQLSTATE, five characters. */
  readonly code: string;
  readonly severity?: string;
  readonly detail?: string;
  readonly hint?: string;
  /** The position in the text of the statement: in characters, from 1. */
  readonly position?: string;
  /** The context, such as the line and column of a COPY. */
  readonly where?: string;
  readonly table?: string;
  readonly column?: string;
  readonly constraint?: string;
  /** The name of a type. */
  readonly dataType?: string;
  /** The function in PostgreSQL's source code that raised the error. */
  readonly routine?: string;
}

/**
 * Plain names of the SQLSTATEs that tasks meet.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
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
  '25001': 'not possible in a transaction',
  '25006': 'read-only transaction',
  '25P02': 'transaction already aborted',
  '08P01':
    'if a pooler ended the connection (query_wait_timeout), make its pool larger or lower --concurrency: a run needs one connection to the server for its lock, and one for each task that runs at once',
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
  '57P01': 'ended by an administrator or by a shutdown of the server',
  '57P02': 'server crash',
  '57P03': 'server is starting up or shutting down',
  P0001: 'raised by a function',
};

/** Formats a SQLSTATE with its name, for example `SQLSTATE 42P01, undefined table`. */
export function describeState(code: string): string {
  const name = NAMES[code];
  return name === undefined ? `SQLSTATE ${code}` : `SQLSTATE ${code}, ${name}`;
}

/** The advice about a value that its column can't hold. */
const WRONG_VALUE =
  'correct the value (--show-data shows it); a load can change values (the option `transform`) or set such rows aside (the option `rejects`)';
/** The advice about a row that a constraint refuses. */
const WRONG_ROW = 'correct the row (--show-data shows it), or leave it out';

/** The advice for an error of the server that sends no hint, by SQLSTATE. */
const FIXES: Readonly<Record<string, string>> = {
  '22P02': WRONG_VALUE,
  '22003': WRONG_VALUE,
  '22007': WRONG_VALUE,
  '22008': WRONG_VALUE,
  '22001': WRONG_VALUE,
  '23502': `${WRONG_ROW}; or let the column have a default`,
  '23503': `${WRONG_ROW}; or write the row that it refers to before`,
  '23505': `${WRONG_ROW}; or let the new row replace the row with the same key: in SQL \`on conflict … do update\`, in a load \`mode: 'merge'\``,
  '23514': WRONG_ROW,
  '22P05':
    'the database has an encoding without this character: replace the character, or use a database with the encoding UTF8',
  '22021':
    'the file is probably not UTF-8: name its encoding in the task, such as `encoding: "windows-1252"`',
  '25006':
    'if the server is a standby, connect to the primary server (target_session_attrs=read-write chooses it); otherwise turn off default_transaction_read_only of the role, the database or the connection',
  '25P03': 'send the next statement sooner, or raise idle_in_transaction_session_timeout of the role',
  '28P01':
    'check the user and the password: the password is in the URL of the connection, else in PGPASSWORD or the password file',
  '40P01':
    'let every transaction change these rows in the same order; if the other process runs a task of the same Dag, order the two tasks with the option `needs`',
  '42601': 'correct the SQL: the mistake is at the marked word or just before it',
  '42703': 'correct the name of the column in the statement',
  '42P01': 'correct the name of the table in the statement, or create the table',
  '42883': 'correct the name of the function, or the types of its arguments',
  '42501': 'grant the right to the role of the connection, or use another role',
  '53100': 'free space on the disk of the server, and resume the run',
  '53200': 'let the statement use less memory (work_mem), or read and write fewer rows at once',
  '53300':
    'end connections that are not needed, raise the limit that the server names, or lower --concurrency: a run needs 1 connection for its lock, and 1 for each task that runs at once',
  '55P03':
    'find who holds the lock: select pid, state, query from pg_stat_activity where pid = any (pg_blocking_pids(<pid>)); the wait is limited to 30 s',
  '57014': 'raise the statement_timeout of the role or of the task, or find who cancelled the statement',
  '57P01':
    'the log of the server tells why the session ended; resume the run when the server is up, or set the option `retries` of the task, so that etl repeats the task',
  '25001':
    'a statement such as VACUUM, CREATE INDEX CONCURRENTLY or CREATE DATABASE runs outside of a transaction only: send it in a `d.task` on a client of your own, where it runs at least once',
};

/**
 * Returns what to do about a SQLSTATE, if that is known, and the server's hint. The hint of a deadlock is left out: it is
 * the log of the server, which a user often can't read.
 */
export function adviseFix(code: string, hint: string | undefined): string | undefined {
  const fix = FIXES[code];
  if (hint === undefined || code === '40P01') return fix;
  return fix === undefined ? hint : `${fix}\nhint of the server: ${hint}`;
}

/** The maximum number of errors around the error of the server. The limit also ends a circle of causes. */
const MAX_DEPTH = 5;

/**
 * Finds the error of the server: the given error itself, or the error that it wraps. Objection wraps an error as its
 * `nativeError`, other code as its `cause`. Returns undefined if no error of the server is found.
 */
export function findDatabaseError(error: unknown): DatabaseError | undefined {
  let current: unknown = error;
  try {
    for (let depth = 0; depth < MAX_DEPTH && typeof current === 'object' && current !== null; depth++) {
      const { code, nativeError, cause } = current as {
        code?: unknown;
        nativeError?: unknown;
        cause?: unknown;
      };
      // Errors of the system, such as EPIPE, also have a code of five letters, but only the server sends a severity.
      if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && 'severity' in current)
        return current as DatabaseError;
      current = nativeError ?? cause;
    }
  } catch {
    // A getter or a proxy of the user threw, so this object is not an error of the server.
  }
  return undefined;
}

/** Returns true for the SQLSTATEs after which the connection is closed: class 08 and 57P01 to 57P05. */
function isConnectionState(code: string): boolean {
  return code.startsWith('08') || code.startsWith('57P');
}

/** The fields that tell an error of PostgreSQL from an error of a pooler. */
type ErrorFields = Pick<DatabaseError, 'routine'> & { readonly code?: unknown };

/**
 * Returns true if the number of values of a statement differs from the number of its parameters. PostgreSQL reports
 * this as 08P01 and keeps the connection open. A pooler sends the same SQLSTATE as its last message before it closes
 * the connection. The two are told apart by `routine`, which only PostgreSQL sends.
 */
export function isWrongValueCount({ code, routine }: ErrorFields): boolean {
  return code === '08P01' && routine !== undefined;
}

/**
 * Returns true if the server closes the connection after this error: a SQLSTATE of a lost connection, a timeout of
 * the session (25P03, 25P04), or a refused login (28000).
 */
export function isConnectionEnd(error: ErrorFields): boolean {
  const { code } = error;
  if (typeof code !== 'string' || isWrongValueCount(error)) return false;
  return isConnectionState(code) || code === '25P03' || code === '25P04' || code === '28000';
}

const SOCKET_CODES = new Set(['ECONNRESET', 'EPIPE', 'ECONNREFUSED', 'ETIMEDOUT', 'ENOTFOUND']);

/**
 * Returns true if the error is caused by the loss of a connection. The error can come from the server, the driver or
 * the socket.
 */
export function isConnectionLoss(error: Error & ErrorFields): boolean {
  const { code, message } = error;
  if (isWrongValueCount(error)) return false;
  if (typeof code === 'string' && (isConnectionState(code) || SOCKET_CODES.has(code))) return true;
  // These errors of the driver have no code.
  return /Connection terminated|not queryable|connection was closed/.test(message);
}
