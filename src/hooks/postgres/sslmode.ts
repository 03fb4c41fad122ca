import type { EtlError } from '../../errors.js';
import { didYouMean } from '../../errors.js';
import { badValue, type Setting } from './setting.js';

const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;

/** With libpq's meaning, which the driver's own differs from. */
export type SslMode = (typeof MODES)[number];

/** `prefer` when nothing is said; the authorities of the system are only trusted with `verify-full`. */
export function readSslMode(found: Setting | undefined, rootcert: string | undefined): SslMode {
  if (!found) return rootcert === 'system' ? 'verify-full' : 'prefer';
  const mode = MODES.find((name) => name === found.text);
  if (!mode) throw unknownMode(found);
  if (rootcert === 'system' && mode !== 'verify-full') {
    const why = 'A certificate of any public authority would be accepted for any host.';
    throw badValue(found, why, 'Write sslmode=verify-full with sslrootcert=system.');
  }
  return mode;
}

function unknownMode(found: Setting): EtlError {
  const fix = `Use one of: ${MODES.join(', ')}.`;
  if (found.text === 'no-verify') {
    return badValue(
      found,
      'PostgreSQL knows no sslmode "no-verify".',
      'Write sslmode=require, which means the same.',
    );
  }
  return badValue(found, `PostgreSQL knows no such sslmode${didYouMean(found.text, MODES)}`, fix);
}
