/** Every exit code of `etl`: a contract with cron and CI, never configurable. */
export const EXIT = {
  success: 0,
  taskFailed: 1,
  usage: 2,
  checkFailed: 3,
  unreachable: 69,
  bug: 70,
  locked: 75,
  timeout: 124,
} as const;

/**
 * The published error codes. A code never changes its meaning; its first two digits decide the exit code.
 * 10: database unreachable. 20: usage. 21: config. 22: connection. 23: Dag. 24: params. 30: task. 31: check.
 * 32: transaction. 33: timeout or stop. 34: result. 35: load. 36: unload. 37: watermark. 40: ledger. 75: lock. 90: a bug of ours.
 */
export type ErrorCode = `ETL-${number}`;

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

/** Codes with an exit code of their own. */
const EXIT_OF_CODE: Readonly<Record<string, number>> = { 'ETL-3303': EXIT.timeout };

/** The parts of an error that a user reads, in the order in which they are shown. */
export interface ErrorParts {
  /** What failed and on what: one sentence, never a credential. */
  readonly what: string;
  /** File, line and column, task, SQL position, or COPY line. */
  readonly where?: string | undefined;
  /** The cause in words, with the SQLSTATE where there is one. */
  readonly why?: string | undefined;
  /** What the user does next. */
  readonly fix?: string | undefined;
  /** The state that the user's data is in now. */
  readonly data?: string | undefined;
  readonly cause?: unknown;
}

/** An error that a user can act on. Anything else that is thrown is a bug of ours and keeps its stack. */
export class EtlError extends Error {
  override readonly name = 'EtlError';
  readonly code: ErrorCode;
  readonly where: string | undefined;
  readonly why: string | undefined;
  readonly fix: string | undefined;
  readonly data: string | undefined;

  constructor(code: ErrorCode, parts: ErrorParts) {
    super(parts.what, parts.cause === undefined ? undefined : { cause: parts.cause });
    this.code = code;
    this.where = parts.where;
    this.why = parts.why;
    this.fix = parts.fix;
    this.data = parts.data;
  }

  /** The exit code of a command that ends with this error. */
  get exitCode(): number {
    return EXIT_OF_CODE[this.code] ?? EXIT_OF_CLASS[this.code.slice(4, 6)] ?? EXIT.taskFailed;
  }
}

/** `; did you mean "x"?` for the nearest of `names`, or an empty string when none is near. */
export function didYouMean(name: string, names: Iterable<string>): string {
  let nearest: string | undefined;
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of names) {
    const distance = computeEditDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < least) [nearest, least] = [candidate, distance];
  }
  return nearest === undefined ? '' : `; did you mean "${nearest}"?`;
}

/** Levenshtein distance, where a swap of two neighbours counts as one edit. */
function computeEditDistance(a: string, b: string): number {
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

/** The error as an `Error`, whatever was thrown. */
export function toError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  return new EtlError('ETL-3004', {
    what: `the task threw ${thrown === undefined ? 'undefined' : `a ${typeof thrown}`} instead of an Error`,
    fix: 'throw new Error(…)',
    cause: thrown,
  });
}

/** What was thrown, for a message: an error's message, or the value itself as text. */
export function describeThrown(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
