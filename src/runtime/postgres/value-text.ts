import { isBoxedPrimitive } from 'node:util/types';
import type { DateFormat } from './date-text.js';
import { parseTexts, toWholeText } from './exact-json.js';
import { ExactNumber, JsonText, buildJson } from './exact-number.js';
import { type TextForm, type ValueType, findTextForm, getDelimiter, isWholeType } from './type-form.js';

/** The facts besides the value that decide the text of a value. */
export interface TextOptions {
  /** The type of the column. Undefined if it is not known: then an array is a PostgreSQL array. */
  readonly type: ValueType | undefined;
  readonly formatDate: DateFormat;
  /**
   * The form of a string for `json`. With `text` the string is JSON text, and is written unchanged. With `value` the
   * string is a value, and is written with quotes.
   */
  readonly jsonStrings: 'text' | 'value';
}

/** Returns the text of a value that is not null, as PostgreSQL reads it. Throws an error for a value that has none. */
export type ValueFormat = (value: unknown) => string;

/**
 * Returns a function that writes the values of one type, by the rules of `TextForm`. The text is the same as pg's where
 * pg sends a value that the server accepts.
 *
 * The function throws a `TypeError` or `RangeError` for a value that would be changed or lost: a function, a symbol, an
 * invalid date, a Map or a Set, NaN inside JSON, bytes inside JSON.
 */
export function createValueFormat(options: TextOptions): ValueFormat {
  const { type } = options;
  const form = type === undefined || type.isArray ? 'any' : findTextForm(type.oid);
  if (form === 'json') return (value) => formatJson(value, options.jsonStrings);
  return (value) => {
    if (typeof value === 'string') return value;
    if (typeof value === 'number') return formatNumber(value);
    if (typeof value === 'object' && value !== null) return formatObject(value, form, options);
    if (typeof value === 'boolean' || typeof value === 'bigint') return String(value);
    throw new TypeError(`a ${typeof value} can't be the value of a column`);
  };
}

/** Writes a number. `String` would write -0 as `0`. */
export function formatNumber(value: number): string {
  return value === 0 && Object.is(value, -0) ? '-0' : String(value);
}

function formatJson(value: unknown, strings: TextOptions['jsonStrings']): string {
  if (value instanceof JsonText) return value.text;
  if (typeof value === 'string' && strings === 'text') return value;
  return buildJson(value);
}

/**
 * Writes an object as the text of a PostgreSQL value. An object without a type of its own is JSON. The result of
 * `toPostgres()` is written in the same way.
 */
function formatObject(value: object, form: TextForm, options: TextOptions): string {
  if (value instanceof Date) return formatTime(options.formatDate(value), form);
  if (value instanceof ExactNumber) return formatExactNumber(value, options.type);
  if (value instanceof JsonText) return formatJsonText(value, options);
  if (ArrayBuffer.isView(value) && (value instanceof Uint8Array || !options.type?.isArray))
    return formatView(value, form);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    if (form !== 'any') return buildJson(value);
    return formatArray(Array.from(value as readonly unknown[]), options);
  }
  // Such as `new String('a')`.
  if (isBoxedPrimitive(value)) return createValueFormat(options)(value.valueOf());
  const { toPostgres } = value as { toPostgres?: (prepare: (part: unknown) => unknown) => unknown };
  if (typeof toPostgres === 'function')
    return formatPrepared(
      toPostgres.call(value, (part) => part),
      options,
    );
  return formatGeometry(value, form) ?? buildJson(value);
}

/** Writes a number with its own digits. A type of whole numbers refuses the text `1.0` of a whole number. */
export function formatExactNumber({ text }: ExactNumber, type: ValueType | undefined): string {
  return type !== undefined && !type.isArray && isWholeType(type.oid) ? toWholeText(text) : text;
}

/** Writes a JSON value as it is, and a JSON array for an array type as a PostgreSQL array, with the digits of its numbers. */
function formatJsonText({ text }: JsonText, options: TextOptions): string {
  if (options.type?.isArray !== true) return text;
  const value = parseTexts(text);
  // A string is the text of an array: `"[0:1]={1,2}"`.
  if (typeof value === 'string') return value;
  return Array.isArray(value) ? formatArray(value, options) : text;
}

/** Returns the text of a date, or only the time of day if the type is a time: `time` refuses the text of a date. */
function formatTime(text: string, form: TextForm): string {
  return form === 'clock' ? text.slice(text.indexOf('T') + 1).replace(' BC', '') : text;
}

/** Writes the result of `toPostgres()`, which can be any value. */
function formatPrepared(value: unknown, options: TextOptions): string {
  if (value === null || value === undefined) throw new TypeError('toPostgres() returned no value');
  return createValueFormat(options)(value);
}

/** Writes an object that pg has read from a `point` or a `circle`. Returns undefined for any other object. */
function formatGeometry(value: object, form: TextForm): string | undefined {
  const { x, y, radius } = value as { readonly [name: string]: unknown };
  if (typeof x !== 'number' || typeof y !== 'number') return undefined;
  const point = `(${formatNumber(x)},${formatNumber(y)})`;
  if (form === 'point') return point;
  return form === 'circle' && typeof radius === 'number' ? `<${point},${formatNumber(radius)}>` : undefined;
}

/** A string with a method of ECMAScript 2024. Node 20 has the method, but the type library does not declare it. */
export type WellFormed = string & { isWellFormed(): boolean };

/** Refuses bytes that are not UTF-8, and keeps a byte order mark. */
export const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Writes bytes: as text for a type of text, otherwise as `bytea`. */
function formatView(view: ArrayBufferView, form: TextForm): string {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  return form === 'text' ? UTF8.decode(bytes) : formatBytes(bytes);
}

/** Returns a text in UTF-8. Returns bytes as a `Buffer` that shares their memory. */
export function toBuffer(part: string | Uint8Array): Buffer {
  return typeof part === 'string'
    ? Buffer.from(part)
    : Buffer.from(part.buffer, part.byteOffset, part.byteLength);
}

/** Returns bytes as the text of a `bytea`. */
export function formatBytes(bytes: Uint8Array): string {
  return `\\x${toBuffer(bytes).toString('hex')}`;
}

/** Writes a PostgreSQL array: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO */
function formatArray(items: readonly unknown[], options: TextOptions): string {
  const type = options.type && { ...options.type, isArray: false };
  const isJson = type !== undefined && findTextForm(type.oid) === 'json';
  const formatOne = createValueFormat({ ...options, type });
  const delimiter = type === undefined ? ',' : getDelimiter(type.oid);
  const format = (list: readonly unknown[]): string =>
    `{${list.map((item) => formatItem(item, { format, formatOne, isJson })).join(delimiter)}}`;
  return format(items);
}

/** The functions that write the items of an array: `format` writes a nested array, and `formatOne` any other item. */
interface ItemFormat {
  readonly format: (list: readonly unknown[]) => string;
  readonly formatOne: ValueFormat;
  /** True for an array of `json`. */
  readonly isJson: boolean;
}

/**
 * Writes one item of an array: `NULL`, a number or boolean without quotes, a nested array, or a text in double quotes.
 * Throws a `TypeError` for an array in an array of JSON, which can be JSON or a second dimension.
 */
function formatItem(item: unknown, { format, formatOne, isJson }: ItemFormat): string {
  if (item === null || item === undefined) return 'NULL';
  if (Array.isArray(item)) {
    if (!isJson) return format(item);
    throw new TypeError('an array inside an array of json can be JSON or a second dimension');
  }
  const text = formatOne(item);
  if (typeof item === 'number' || typeof item === 'bigint' || typeof item === 'boolean') return text;
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}
