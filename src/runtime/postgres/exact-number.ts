import { isBoxedPrimitive } from 'node:util/types';
import { MAX_DEPTH } from '../json.js';

/**
 * A number with more digits than a double can hold. An `ExactNumber` keeps the text of the number and is written with
 * all of its digits. `getValue` returns the nearest double.
 */
export class ExactNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  toString(): string {
    return this.text;
  }

  getValue(): number {
    return Number(this.text);
  }
}

/**
 * A JSON value as the text that the input holds. The text is written unchanged, so that no space, no number and no name
 * of the value changes. The input has checked that the text is JSON.
 */
export class JsonText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/**
 * Returns the JSON text of a value of a row, with every digit of a `bigint` and of an `ExactNumber`, and with each
 * `JsonText` as it is. Everything else is written like `JSON.stringify`. A value without such parts is passed to `JSON.stringify`, which is faster.
 *
 * `encodeJson` is for values that the ledger records. `encodeJson` refuses a Date, a class instance and NaN, which
 * `buildJson` writes.
 *
 * Throws a `TypeError` for what `JSON.stringify` would change or lose: NaN, an infinite number, an invalid date, bytes, a
 * Map, a Set, a promise, a function, a symbol, and a value that contains itself.
 */
export function buildJson(value: unknown): string {
  const text = isPlainJson(value, 0) ? JSON.stringify(value) : write(value, '');
  if (text === undefined) throw new TypeError(`a ${typeof value} is not JSON`);
  return text;
}

/**
 * Returns true if `JSON.stringify` writes the value without a loss: there is no `bigint`, no `ExactNumber` and no
 * `JsonText` in it. Throws the errors of `buildJson`. A value that contains itself reaches the maximum depth.
 */
function isPlainJson(value: unknown, depth: number): boolean {
  if (typeof value === 'bigint') return false;
  if (typeof value === 'number') return isPlainNumber(value);
  if (typeof value === 'function' || typeof value === 'symbol')
    throw new TypeError(`a ${typeof value} is not JSON`);
  if (typeof value !== 'object' || value === null) return true;
  if (value instanceof ExactNumber || value instanceof JsonText) return false;
  if (!Array.isArray(value) && Object.getPrototypeOf(value) !== Object.prototype) refuseOpaque(value);
  if (depth > MAX_DEPTH)
    throw new TypeError(`the value contains itself, or is nested more than ${MAX_DEPTH} levels deep`);
  if (hasToJson(value)) return isPlainJson(value.toJSON(''), depth + 1);
  let isPlain = true;
  // Checks all parts, also after one that is not plain, because a later part may be an error.
  for (const part of Object.values(value)) isPlain = isPlainJson(part, depth + 1) && isPlain;
  return isPlain;
}

/** Returns false for -0, which `JSON.stringify` writes as 0. Throws a `TypeError` for NaN and infinite numbers. */
function isPlainNumber(value: number): boolean {
  if (!Number.isFinite(value)) throw new TypeError(`${value} is not JSON`);
  return value !== 0 || !Object.is(value, -0);
}

/**
 * Throws a `TypeError` for an object whose content JSON does not show: an invalid date, bytes, and an object that keeps
 * its content elsewhere than in its properties, such as a Map, a Set, an Error or a promise.
 */
function refuseOpaque(value: object): void {
  if (value instanceof Date && Number.isNaN(value.getTime())) throw new RangeError('the Date is not valid');
  const name = value.constructor?.name ?? 'object without a prototype';
  if (ArrayBuffer.isView(value)) throw new TypeError(`bytes (${name}) are not JSON`);
  if (value instanceof Map || value instanceof Set) throw new TypeError(`a ${name} is not JSON`);
  const hasPrototype = Object.getPrototypeOf(value) !== null;
  if (hasPrototype && !isBoxedPrimitive(value) && !hasToJson(value) && Object.keys(value).length === 0)
    throw new TypeError(`${name} has no properties to write as JSON`);
}

/** Says whether `JSON.stringify` calls the value's `toJSON`. Data can have a property of this name, too. */
function hasToJson(value: object): value is { toJSON(key: string): unknown } {
  return typeof (value as { toJSON?: unknown }).toJSON === 'function';
}

/**
 * Writes a value like `JSON.stringify`, but a `bigint`, an `ExactNumber` and a `JsonText` with their own text. `key` is the name of the
 * property, which `toJSON` gets. Returns undefined for `undefined`: a property is then left out, and an item of an
 * array becomes `null`.
 */
function write(value: unknown, key: string): string | undefined {
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof ExactNumber || value instanceof JsonText) return value.text;
  if (Object.is(value, -0)) return '-0';
  if (typeof value !== 'object' || value === null || isBoxedPrimitive(value)) return JSON.stringify(value);
  if (hasToJson(value)) return write(value.toJSON(key), key);
  if (Array.isArray(value)) {
    return `[${Array.from(value, (item, index) => write(item, String(index)) ?? 'null').join(',')}]`;
  }
  const properties = Object.entries(value).flatMap(([name, property]) => {
    const text = write(property, name);
    return text === undefined ? [] : [`${JSON.stringify(name)}:${text}`];
  });
  return `{${properties.join(',')}}`;
}
