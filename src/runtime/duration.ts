import { EtlError } from '../errors.js';
import { showValue } from './json.js';

const MS_OF_UNITS = [86_400_000, 3_600_000, 60_000, 1000, 1] as const;
/**
 * Matches a duration. The groups are the numbers of days, hours, minutes, seconds and milliseconds, in the order of
 * `MS_OF_UNITS`.
 */
const DURATION = /^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/;
const MAX_DAYS = 30;

/** A time span: `'500ms'`, `'10m'`, `'1h30m'`, or a number of milliseconds. */
export type Duration = string | number;

/**
 * Returns the milliseconds of `500ms`, `5s`, `10m`, `2h`, `1d` or `1h30m` (larger units first). A number is a number of
 * milliseconds. `name` is the name of the option, for the error message.
 *
 * Throws `EtlError` ETL-2303 if the duration is not more than 0 and at most 30 days. 30 days are more than one timer of
 * Node can wait (24.8 days).
 */
export function parseDuration(value: string | number, name: string): number {
  const ms = typeof value === 'number' ? value : parseMilliseconds(value);
  if (ms === undefined || !Number.isFinite(ms))
    throw createNotADurationError(value, name, 'a duration such as "10m"');
  if (ms <= 0) throw createNotADurationError(value, name, 'a duration of more than 0');
  if (ms > MAX_DAYS * MS_OF_UNITS[0]) throw createNotADurationError(value, name, `at most ${MAX_DAYS} days`);
  return ms;
}

/** Returns a duration in milliseconds as text for people: `0.04s`, `12.3s`, `3m 05s`, `1h 02m`. */
export function formatDuration(ms: number): string {
  const seconds = ms / 1000;
  // The limits are where rounding would give the next form: 0.095 s is `0.1s`, not `0.10s`, and 59.95 s is `1m 00s`,
  // not `60.0s`.
  if (seconds < 0.095) return `${seconds.toFixed(2)}s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)}s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${formatTwoDigits(whole % 60)}s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)}h ${formatTwoDigits(minutes % 60)}m`;
}

/**
 * Returns the milliseconds of a duration such as `1h30m`. Returns undefined if `text` is not a duration: an empty text,
 * a text such as `soon`, or a value of another type.
 */
function parseMilliseconds(text: unknown): number | undefined {
  const units = typeof text === 'string' && text !== '' ? DURATION.exec(text)?.slice(1) : undefined;
  return units?.reduce((sum, digits, unit) => sum + Number(digits ?? 0) * (MS_OF_UNITS[unit] ?? 0), 0);
}

/** Creates the error ETL-2303 for the option `name`. `expected` says what the value has to be. */
function createNotADurationError(value: unknown, name: string, expected: string): EtlError {
  return new EtlError('ETL-2303', {
    what: `expected \`${name}\` to be ${expected}, got ${showValue(value)}`,
    fix: 'write whole numbers with units, such as "500ms", "5s", "10m", "2h", "1d" or "1h30m", or a number of milliseconds without quotes',
  });
}

function formatTwoDigits(value: number): string {
  return String(value).padStart(2, '0');
}
