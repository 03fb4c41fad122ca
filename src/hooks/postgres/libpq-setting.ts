import { EtlError, didYouMean } from '../../errors.js';

const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;

/** With libpq's meaning, which the driver's own differs from. */
export type SslMode = (typeof MODES)[number];

/** `prefer` when nothing is said; the authorities of the system are only trusted with `verify-full`. */
export function readSslMode(found: Setting | undefined, rootcert: string | undefined): SslMode {
  if (!found) return rootcert === 'system' ? 'verify-full' : 'prefer';
  const mode = MODES.find((name) => name === found.text);
  if (!mode) throw createUnknownModeError(found);
  if (rootcert === 'system' && mode !== 'verify-full') {
    const why = 'A certificate of any public authority would be accepted for any host.';
    throw createBadValueError(found, why, 'Write sslmode=verify-full with sslrootcert=system.');
  }
  return mode;
}

function createUnknownModeError(found: Setting): EtlError {
  const fix = `Use one of: ${MODES.join(', ')}.`;
  if (found.text === 'no-verify') {
    return createBadValueError(
      found,
      'PostgreSQL knows no sslmode "no-verify".',
      'Write sslmode=require, which means the same.',
    );
  }
  return createBadValueError(found, `PostgreSQL knows no such sslmode${didYouMean(found.text, MODES)}`, fix);
}

/** A value, the name that the user gave it under, and where that is. */
export interface Setting {
  readonly text: string;
  readonly name: string;
  readonly where: string;
}

/** The error for a value that makes no sense. It does not show the value: nothing says that it is no secret. */
export function createBadValueError(
  { name, where }: Omit<Setting, 'text'>,
  why: string,
  fix: string,
): EtlError {
  return new EtlError('ETL-2206', { what: `The value of "${name}" can't be used.`, where, why, fix });
}
