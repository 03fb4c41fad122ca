import type { SchemaElement, SchemaTree } from 'hyparquet';
import { toBuffer } from '../postgres/value-text.js';
import { createUtcSplitter } from '../postgres/date-text.js';
import { ExactNumber } from '../postgres/exact-number.js';

/** Converts a stored value without loss: decimals keep all digits, dates and times become text with all digits. */
export type ValueReader = (stored: unknown) => unknown;

/** The PostgreSQL type of a column of a Parquet file, and the function that reads the values of the column. */
export interface ColumnReading {
  /** The type as PostgreSQL's `format_type` writes it. */
  readonly type: string;
  readonly read: ValueReader;
}

/**
 * Chooses the PostgreSQL type and the value reader for a column of a Parquet file, by its logical type:
 * https://github.com/apache/parquet-format/blob/master/LogicalTypes.md.
 *
 * - A simple value gets the type of `chooseLeafReading`.
 * - A list of simple values becomes an array of this type.
 * - Other lists, maps and structs become `jsonb`.
 */
export function chooseReading(tree: SchemaTree): ColumnReading {
  const { element, children } = tree;
  const isRepeated = element.repetition_type === 'REPEATED';
  if (children.length === 0 && !isRepeated) return chooseLeafReading(element);
  // A repeated column without a list around it is a list, too. Its item is the same column without the repetition.
  const item = isRepeated ? { ...tree, element: { ...element, repetition_type: undefined } } : getItem(tree);
  if (item !== undefined) {
    const { type, read } = chooseReading(item as SchemaTree);
    // A PostgreSQL array can't hold lists of different lengths, and can't tell an object from the text of the object.
    const isSimple = item.children.length === 0;
    return { type: isSimple ? `${type}[]` : 'jsonb', read: (stored) => readList(stored, read) };
  }
  if (isMap(element)) {
    const value = children[0]?.children[1];
    const { read } = value === undefined ? { read: keepValue } : chooseReading(value);
    return { type: 'jsonb', read: (stored) => readProperties(stored, () => read) };
  }
  const parts = new Map(children.map((child) => [child.element.name, chooseReading(child).read]));
  return { type: 'jsonb', read: (stored) => readProperties(stored, (name) => parts.get(name) ?? keepValue) };
}

/**
 * Says whether hyparquet would round the values of an element. hyparquet must return these values as they are stored.
 */
export function needsStoredValue(element: SchemaElement): boolean {
  const kind = classify(element);
  return kind === 'DECIMAL' || kind === 'DATE' || kind.startsWith('TIME');
}

function keepValue(stored: unknown): unknown {
  return stored;
}

/**
 * Returns the element of a list, or undefined if the column is not a list. Programs write two forms:
 *
 * - today, three levels: the list, a repeated group, and the element as the only child of the group
 * - formerly, two levels: the list, and the repeated element itself, which has no child or several children
 */
function getItem({ element, children }: SchemaTree): SchemaTree | undefined {
  const [repeated] = children;
  if (element.converted_type !== 'LIST' && element.logical_type?.type !== 'LIST') return undefined;
  const [only, ...others] = repeated?.children ?? [];
  if (only !== undefined && others.length === 0) return only;
  return repeated && { ...repeated, element: { ...repeated.element, repetition_type: 'REQUIRED' } };
}

/** Says whether a column is a map, in the notation of today or in an older one. */
function isMap({ converted_type, logical_type }: SchemaElement): boolean {
  return converted_type === 'MAP' || converted_type === 'MAP_KEY_VALUE' || logical_type?.type === 'MAP';
}

/** Reads each item of a list with `read`. Returns a value that is not a list unchanged. */
function readList(stored: unknown, read: ValueReader): unknown {
  return Array.isArray(stored) ? stored.map((item) => (item === null ? null : read(item))) : stored;
}

/** Reads each property of a struct or a map. `readerOf` returns the reader for a property name. */
function readProperties(stored: unknown, readerOf: (name: string) => ValueReader): unknown {
  if (typeof stored !== 'object' || stored === null) return stored;
  return Object.fromEntries(
    Object.entries(stored).map(([name, part]) => [name, part === null ? null : readerOf(name)(part)]),
  );
}

/** Returns the logical type of an element, otherwise its older name (`converted_type`), otherwise its physical type. */
function classify({ converted_type, logical_type, type }: SchemaElement): string {
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
  JSON: 'jsonb',
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
 * Chooses the type and the reader of a column without children. A kind that is not known becomes `bytea`, because its
 * values are bytes.
 */
function chooseLeafReading(element: SchemaElement): ColumnReading {
  const kind = classify(element);
  const logical = element.logical_type;
  if (kind === 'DECIMAL') return createDecimalReading(element);
  if (kind === 'DATE') return createDateReading();
  if (kind.startsWith('TIME') || kind === 'INT96') return chooseTimedReading(element, kind);
  if (logical?.type === 'INTEGER') {
    const name = `${logical.isSigned ? '' : 'U'}INT_${logical.bitWidth}`;
    return { type: SIMPLE[name] ?? 'bigint', read: keepValue };
  }
  return { type: SIMPLE[kind] ?? 'bytea', read: keepValue };
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
