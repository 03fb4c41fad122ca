import { inspect, types } from 'node:util';
import { cutText } from './runtime/secrets/secrets.js';

/** Every exit code of `etl`. The codes are a contract with cron and CI, and no setting changes them. */
export const EXIT = {
  success: 0,
  taskFailed: 1,
  usage: 2,
  checkFailed: 3,
  unreachable: 69,
  bug: 70,
  output: 74,
  locked: 75,
  timeout: 124,
  killed: 137,
} as const;

/**
 * A published error code. A code never changes its meaning. The first two digits of the code decide the exit code:
 * 10: database unreachable. 20: usage. 21: config. 22: connection. 23: Dag. 24: params. 30: task. 31: check.
 * 32: transaction. 33: timeout or stop. 34: result. 35: load. 36: unload. 37: watermark. 40: ledger. 75: lock.
 * 90: a bug of etl.
 */
export type ErrorCode = `ETL-${number}`;

/** The exit code by the first two digits of an error code. All other errors exit with `EXIT.taskFailed`. */
const EXIT_OF_CLASS: Readonly<Record<string, number>> = {
  '10': EXIT.unreachable,
  '20': EXIT.usage,
  '21': EXIT.usage,
  '22': EXIT.usage,
  '23': EXIT.usage,
  '24': EXIT.usage,
  '31': EXIT.checkFailed,
  '40': EXIT.usage,
  '75': EXIT.locked,
  '90': EXIT.bug,
};

/** The error codes whose exit code differs from the exit code of their class. */
const EXIT_OF_CODE: Readonly<Record<string, number>> = { 'ETL-3303': EXIT.timeout };

/** The parts of an error that a user reads, in the order of the report. */
export interface ErrorParts {
  /** What failed, and on which thing of the user: one clause without a password. */
  readonly what: string;
  /** The file with line and column, the task, the SQL position, or the COPY line. */
  readonly where?: string | undefined;
  /** The cause in words, with the SQLSTATE if the server reported one. */
  readonly why?: string | undefined;
  /** What the user should do next. */
  readonly fix?: string | undefined;
  /** The state of the user's data after the error. */
  readonly data?: string | undefined;
  /**
   * Values of rows that explain the error, such as a key that exists twice. No other part contains values of rows.
   * This part is shown and stored only where row data is allowed (`showData` in the config).
   */
  readonly rowData?: string | undefined;
  /** The check that has failed. */
  readonly check?: FailedCheck | undefined;
  /** The error or value that caused this error, for `Error.cause`. */
  readonly cause?: unknown;
}

/**
 * An error that a user can act on. Any other error that reaches the command line is a bug of etl and is shown with its
 * stack.
 */
export class EtlError extends Error {
  override readonly name = 'EtlError';
  readonly code: ErrorCode;
  /** The failure. Knex puts its SQL before `message` of every error that passes through it, so `what` is a field of its own. */
  readonly what: string;
  readonly where: string | undefined;
  readonly why: string | undefined;
  readonly fix: string | undefined;
  readonly data: string | undefined;
  readonly rowData: string | undefined;
  readonly check: FailedCheck | undefined;

  constructor(code: ErrorCode, parts: ErrorParts) {
    super(parts.what, parts.cause === undefined ? undefined : { cause: parts.cause });
    this.code = code;
    this.what = parts.what;
    this.where = parts.where;
    this.why = parts.why;
    this.fix = parts.fix;
    this.data = parts.data;
    this.rowData = parts.rowData;
    this.check = parts.check;
  }

  /** The exit code of a command that ends with this error. */
  get exitCode(): number {
    return EXIT_OF_CODE[this.code] ?? EXIT_OF_CLASS[this.code.slice(4, 6)] ?? EXIT.taskFailed;
  }
}

/** A check that has found rows. Its fields are in JSON and in the ledger. */
export interface FailedCheck {
  readonly name: string;
  /** The number of rows, counted up to 100,000. Undefined if they could not be counted in time. */
  readonly rows: number | undefined;
  /** The columns of the query of the check. */
  readonly columns: readonly string[];
}

/** An error or a value that caused another error, with its own causes. Contains no values of rows. */
export interface ErrorCause {
  /** The class of the error, or the code of one of our own errors. */
  readonly name?: string;
  readonly message: string;
  /** The code of the error, such as `ECONNREFUSED` or a SQLSTATE. */
  readonly code?: string;
  readonly causes?: readonly ErrorCause[];
}

/** The JSON fields of an error. The names are a contract. */
export interface ErrorFields {
  readonly code: string;
  readonly what: string;
  readonly where?: string | undefined;
  readonly why?: string | undefined;
  readonly fix?: string | undefined;
  readonly data?: string | undefined;
  /** The check that has failed. */
  readonly check?: FailedCheck | undefined;
  /** The errors that caused this error. Absent if there are none that say more. */
  readonly causes?: readonly ErrorCause[] | undefined;
  /** Values of rows. Present only where row data is allowed. */
  readonly row_data?: string | undefined;
}

/**
 * Returns `; did you mean "x"?` for the nearest of `names`, without regard to case. Returns an empty string if no name
 * is near enough. A name is near if at most a third of its letters differ; in short names, two letters may differ.
 */
export function didYouMean(name: string, names: Iterable<string>): string {
  let nearest: string | undefined;
  // A name is near if its distance is less than `leastDistance`. At the start, no name has been found yet.
  let leastDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of names) {
    const distance = computeEditDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < leastDistance) [nearest, leastDistance] = [candidate, distance];
  }
  return nearest === undefined ? '' : `; did you mean "${nearest}"?`;
}

/**
 * Returns how many edits turn one string into the other: the Levenshtein distance, in which a swap of two neighbouring
 * characters also counts as one edit. Example: `lits` and `list` -> 1.
 * https://en.wikipedia.org/wiki/Damerau–Levenshtein_distance
 */
function computeEditDistance(a: string, b: string): number {
  // `rows[i][j]` is the distance of the first `i` characters of `a` and the first `j` characters of `b`.
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  const at = (i: number, j: number): number => rows[i]?.[j] ?? Infinity;
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : Infinity;
      row.push(Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + cost, swapped));
    }
  }
  return at(a.length, b.length);
}

/** The maximum length of a thrown value in a message, in UTF-16 units. */
const THROWN_LIMIT = 1000;
const UNREADABLE = 'an object that can not be read';

/**
 * Returns a thrown `Error` as it is, also an error of another realm, such as a `vm` context. Wraps any other thrown value
 * in an `EtlError` ETL-3004. The fields of a thrown object can be values of a row, so they become `rowData`.
 */
export function toError(thrown: unknown): Error {
  if (isReadableError(thrown)) return thrown;
  const isObject = typeof thrown === 'object' && thrown !== null;
  const text = thrown === null || thrown === undefined ? '' : `: ${describeThrown(thrown)}`;
  return new EtlError('ETL-3004', {
    what: `the task threw ${describeType(thrown)} instead of an Error${text}`,
    fix: 'throw new Error(…)',
    rowData: isObject ? inspectSafely(thrown) : undefined,
    cause: thrown,
  });
}

/** Returns true for an error of any realm whose name, message and stack can be read. A class of the user may forbid it. */
function isReadableError(thrown: unknown): thrown is Error {
  try {
    if (!(thrown instanceof Error) && !types.isNativeError(thrown)) return false;
    void thrown.stack;
    return typeof thrown.message === 'string' && typeof thrown.name === 'string';
  } catch {
    return false; // A getter of the user threw, so no message can be read.
  }
}

/**
 * Returns the message of a thrown error or of a thrown object with a message, and any other thrown value as text. Never
 * throws. Of an object without a message, only the names of its fields are returned, because their values can be values
 * of a row.
 */
export function describeThrown(thrown: unknown): string {
  if (typeof thrown !== 'object' || thrown === null) return inspectSafely(thrown);
  try {
    const { message } = thrown as { message?: unknown };
    if (typeof message === 'string') return cutText(message, THROWN_LIMIT);
    return cutText(`{ ${Object.keys(thrown).join(', ')} }`, THROWN_LIMIT);
  } catch {
    return UNREADABLE; // A getter or a proxy of the user threw.
  }
}

/** Returns the type of a thrown value with its article: `a string`, `an object`. `null` and `undefined` are names. */
function describeType(thrown: unknown): string {
  if (thrown === null || thrown === undefined) return String(thrown);
  return `${typeof thrown === 'object' ? 'an' : 'a'} ${typeof thrown}`;
}

/** Returns a value as text. Never throws. */
function inspectSafely(value: unknown): string {
  if (typeof value === 'string') return cutText(value, THROWN_LIMIT);
  try {
    const options = { depth: 3, customInspect: false, getters: false };
    return cutText(inspect(value, options), THROWN_LIMIT);
  } catch {
    return UNREADABLE; // A getter or a proxy of the user threw.
  }
}
