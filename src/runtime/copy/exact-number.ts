import { MAX_DEPTH } from '../json.js';

/**
 * A number that a double would change: more digits than it holds. It keeps the text that it came with, computes like
 * the nearest double, and is written with all of its digits.
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
 * The JSON text of a value of a row, with every digit of a `bigint` and of an `ExactNumber`; otherwise as
 * `JSON.stringify`, which does the work where there is neither: a row has many values. `encodeJson` is for what is
 * recorded, and refuses what this writes: a Date, a class, NaN. Throws a `TypeError` for what would be lost: a Map, a Set,
 * a function, a value that contains itself.
 */
export function buildJson(value: unknown): string {
  const text = isPlainJson(value, 0) ? JSON.stringify(value) : write(value, '');
  if (text === undefined) throw new TypeError(`a ${typeof value} is not JSON`);
  return text;
}

/** True where `JSON.stringify` loses nothing. */
function isPlainJson(value: unknown, depth: number): boolean {
  if (typeof value === 'bigint') return false;
  if (typeof value === 'function' || typeof value === 'symbol')
    throw new TypeError(`a ${typeof value} is not JSON`);
  if (typeof value !== 'object' || value === null) return true;
  if (value instanceof ExactNumber) return false;
  if (value instanceof Map || value instanceof Set)
    throw new TypeError(`a ${value.constructor.name} is not JSON`);
  if (depth > MAX_DEPTH) throw new TypeError(`it contains itself, or is nested more than ${MAX_DEPTH} deep`);
  if ('toJSON' in value) return isPlainJson((value as { toJSON(): unknown }).toJSON(), depth + 1);
  let isPlain = true;
  for (const part of Object.values(value)) isPlain = isPlainJson(part, depth + 1) && isPlain;
  return isPlain;
}

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
