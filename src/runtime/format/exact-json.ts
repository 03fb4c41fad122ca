import { ExactNumber } from '../copy/exact-number.js';

/** Only a number as long as this, or with an exponent, can have more digits than a double holds. */
const MAY_BE_INEXACT = /\d[\d.]{15,}|\d[eE]/;
const WHOLE = /^-?\d+$/;
/** A string, with what says that it is the name of a property; or a number. */
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"(\s*:)?|-?\d[\d.eE+-]*/g;

/**
 * `JSON.parse` that changes no number: a whole one beyond 2^53 becomes a `bigint`, and a decimal with more digits than a
 * double holds an `ExactNumber`. Throws a `SyntaxError`.
 */
export function parseExact(text: string): unknown {
  if (!MAY_BE_INEXACT.test(text)) return JSON.parse(text);
  const value: unknown = JSON.parse(text);
  const inexact: string[] = [];
  // Strings get an `s` in front and such numbers become strings with an `n`, so that no string is taken for a number.
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

function toExactNumber(token: string): bigint | ExactNumber {
  return WHOLE.test(token) ? BigInt(token) : new ExactNumber(token);
}

function isExact(token: string): boolean {
  const value = Number(token);
  const written = String(value);
  // A whole number from 1e21 on is written with an exponent, which a column of text would keep.
  if (WHOLE.test(token) && !WHOLE.test(written)) return false;
  return Number.isFinite(value) && normalizeDigits(token) === normalizeDigits(written);
}

/** A number as its digits and the place of its point: the same text for the same value, but for the sign. */
function normalizeDigits(token: string): string {
  const [, whole = '', fraction = '', exponent = '0'] =
    /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(token) ?? [];
  const all = whole + fraction;
  const digits = all.replace(/^0+/, '');
  if (digits === '') return '0';
  return `${digits.replace(/0+$/, '')}e${whole.length - (all.length - digits.length) + Number(exponent)}`;
}
