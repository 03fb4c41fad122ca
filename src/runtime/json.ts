import { EtlError, type ErrorCode } from '../errors.js';
import { secrets } from './secrets/secrets.js';

/** A value that JSON can represent. A property that is `undefined` is left out of the text, as in `JSON.stringify`. */
export type Json =
  string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json | undefined };

/**
 * Makes the compiler refuse a task function whose result is not JSON:
 *
 * ```ts
 * declare function session<R>(id: string, fn: (context: Context) => Promise<R> & JsonResult<R>): Task<R>;
 * ```
 *
 * `JsonResult<R>` is `unknown` if `R` is JSON or `void`. Otherwise `JsonResult<R>` is a type with a property that no
 * promise has. The name of the property is the message for the user, and its type is the path of the part that is not
 * JSON. A constraint `R extends Json` would refuse every result whose type is an `interface`.
 */
export type JsonResult<R> = [R] extends [JsonOf<R> | void]
  ? unknown
  : { readonly 'A task result must be JSON': PathOfNotJson<R> };

/** Returns true for an object that is not an array. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The maximum nesting of JSON. PostgreSQL parses much deeper JSON with its default `max_stack_depth`, and the recursion
 * here does not overflow the stack.
 */
export const MAX_DEPTH = 1000;

/** The default maximum size of a recorded value: 1 MiB. */
export const DEFAULT_LIMIT_BYTES = 1024 * 1024;

/** How to write a value as JSON text, and how errors name the value. */
export interface JsonRules {
  /** The name of the value. The path in an error message starts with this name. */
  readonly root: string;
  /** The code of the errors. */
  readonly code: ErrorCode;
  /** The maximum size of the text in UTF-8. */
  readonly limitBytes: number;
  /** `text` writes a bigint as a string of decimal digits, so a reader gets a string. `refuse` throws for a bigint. */
  readonly bigint: 'text' | 'refuse';
}

/**
 * Returns the JSON text of a task's result, for a `jsonb` column. `undefined` becomes `null`, and a bigint becomes a
 * string of its digits. Throws `EtlError` ETL-3401, with the path, for a part that would be lost or changed, that
 * PostgreSQL refuses, or if the text is larger than `limitBytes`.
 */
export function encodeResult(value: unknown, { limitBytes = DEFAULT_LIMIT_BYTES } = {}): string {
  if (value === undefined) return 'null';
  return encodeJson(value, { root: 'result', code: 'ETL-3401', limitBytes, bigint: 'text' });
}

/**
 * Returns the JSON text of `value`. Parsing the text returns the same value, except for a bigint with `bigint: 'text'`
 * and properties that are `undefined`. Throws `EtlError` with the code of `rules` for a part that JSON would change or
 * drop. For values of rows, which may contain dates and exact numbers, see `buildJson` in `postgres/exact-number.ts`.
 */
export function encodeJson(value: unknown, rules: JsonRules): string {
  const check = new JsonCheck(rules);
  check.assertJson(value);
  const text = JSON.stringify(value, check.hasBigint ? formatBigint : undefined);
  const bytes = Buffer.byteLength(text);
  if (bytes > rules.limitBytes) throw check.createTooLargeError(formatSize(bytes));
  return text;
}

/** Returns a value and its type for an error message: `"ten" (string)`. A long string is cut after 60 characters. */
export function showValue(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string') {
    return `${JSON.stringify(secrets.cover(value).slice(0, 60))}${value.length > 60 ? '…' : ''} (string)`;
  }
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') {
    return `${value} (${typeof value})`;
  }
  return addArticle(typeof value === 'object' ? getClassName(value) : typeof value);
}

/** The types that are not JSON, apart from classes. */
type NotJson = ((...args: never) => unknown) | bigint | symbol | undefined | void;

/** Is `T` if `T` is JSON. Otherwise each part that is not JSON is `never`, so `T` does not extend `JsonOf<T>`. */
type JsonOf<T> = T extends string | number | boolean | null
  ? T
  : T extends NotJson
    ? never
    : T extends readonly unknown[]
      ? { [K in keyof T]: JsonOf<T[K]> }
      : T extends object
        ? { [K in keyof T]: K extends symbol ? never : JsonOf<Exclude<T[K], undefined>> | undefined }
        : never;

/**
 * Is the union of the paths in `T` that are not JSON. Looks only five levels deep, because a type may contain itself.
 */
type PathOfNotJson<T, Path extends string = 'result', Depth extends unknown[] = []> = [T] extends [JsonOf<T>]
  ? never
  : Depth['length'] extends 5
    ? Path
    : T extends NotJson | Date | ReadonlyMap<unknown, unknown> | ReadonlySet<unknown>
      ? Path
      : T extends readonly (infer Item)[]
        ? PathOfNotJson<Item, `${Path}[]`, [...Depth, 0]>
        : T extends object
          ? { [K in keyof T & string]: PathOfNotJson<T[K], `${Path}.${K}`, [...Depth, 0]> }[keyof T & string]
          : Path;

/** A value of up to this many times the limit is written, so that the message can name its size. */
const COUNTED_LIMITS = 8;

/** Half of a surrogate pair, or NUL. Both are valid in a JavaScript string, but `jsonb` refuses them (22P05, 22P02). */
export const NOT_TEXT = /[\p{Surrogate}\0]/u;

/** The fix in the error message, by the class or the type of the value. */
const ADVICE: Readonly<Record<string, string>> = {
  Date: 'use toISOString()',
  Map: 'use Object.fromEntries()',
  Set: 'use an array',
  bigint: 'use the decimal text of the bigint',
  undefined: 'use null, or leave out the value',
};

/** Checks one value, and collects what the errors need. */
class JsonCheck {
  readonly #rules: JsonRules;
  /**
   * A lower bound of the length of the JSON text, in UTF-16 units, from the parts that were checked so far. A bound far
   * above the limit is enough to refuse a huge value early.
   */
  #size = 0;
  /** The names and indexes that lead to the value that is being checked. */
  readonly #path: (string | number)[] = [];
  /** The objects around the value that is being checked, to find an object that contains itself. */
  readonly #parents = new Set<object>();
  hasBigint = false;

  constructor(rules: JsonRules) {
    this.#rules = rules;
  }

  /** Throws an error with the path if the value is not JSON. Sets `hasBigint` if the value contains a bigint. */
  assertJson(value: unknown): void {
    if (typeof value === 'string') return this.#assertText(value);
    // At least one character, and the comma, colon or bracket after it.
    this.#count(2);
    if (typeof value === 'boolean' || value === null) return;
    if (typeof value === 'object') return this.#assertObject(value);
    if (typeof value === 'bigint' && this.#rules.bigint === 'text') {
      this.hasBigint = true;
      return;
    }
    if (typeof value !== 'number')
      throw this.#createError(`is ${addArticle(typeof value)}`, ADVICE[typeof value]);
    if (!Number.isFinite(value))
      throw this.#createError(`is ${value}`, 'use null, or the text of the number');
  }

  /** Throws for a text that `jsonb` can't hold. */
  #assertText(value: string): void {
    // The text, two quotes, and the comma, colon or bracket after them.
    this.#count(value.length + 3);
    const found = NOT_TEXT.exec(value);
    if (found?.[0] === '\0')
      throw this.#createError('holds a NUL character, which PostgreSQL cannot store (22P05)');
    if (found)
      throw this.#createError(`holds half of a surrogate pair at index ${found.index}`, 'use toWellFormed()');
  }

  /**
   * Checks an array or an object and all of its parts. Throws for an object that contains itself, is nested too deep,
   * is of a class, or has symbols as names.
   */
  #assertObject(value: object): void {
    if (this.#parents.has(value)) throw this.#createError('contains itself');
    if (this.#parents.size >= MAX_DEPTH)
      throw this.#createError(`is nested more than ${MAX_DEPTH} levels deep`);
    const name = getClassName(value);
    const isArray = Array.isArray(value);
    if (!isPlain(value))
      throw this.#createError(`is ${addArticle(name)}`, ADVICE[name] ?? 'use a plain object');
    if (!isArray && Object.getOwnPropertySymbols(value).length > 0)
      throw this.#createError('has a symbol as the name of a property');
    this.#parents.add(value);
    // `entries` also yields the holes of an array.
    for (const [key, part] of isArray ? value.entries() : Object.entries(value)) {
      if (part === undefined && !isArray) continue;
      this.#path.push(key);
      if (typeof key === 'string') this.#assertText(key);
      this.assertJson(part);
      this.#path.pop();
    }
    this.#parents.delete(value);
  }

  /** Adds the size of a part. Throws if the value is many times larger than the limit, before more of it is checked. */
  #count(size: number): void {
    this.#size += size;
    const most = this.#rules.limitBytes * COUNTED_LIMITS;
    if (this.#size > most) throw this.createTooLargeError(`more than ${formatSize(most)}`);
  }

  /** Creates an error that names the value at the current path, such as `result.rows[3].at`. */
  #createError(problem: string, fix?: string): EtlError {
    const { root, code } = this.#rules;
    return new EtlError(code, {
      what: `expected JSON: \`${root}${formatPath(this.#path)}\` ${problem}`,
      fix,
    });
  }

  /** Creates the error for a value whose JSON text is larger than the limit. `size` is its size as text. */
  createTooLargeError(size: string): EtlError {
    const { root, code, limitBytes } = this.#rules;
    return new EtlError(code, {
      what: `expected \`${root}\` to be at most ${formatSize(limitBytes)} of JSON, got ${size}`,
      fix: 'write rows to a table, and record only their number or their keys',
    });
  }
}

/** Replaces a bigint by its digits. A replacer for `JSON.stringify`. */
function formatBigint(_name: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

/**
 * Returns true for an object without a class: an object literal of this or another realm, or an object without a
 * prototype. Also returns true for an array, unless it has a `toJSON`.
 */
function isPlain(value: object): boolean {
  if (Array.isArray(value)) return !('toJSON' in value);
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Returns the name of the class of an object, or `object` if it has none. */
function getClassName(value: object): string {
  const { constructor } = value;
  return typeof constructor === 'function' && constructor.name !== '' ? constructor.name : 'object';
}

/** Puts `a` or `an` before a noun. `undefined` gets no article. */
function addArticle(noun: string): string {
  if (noun === 'undefined') return noun;
  return `${/^[aeio]/i.test(noun) ? 'an' : 'a'} ${noun}`;
}

/** Returns a path such as `.rows[3].at`. Only the end of a long path is shown, because it names the wrong part. */
function formatPath(path: readonly (string | number)[]): string {
  const parts = path.map((part) => {
    if (typeof part === 'number') return `[${part}]`;
    return /^[A-Za-z_$][\w$]*$/.test(part) ? `.${part}` : `[${JSON.stringify(part)}]`;
  });
  const text = parts.join('');
  return text.length > 200 ? `…${text.slice(-200)}` : text;
}

/** Writes a number of bytes for people: `512 bytes`, `1.5 KiB`, `2 MiB`. */
function formatSize(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  const unit = bytes < 1024 * 1024 ? 'KiB' : 'MiB';
  const size = unit === 'KiB' ? bytes / 1024 : bytes / 1024 / 1024;
  return `${Number(size.toFixed(1))} ${unit}`;
}
