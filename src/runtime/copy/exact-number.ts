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
 * Returns the JSON text of a value of a row, with every digit of a `bigint` and of an `ExactNumber`. Everything else is
 * written like `JSON.stringify`. A value without such numbers is passed to `JSON.stringify`, which is faster.
 *
 * `encodeJson` is for values that the ledger records. `encodeJson` refuses a Date, a class instance and NaN, which
 * `buildJson` writes.
 *
 * Throws a `TypeError` for a Map, a Set, a function, a symbol, and a value that contains itself.
 */
export function buildJson(value: unknown): string {
  const text = isPlainJson(value, 0) ? JSON.stringify(value) : write(value, '');
  if (text === undefined) throw new TypeError(`a ${typeof value} is not JSON`);
  return text;
}

/**
 * Returns true if `JSON.stringify` loses no digit of the value: there is no `bigint` and no `ExactNumber` in it. Throws
 * the errors of `buildJson`. A value that contains itself reaches the maximum depth.
 */
function isPlainJson(value: unknown, depth: number): boolean {
  if (typeof value === 'bigint') return false;
  if (typeof value === 'function' || typeof value === 'symbol')
    throw new TypeError(`a ${typeof value} is not JSON`);
  if (typeof value !== 'object' || value === null) return true;
  if (value instanceof ExactNumber) return false;
  if (value instanceof Map || value instanceof Set)
    throw new TypeError(`a ${value.constructor.name} is not JSON`);
  if (depth > MAX_DEPTH)
    throw new TypeError(`the value contains itself, or is nested more than ${MAX_DEPTH} levels deep`);
  if ('toJSON' in value) return isPlainJson((value as { toJSON(): unknown }).toJSON(), depth + 1);
  let isPlain = true;
  // Checks all parts, also after one that is not plain, because a later part may be an error.
  for (const part of Object.values(value)) isPlain = isPlainJson(part, depth + 1) && isPlain;
  return isPlain;
}

/**
 * Writes a value like `JSON.stringify`, but a `bigint` and an `ExactNumber` with all digits. `key` is the name of the
 * property, which `toJSON` gets. Returns undefined for `undefined`: a property is then left out, and an item of an
 * array becomes `null`.
 */
function write(value: unknown, key: string): string | undefined {
  if (typeof value === 'bigint' || value instanceof ExactNumber) return value.toString();
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if ('toJSON' in value) return write((value as { toJSON(key: string): unknown }).toJSON(key), key);
  if (Array.isArray(value)) {
    return `[${value.map((item, index) => write(item, String(index)) ?? 'null').join(',')}]`;
  }
  const properties = Object.entries(value).flatMap(([name, property]) => {
    const text = write(property, name);
    return text === undefined ? [] : [`${JSON.stringify(name)}:${text}`];
  });
  return `{${properties.join(',')}}`;
}
