import { EtlError, didYouMean } from '../../errors.js';

const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;

/** A libpq `sslmode`, with libpq's meaning. The driver's `sslmode` values differ in meaning. */
export type SslMode = (typeof MODES)[number];

/**
 * Returns the sslmode of a setting. The default is `prefer`, or `verify-full` with `sslrootcert=system`. Throws
 * ETL-2206 for an unknown mode, and for `sslrootcert=system` with a weaker mode than `verify-full`.
 */
export function readSslMode(found: Setting | undefined, rootcert: string | undefined): SslMode {
  if (!found) return rootcert === 'system' ? 'verify-full' : 'prefer';
  const mode = MODES.find((name) => name === found.text);
  if (!mode) throw createUnknownModeError(found);
  if (rootcert === 'system' && mode !== 'verify-full') {
    const why = 'a certificate of any public authority would be accepted for any host';
    throw createBadValueError(found, why, 'write sslmode=verify-full with sslrootcert=system');
  }
  return mode;
}

/** Creates ETL-2206 for an unknown sslmode. `no-verify`, which only the driver pg knows, has its own explanation. */
function createUnknownModeError(found: Setting): EtlError {
  const fix = `use one of: ${MODES.join(', ')}`;
  if (found.text === 'no-verify') {
    return createBadValueError(
      found,
      'PostgreSQL has no sslmode "no-verify"',
      'write sslmode=require, which means the same',
    );
  }
  return createBadValueError(found, `PostgreSQL has no such sslmode${didYouMean(found.text, MODES)}`, fix);
}

/** The value of an option or a variable. */
export interface Setting {
  readonly text: string;
  /** The option or variable that the user set: `sslmode` or `PGSSLMODE`. */
  readonly name: string;
  /** What defines the value, for messages: a `Connection.definedBy`, or `the environment`. */
  readonly where: string;
}

/** Creates an ETL-2206 for a value that makes no sense. The error does not show the value, which can be a secret. */
export function createBadValueError(
  { name, where }: Omit<Setting, 'text'>,
  why: string,
  fix: string,
): EtlError {
  return new EtlError('ETL-2206', { what: `the value of "${name}" can't be used`, where, why, fix });
}
