import type { Column, Parse, ReadInPlace } from './row-decoder.js';
import { OID } from '../postgres/type-form.js';
import { readDigit, readTimestamps } from './date-time.js';

/**
 * Sample texts. A parser that returns the same values as pg's own parser for these texts is taken for pg's own parser.
 */
const WHOLE = ['0', '1', '-1', '42', '-32768', '32767', '-2147483648', '2147483647'];
const LARGE = ['0', '-1', '9007199254740993', '-9223372036854775808', '9223372036854775807'];
const DECIMAL = ['0', '-1.50', '0.10', '12345678901234567890.123456789', 'NaN', 'Infinity'];

/**
 * Returns how to read the values of a type. The values are the same as those that `parse` returns. The types int2,
 * int4, int8, numeric and timestamptz have a faster way, which is used only if `parse` behaves like pg's own parser.
 */
export function getColumn(oid: number, parse: Parse): Column {
  switch (oid) {
    case OID.int2:
    case OID.int4:
      return isSameParse(parse, Number, WHOLE) ? { readInPlace: readInteger } : { parse };
    case OID.int8:
      return isSameParse(parse, String, LARGE) ? {} : { parse };
    case OID.numeric:
      return isSameParse(parse, String, DECIMAL) ? {} : { parse };
    case OID.timestamptz: {
      const read = readTimestamps(parse);
      return isSameParse(parse, parseInPlace(read), TIMES) ? { readInPlace: read } : { parse };
    }
    default:
      return { parse };
  }
}

const TIMES = [
  '2020-02-29 23:59:59+00',
  '2020-01-31 12:00:00.57+05',
  '2011-12-30 00:00:00.123456-10',
  '1999-12-31 23:59:59.999999+14',
  '9999-01-01 01:02:03.001-12',
];

/** Says whether two parsers return the same values for all sample texts. */
function isSameParse(one: Parse, other: Parse, texts: readonly string[]): boolean {
  return texts.every((text) => isSame(one(text), other(text)));
}

/**
 * Says whether two values are equal. A `Date` of a subclass is never equal, because a reader would replace it by a
 * plain `Date`.
 */
function isSame(one: unknown, other: unknown): boolean {
  if (one instanceof Date && other instanceof Date) {
    return Object.getPrototypeOf(one) === Date.prototype && Object.is(one.getTime(), other.getTime());
  }
  return Object.is(one, other);
}

/** Returns a parser of texts that calls a reader of bytes. */
function parseInPlace(read: ReadInPlace): Parse {
  return (text) => read(Buffer.from(text), 0, text.length);
}

const MINUS = 45;

/** Reads an integer of ASCII digits with an optional minus: the `size` bytes that begin at `at`. */
function readInteger(bytes: Buffer, at: number, size: number): number {
  const isNegative = bytes[at] === MINUS;
  let value = 0;
  for (let next = isNegative ? at + 1 : at; next < at + size; next++)
    value = value * 10 + readDigit(bytes, next);
  return isNegative ? -value : value;
}
