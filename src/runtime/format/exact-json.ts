import { ExactNumber } from '../postgres/exact-number.js';

/** Matches if a number may have more digits than a double holds: it has 16 or more digits, or an exponent. */
const MAY_BE_INEXACT = /\d[\d.]{15,}|\d[eE]/;
const WHOLE = /^-?\d+$/;
/** Matches a string or a number. Group 1 is the colon after the string, if the string is the name of a property. */
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"(\s*:)?|-?\d[\d.eE+-]*/g;

/**
 * Parses JSON as `JSON.parse` does, but changes no number. A whole number that a double would change becomes a
 * `bigint`. Any other number that a double would change becomes an `ExactNumber`. Example: `{"id":9007199254740993}`
 * gives `{ id: 9007199254740993n }`.
 *
 * Throws a `SyntaxError` if the text is not JSON.
 */
export function parseExact(text: string): unknown {
  if (!MAY_BE_INEXACT.test(text)) return JSON.parse(text);
  const value: unknown = JSON.parse(text);
  const inexact: string[] = [];
  // Every string value gets the prefix `s`. A number that a double would change becomes a string with the prefix `n`.
  // So the second parse below can tell numbers from strings.
  const marked = text.replace(STRING_OR_NUMBER, (token: string, colon: string | undefined) => {
    if (colon !== undefined) return token;
    if (token.startsWith('"')) return `"s${token.slice(1)}`;
    if (isExact(token)) return token;
    inexact.push(token);
    return `"n${token}"`;
  });
  if (inexact.length === 0) return value;
  return JSON.parse(marked, (_name, part: unknown) => {
    if (typeof part !== 'string') return part;
    return part.startsWith('s') ? part.slice(1) : toExactNumber(part.slice(1));
  });
}

/**
 * Returns a number that a double would change as a `bigint` (`9007199254740993`) or as an `ExactNumber`
 * (`0.12345678901234567890`).
 */
function toExactNumber(token: string): bigint | ExactNumber {
  return WHOLE.test(token) ? BigInt(token) : new ExactNumber(token);
}

/**
 * Returns true if `JSON.parse` and writing the number again keep its value: true for `1.50`, false for
 * `9007199254740993`, `1e999` and `1000000000000000000000`.
 */
function isExact(token: string): boolean {
  const value = Number(token);
  const written = String(value);
  // JavaScript writes whole numbers from 1e21 with an exponent. A text column would then store the exponent.
  if (WHOLE.test(token) && !WHOLE.test(written)) return false;
  return Number.isFinite(value) && normalizeDigits(token) === normalizeDigits(written);
}

/**
 * Writes a number as its significant digits and an exponent, without its sign. Texts of the same value give the same
 * result: `1.50e2` and `150` both give `15e3`.
 */
function normalizeDigits(token: string): string {
  const [, whole = '', fraction = '', exponent = '0'] =
    /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(token) ?? [];
  const all = whole + fraction;
  // Without the leading zeros the value is `0.<digits>` times ten to the power of the exponent below.
  const digits = all.replace(/^0+/, '');
  if (digits === '') return '0';
  return `${digits.replace(/0+$/, '')}e${whole.length - (all.length - digits.length) + Number(exponent)}`;
}
