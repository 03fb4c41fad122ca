import { ExactNumber } from './exact-number.js';

/*
 * Patterns that find unusual numbers in a JSON text. A number begins after a sign of JSON and ends before one. So most
 * strings with digits, such as dates and UUIDs, do not match. A string that matches only costs time.
 */
/** A number of 16 or more digits may have more digits than a double holds. */
const LONG = /(?:^|[:,[\s])-?[\d.]{16}/;
const EXPONENT = /\d[eE][+-]?\d+\s*(?:[,}\]]|$)/;
/** JavaScript writes six zeros after the point as an exponent. */
const LONG_OR_SMALL = /(?:^|[:,[\s])-?(?:[\d.]{16}|0\.0{6})/;
/** JavaScript does not write an exponent, a zero at the end of a fraction, and the minus of zero. */
const REWRITTEN_END = /(?:\d[eE][+-]?\d+|\.\d*0|-0)\s*(?:[,}\]]|$)/;
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
  return LONG.test(text) || EXPONENT.test(text)
    ? parseMarked(text, isExact, (token) => (WHOLE.test(token) ? BigInt(token) : new ExactNumber(token)))
    : JSON.parse(text);
}

/**
 * Parses JSON as `JSON.parse` does, but a number that JavaScript would write in another way becomes an `ExactNumber`:
 * `1.50`, `1e3`, `-0`, and every number of too many digits. Throws a `SyntaxError` if the text is not JSON.
 */
export function parseTexts(text: string): unknown {
  return mayBeRewritten(text)
    ? parseMarked(text, isWrittenAlike, (token) => new ExactNumber(token))
    : JSON.parse(text);
}

/** Says whether JavaScript may write a number in the JSON text in another way than the text. */
export function mayBeRewritten(text: string): boolean {
  return REWRITTEN_END.test(text) || LONG_OR_SMALL.test(text);
}

/** The numbers of a JSON text that JavaScript may write in another way. Each search uses the same object. */
export interface UnusualNumbers {
  /** The index of each number in the text. Only the first `count` are of this text. */
  readonly starts: readonly number[];
  readonly count: number;
  /** True if a double may change one of the numbers. */
  readonly mayBeInexact: boolean;
}

/**
 * Matches the sign of JSON before a number and the number up to the character that shows that JavaScript may write it in
 * another way. Begins at a sign, not at a digit: most lines have fewer signs than digits, so that the search takes less
 * time than the parsing.
 */
const UNUSUAL =
  /[:,[\s](?:-?(?:[\d.]{16}|0\.0{6}|\d+(?:\.\d*0(?=\s*[,}\]])|(?:\.\d+)?[eE]))|-0(?=\s*[,}\]]))/g;
/** A number that a double may change has at least so many digits, or an exponent. */
const LONG_DIGITS = 16;

const found = { starts: [] as number[], count: 0, mayBeInexact: false };

/**
 * Finds the numbers of the JSON text of an object that JavaScript may write in another way, in one pass. May also find
 * what looks like such a number in a string. The result is valid until the next call.
 */
export function findUnusualNumbers(text: string): UnusualNumbers {
  found.count = 0;
  found.mayBeInexact = false;
  UNUSUAL.lastIndex = 0;
  // `test` of a regular expression with the flag `g` continues where the match before has ended, and allocates nothing.
  while (UNUSUAL.test(text)) {
    const end = UNUSUAL.lastIndex;
    let start = end;
    while (isNumberCode(text.charCodeAt(start - 1))) start--;
    found.starts[found.count++] = start;
    const last = text.charCodeAt(end - 1);
    found.mayBeInexact ||= last === LOWER_E || last === UPPER_E || end - start >= LONG_DIGITS;
  }
  return found;
}

const LOWER_E = 101;
const UPPER_E = 69;
const MINUS = 45;
const POINT = 46;
const DIGIT_0 = 48;
const DIGIT_9 = 57;

/** Says whether a match of `UNUSUAL` may contain the character after its sign. */
function isNumberCode(code: number): boolean {
  const isDigit = code >= DIGIT_0 && code <= DIGIT_9;
  return isDigit || code === POINT || code === MINUS || code === LOWER_E || code === UPPER_E;
}

/** Says whether JavaScript writes the number as the token is. */
export function isWrittenAlike(token: string): boolean {
  const value = Number(token);
  return String(value) === token && !Object.is(value, -0);
}

/** Parses JSON. A number that is not `isKept` becomes the result of `toNumber`. */
function parseMarked(
  text: string,
  isKept: (token: string) => boolean,
  toNumber: (token: string) => bigint | ExactNumber,
): unknown {
  const value: unknown = JSON.parse(text);
  let hasOthers = false;
  // Every string value gets the prefix `s`. A number that is not kept becomes a string with the prefix `n`. So the second
  // parse below can tell numbers from strings.
  const marked = text.replace(STRING_OR_NUMBER, (token: string, colon: string | undefined) => {
    if (colon !== undefined) return token;
    if (token.startsWith('"')) return `"s${token.slice(1)}`;
    if (isKept(token)) return token;
    hasOthers = true;
    return `"n${token}"`;
  });
  if (!hasOthers) return value;
  return JSON.parse(marked, (_name, part: unknown) => {
    if (typeof part !== 'string') return part;
    return part.startsWith('s') ? part.slice(1) : toNumber(part.slice(1));
  });
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
 * result: `1.50e2` and `150` both give `15e1`.
 */
function normalizeDigits(token: string): string {
  const [digits, exponent] = splitNumber(token);
  return digits === '' ? '0' : `${digits}e${exponent}`;
}

/**
 * Returns a number that is whole without a point and an exponent: `1.0` gives `1`, `-12e2` gives `-1200`. Returns every
 * other number, and a number of more than `LONGEST_WHOLE` digits, unchanged.
 */
export function toWholeText(token: string): string {
  if (WHOLE.test(token)) return token;
  const [digits, exponent] = splitNumber(token);
  if (digits === '') return '0';
  if (exponent < 0 || digits.length + exponent > LONGEST_WHOLE) return token;
  return `${token.startsWith('-') ? '-' : ''}${digits}${'0'.repeat(exponent)}`;
}

/** No whole type of PostgreSQL has more digits. */
const LONGEST_WHOLE = 40;

/**
 * Returns the significant digits of a number, without zeros at both ends, and the exponent of ten of the last digit. The
 * digits of zero are empty.
 */
function splitNumber(token: string): readonly [digits: string, exponent: number] {
  const [, whole = '', fraction = '', exponent = '0'] =
    /^[+-]?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(token) ?? [];
  const all = (whole + fraction).replace(/^0+/, '');
  const digits = all.replace(/0+$/, '');
  return [digits, all.length - digits.length - fraction.length + Number(exponent)];
}
