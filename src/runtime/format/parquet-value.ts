import type { SchemaElement } from 'hyparquet';
import { UTF8, formatBytes, toBuffer } from '../postgres/value-text.js';
import type { JsonRowForm } from './json-row.js';
import { parseExact } from '../postgres/exact-json.js';
import { createUtcSplitter } from '../postgres/date-text.js';
import { ExactNumber, JsonText } from '../postgres/exact-number.js';

/** Converts a stored value without loss: decimals keep all digits, dates and times become text with all digits. */
export type ValueReader = (stored: unknown) => unknown;

/** The PostgreSQL type of a column of a Parquet file, and the function that reads the values of the column. */
export interface ColumnReading {
  /** The type as PostgreSQL's `format_type` writes it. */
  readonly type: string;
  readonly read: ValueReader;
}

/**
 * Says whether hyparquet must return the values of an element as they are stored: it would round them, convert them to
 * another form, or refuse them.
 */
export function needsStoredValue(element: SchemaElement): boolean {
  const kind = classify(element);
  return STORED.has(kind) || kind.startsWith('TIME');
}

const STORED: ReadonlySet<string> = new Set([
  'DECIMAL',
  'DATE',
  'JSON',
  'BSON',
  'INTERVAL',
  'GEOMETRY',
  'GEOGRAPHY',
]);

/**
 * Returns the function that reads a value inside of JSON as PostgreSQL's `to_json` writes a value of the type: bytes are
 * `\x…`, and a number that JSON lacks is a text, `"NaN"`.
 */
export function toJsonReader({ type, read }: ColumnReading): ValueReader {
  if (type === 'bytea') return (stored) => formatBytes(stored as Uint8Array);
  if (type !== 'real' && type !== 'double precision') return read;
  return (stored) => {
    const value = read(stored);
    return Number.isFinite(value) ? value : String(value);
  };
}

function keepValue(stored: unknown): unknown {
  return stored;
}

/** Returns the logical type of an element, otherwise its older name (`converted_type`), otherwise its physical type. */
export function classify({ converted_type, logical_type, type }: SchemaElement): string {
  return logical_type?.type ?? converted_type ?? type ?? '';
}

/** The PostgreSQL types of elements whose values need no conversion, by their logical, older or physical type. */
const SIMPLE: Readonly<Record<string, string>> = {
  BOOLEAN: 'boolean',
  INT32: 'integer',
  INT64: 'bigint',
  FLOAT: 'real',
  DOUBLE: 'double precision',
  FLOAT16: 'real',
  BYTE_ARRAY: 'bytea',
  FIXED_LEN_BYTE_ARRAY: 'bytea',
  STRING: 'text',
  UTF8: 'text',
  ENUM: 'text',
  UUID: 'uuid',
  INT_8: 'smallint',
  INT_16: 'smallint',
  INT_32: 'integer',
  INT_64: 'bigint',
  UINT_8: 'smallint',
  UINT_16: 'integer',
  UINT_32: 'bigint',
  UINT_64: 'numeric(20,0)',
};

/**
 * Chooses the type and the reader of a column without children, by its logical type. `form` is the form of JSON values. A
 * kind that is not known becomes `bytea`, because its values are bytes: GEOMETRY and GEOGRAPHY are WKB, BSON is BSON.
 */
export function chooseLeafReading(element: SchemaElement, form: JsonRowForm): ColumnReading {
  const kind = classify(element);
  const logical = element.logical_type;
  if (kind === 'DECIMAL') return createDecimalReading(element);
  if (kind === 'DATE') return createDateReading();
  if (kind === 'JSON') return createJsonReading(form);
  if (kind === 'INTERVAL') return { type: 'interval', read: readInterval };
  if (kind.startsWith('TIME') || kind === 'INT96') return chooseTimedReading(element, kind);
  if (logical?.type === 'INTEGER') {
    const name = `${logical.isSigned ? '' : 'U'}INT_${logical.bitWidth}`;
    return { type: SIMPLE[name] ?? 'bigint', read: keepValue };
  }
  return { type: SIMPLE[kind] ?? 'bytea', read: keepValue };
}

/**
 * Returns bytes as text. Throws a `TypeError` for bytes that are not UTF-8. Checks and decodes in one call: texts are many.
 */
export function readUtf8(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new TypeError('the bytes of a text are not UTF-8');
  }
}

/** Creates the reading of JSON, which is stored as a text. Reading throws a `SyntaxError` if the text is not JSON. */
function createJsonReading(form: JsonRowForm): ColumnReading {
  return {
    type: 'jsonb',
    read: (stored) => {
      const text = readUtf8(stored as Uint8Array);
      if (form === 'value') return parseExact(text);
      JSON.parse(text);
      return new JsonText(text);
    },
  };
}

/** Reads an interval: months, days and milliseconds, each in four bytes without a sign, with the lowest byte first. */
function readInterval(stored: unknown): string {
  const bytes = toBuffer(stored as Uint8Array);
  const [months, days, ms] = [0, 4, 8].map((at) => bytes.readUInt32LE(at));
  return `${months} mons ${days} days ${ms} milliseconds`;
}

/** Chooses the reading of a time or a timestamp. The older notations name no time zone; their timestamps are in UTC. */
function chooseTimedReading({ logical_type: logical }: SchemaElement, kind: string): ColumnReading {
  if (logical?.type === 'TIMESTAMP')
    return createTimestampReading(DIGITS[logical.unit], logical.isAdjustedToUTC);
  if (logical?.type === 'TIME') return createTimeReading(DIGITS[logical.unit]);
  if (kind === 'INT96') return createTimestampReading(9, true);
  const digits = kind.endsWith('_MILLIS') ? 3 : 6;
  return kind.startsWith('TIMESTAMP') ? createTimestampReading(digits, true) : createTimeReading(digits);
}

/** The number of digits after the decimal point of a second. */
const DIGITS = { MILLIS: 3, MICROS: 6, NANOS: 9 } as const;

/**
 * Creates the reading of a decimal. The precision and the scale come from the logical type, in older files from the
 * element itself.
 */
function createDecimalReading({
  precision = 38,
  scale = 0,
  logical_type: logical,
}: SchemaElement): ColumnReading {
  const exact = logical?.type === 'DECIMAL' ? logical : { precision, scale };
  return {
    type: `numeric(${exact.precision},${exact.scale})`,
    read: (stored) => new ExactNumber(formatDecimal(toWholeNumber(stored), exact.scale)),
  };
}

/** Returns the whole number of a stored decimal: a number, or bytes in two's complement with the highest byte first. */
function toWholeNumber(stored: unknown): bigint {
  if (!(stored instanceof Uint8Array)) return BigInt(stored as number | bigint);
  const hex = toBuffer(stored).toString('hex');
  return BigInt.asIntN(stored.length * 8, BigInt(`0x${hex === '' ? '0' : hex}`));
}

/** Writes a whole number with `scale` digits after the point: `-5` with scale 2 is `-0.05`. */
function formatDecimal(whole: bigint, scale: number): string {
  if (scale === 0) return String(whole);
  const digits = String(whole < 0n ? -whole : whole).padStart(scale + 1, '0');
  return `${whole < 0n ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/**
 * Creates the reading of a day, which is counted from 1970-01-01. The text is as PostgreSQL reads it: `2024-02-29`,
 * `10000-01-01`, `0222-09-04 BC`.
 */
function createDateReading(): ColumnReading {
  const split = createUtcSplitter();
  return {
    type: 'date',
    read: (days) => {
      const { day, era } = split(Number(days) * 86_400);
      return day + era;
    },
  };
}

/**
 * Creates the reading of a timestamp, which is counted in seconds with `digits` digits after the point. The text keeps
 * nanoseconds; PostgreSQL rounds them to microseconds.
 */
function createTimestampReading(digits: number, isInUtc: boolean): ColumnReading {
  const zone = isInUtc ? 'Z' : '';
  const split = createUtcSplitter();
  return {
    type: `timestamp ${isInUtc ? 'with' : 'without'} time zone`,
    read: (stored) => {
      const [seconds, fraction] = splitSeconds(stored as number | bigint, digits);
      const { day, clock, era } = split(seconds);
      return `${day}T${clock}${fraction}${zone}${era}`;
    },
  };
}

/**
 * Creates the reading of a time of day. `digits` is the number of digits after the point of a second, in which the time
 * is counted.
 */
function createTimeReading(digits: number): ColumnReading {
  const split = createUtcSplitter();
  return {
    type: 'time without time zone',
    read: (stored) => {
      const [seconds, fraction] = splitSeconds(stored as number | bigint, digits);
      return split(seconds).clock + fraction;
    },
  };
}

/**
 * Splits a time into whole seconds, rounded down, and the rest as text. With 3 digits, `1500` gives `[1, '.500']`,
 * `2000` gives `[2, '']`, and `-1` gives `[-1, '.999']`.
 */
function splitSeconds(stored: number | bigint, digits: number): readonly [seconds: number, fraction: string] {
  const perSecond = 10 ** digits;
  const near = Number(stored);
  // Most times are safe integers, and dividing them as numbers is faster than as `bigint`.
  const [seconds, rest] = Number.isSafeInteger(near)
    ? [Math.floor(near / perSecond), near - Math.floor(near / perSecond) * perSecond]
    : divideDown(BigInt(stored), BigInt(perSecond));
  return [seconds, rest === 0 ? '' : `.${String(rest).padStart(digits, '0')}`];
}

/** Divides and rounds down: `-1n` by `1000n` gives `[-1, 999]`. The remainder is never negative. */
function divideDown(value: bigint, by: bigint): readonly [number, number] {
  const rest = ((value % by) + by) % by;
  return [Number((value - rest) / by), Number(rest)];
}
