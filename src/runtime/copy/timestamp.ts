import { digitAt } from './digits.js';
import type { Parse, ReadInPlace } from './row-decoder.js';

/** As PostgreSQL writes a `timestamptz` with DateStyle ISO, which is the only style that pg reads. */
const SHORTEST = '2020-01-31 23:59:59+00'.length;
const DAY = '2020-01-31'.length;
const FRACTION = '2020-01-31 23:59:59.'.length;
const OFFSET = '+00'.length;
const MS_PER_DAY = 86_400_000;

const PLUS = 43;
const MINUS = 45;
const SPACE = 32;

/**
 * Reads `timestamptz` as pg's parser does, and faster: it keeps the day of the value before. Whatever looks unusual is
 * left to `parse`.
 */
export function readTimestamps(parse: Parse): ReadInPlace {
  let day = NaN;
  let dayMs = NaN;
  return (bytes, at, size) => {
    if (!isUsual(bytes, at, size)) return parse(bytes.toString('latin1', at, at + size));
    const own =
      twoDigits(bytes, at) * 1e6 +
      twoDigits(bytes, at + 2) * 1e4 +
      twoDigits(bytes, at + 5) * 100 +
      twoDigits(bytes, at + 8);
    if (own !== day) {
      day = own;
      dayMs = Date.parse(bytes.toString('latin1', at, at + DAY));
    }
    // Before 1970, a fraction goes the other way.
    if (!(dayMs >= MS_PER_DAY)) return parse(bytes.toString('latin1', at, at + size));
    return new Date(dayMs + clockMs(bytes, at, at + size));
  };
}

/** `+hh` at the end, after whole seconds or a fraction; the rest has offsets of minutes, a year of five digits, or BC. */
function isUsual(bytes: Buffer, at: number, size: number): boolean {
  const sign = bytes[at + size - OFFSET];
  return size >= SHORTEST && (sign === PLUS || sign === MINUS) && bytes[at + DAY] === SPACE;
}

/** Milliseconds from the start of the day in UTC that the text names: pg drops what is less than one. */
function clockMs(bytes: Buffer, at: number, end: number): number {
  const seconds =
    twoDigits(bytes, at + 11) * 3600 + twoDigits(bytes, at + 14) * 60 + twoDigits(bytes, at + 17);
  const offset = twoDigits(bytes, end - 2) * 3600;
  let ms = 0;
  for (let next = at + FRACTION, worth = 100; next < end - OFFSET && worth >= 1; next++, worth /= 10) {
    ms += digitAt(bytes, next) * worth;
  }
  return (seconds + (bytes[end - OFFSET] === PLUS ? -offset : offset)) * 1000 + ms;
}

function twoDigits(bytes: Buffer, at: number): number {
  return digitAt(bytes, at) * 10 + digitAt(bytes, at + 1);
}
