import type { Parse, ReadInPlace } from './row-decoder.js';

const ZERO = 48;

/** Returns the value of the ASCII digit at index `at`: 7 for `7`. */
export function readDigit(bytes: Buffer, at: number): number {
  return (bytes[at] ?? 0) - ZERO;
}

/** The length of the shortest `timestamptz` with DateStyle ISO. pg reads no other style. */
const SHORTEST = '2020-01-31 23:59:59+00'.length;

const DAY = '2020-01-31'.length;

/** The index of the first digit after the point. */
const FRACTION = '2020-01-31 23:59:59.'.length;

const OFFSET = '+00'.length;

const MS_PER_DAY = 86_400_000;

const PLUS = 43;

const MINUS = 45;

const SPACE = 32;

/**
 * Returns a function that reads a `timestamptz` like pg's parser, but faster: the function remembers the day of the
 * last value. `parse` reads every text that the fast way can't read: an offset with minutes, a year of five digits, BC,
 * a time before 1970-01-02, and `infinity`.
 */
export function readTimestamps(parse: Parse): ReadInPlace {
  /** The last day as a number of its digits, such as 20200131, and its start in milliseconds since 1970. */
  let day = NaN;
  let dayMs = NaN;
  return (bytes, at, size) => {
    if (!isFastReadable(bytes, at, size)) return parse(bytes.toString('latin1', at, at + size));
    const dayDigits =
      readTwoDigits(bytes, at) * 1e6 +
      readTwoDigits(bytes, at + 2) * 1e4 +
      readTwoDigits(bytes, at + 5) * 100 +
      readTwoDigits(bytes, at + 8);
    if (dayDigits !== day) {
      day = dayDigits;
      dayMs = Date.parse(bytes.toString('latin1', at, at + DAY));
    }
    // The comparison is false for an invalid date, where `dayMs` is NaN, and for a day before 1970-01-02: with its offset
    // the time may be before 1970, and such a time may be rounded in the other direction.
    if (!(dayMs >= MS_PER_DAY)) return parse(bytes.toString('latin1', at, at + size));
    return new Date(dayMs + readClockMs(bytes, at, at + size));
  };
}

/**
 * Returns true for a text such as `2020-01-31 23:59:59.5+02`: a year of four digits, whole seconds or a fraction, and
 * an offset of hours. Returns false for an offset with minutes, a year of five digits, and BC. Looks only at the length
 * and at two characters, so a text that is not a date may pass.
 */
function isFastReadable(bytes: Buffer, at: number, size: number): boolean {
  const sign = bytes[at + size - OFFSET];
  return size >= SHORTEST && (sign === PLUS || sign === MINUS) && bytes[at + DAY] === SPACE;
}

/**
 * Returns the milliseconds from 00:00 UTC of the day that the text names: `2020-01-31 01:00:00+02` gives -3,600,000.
 * Cuts off digits after the milliseconds, like pg.
 */
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

/** Returns the value of the two ASCII digits that begin at index `at`. */
function readTwoDigits(bytes: Buffer, at: number): number {
  return readDigit(bytes, at) * 10 + readDigit(bytes, at + 1);
}
