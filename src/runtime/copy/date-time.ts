import type { Parse, ReadInPlace } from './row-decoder.js';

const DAY_MS = 86_400_000;
const TWO = Array.from({ length: 60 }, (_, n) => String(n).padStart(2, '0'));
const THREE = Array.from({ length: 1000 }, (_, n) => String(n).padStart(3, '0'));

let lastDay = Number.NaN;
let lastDayText = '';

/**
 * A moment as PostgreSQL reads it, in UTC with milliseconds: `2026-01-31T23:59:59.999Z`. The day is kept from one call to
 * the next, because the dates of neighbouring rows are close to each other. Throws a `RangeError` for an invalid date.
 */
export function formatDate(date: Date): string {
  const time = date.getTime();
  const day = Math.floor(time / DAY_MS);
  if (day !== lastDay) {
    lastDayText = formatDay(date);
    lastDay = day;
  }
  let rest = time - day * DAY_MS;
  const hours = Math.floor(rest / 3_600_000);
  rest -= hours * 3_600_000;
  const minutes = Math.floor(rest / 60_000);
  rest -= minutes * 60_000;
  const seconds = Math.floor(rest / 1000);
  const clock = `${TWO[hours]}:${TWO[minutes]}:${TWO[seconds]}.${THREE[rest - seconds * 1000]}Z`;
  return date.getUTCFullYear() > 0 ? lastDayText + clock : `${lastDayText}${clock} BC`;
}

/** JavaScript has a year 0 and writes years beyond 9999 with a sign; PostgreSQL has and takes neither. */
function formatDay(date: Date): string {
  const [month, day] = date.toISOString().slice(-19, -14).split('-');
  const year = date.getUTCFullYear();
  return `${String(year > 0 ? year : 1 - year).padStart(4, '0')}-${month}-${day}T`;
}

const ZERO = 48;

/** What the digit there is worth. */
export function readDigit(bytes: Buffer, at: number): number {
  return (bytes[at] ?? 0) - ZERO;
}

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
      readTwoDigits(bytes, at) * 1e6 +
      readTwoDigits(bytes, at + 2) * 1e4 +
      readTwoDigits(bytes, at + 5) * 100 +
      readTwoDigits(bytes, at + 8);
    if (own !== day) {
      day = own;
      dayMs = Date.parse(bytes.toString('latin1', at, at + DAY));
    }
    // Before 1970, a fraction goes the other way.
    if (!(dayMs >= MS_PER_DAY)) return parse(bytes.toString('latin1', at, at + size));
    return new Date(dayMs + readClockMs(bytes, at, at + size));
  };
}

/** `+hh` at the end, after whole seconds or a fraction; the rest has offsets of minutes, a year of five digits, or BC. */
function isUsual(bytes: Buffer, at: number, size: number): boolean {
  const sign = bytes[at + size - OFFSET];
  return size >= SHORTEST && (sign === PLUS || sign === MINUS) && bytes[at + DAY] === SPACE;
}

/** Milliseconds from the start of the day in UTC that the text names: pg drops what is less than one. */
function readClockMs(bytes: Buffer, at: number, end: number): number {
  const seconds =
    readTwoDigits(bytes, at + 11) * 3600 + readTwoDigits(bytes, at + 14) * 60 + readTwoDigits(bytes, at + 17);
  const offset = readTwoDigits(bytes, end - 2) * 3600;
  let ms = 0;
  for (let next = at + FRACTION, worth = 100; next < end - OFFSET && worth >= 1; next++, worth /= 10) {
    ms += readDigit(bytes, next) * worth;
  }
  return (seconds + (bytes[end - OFFSET] === PLUS ? -offset : offset)) * 1000 + ms;
}

function readTwoDigits(bytes: Buffer, at: number): number {
  return readDigit(bytes, at) * 10 + readDigit(bytes, at + 1);
}
