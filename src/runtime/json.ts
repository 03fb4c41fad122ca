import { EtlError, type ErrorCode } from '../errors.js';

/** What JSON can hold. A property that is `undefined` is left out of the text, as `JSON.stringify` does. */
export type Json =
  string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json | undefined };

/**
 * Refuses, when the program is compiled, a task function whose result is not JSON:
 *
 * ```ts
 * declare function session<R>(id: string, fn: (context: Context) => Promise<R> & JsonResult<R>): Task<R>;
 * ```
 *
 * It is `unknown` for a result that is JSON, and for `void`. Otherwise it asks for a property that no promise
 * has: its name is the message, its type the path of what can't be recorded. A constraint can't do this:
 * `R extends Json` refuses every result that is typed by an `interface`.
 */
export type JsonResult<R> = [R] extends [JsonOf<R> | void]
  ? unknown
  : { readonly 'A task result must be JSON': PathOfNotJson<R> };

/** True for an object that is not an array: what JSON calls an object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** How deep JSON may be nested: far below what PostgreSQL parses with its default `max_stack_depth`, and no danger to ours. */
export const MAX_DEPTH = 1000;

/** How large a recorded value may be, unless the caller says otherwise: 1 MiB. */
export const DEFAULT_LIMIT_BYTES = 1024 * 1024;

/** How a value is turned into JSON text, and what an error about it is called. */
export interface JsonRules {
  /** The name of the value: a path in an error starts with it. */
  readonly root: string;
  readonly code: ErrorCode;
  readonly limitBytes: number;
  /** `text` writes a bigint as a decimal string: whoever reads the value back gets a string. */
  readonly bigint: 'text' | 'refuse';
}

/**
 * The JSON text of a task's result, for a `jsonb` column. `undefined` becomes `null`, and a bigint its digits in
 * a string. Throws `EtlError` ETL-3401, with the path, for anything that would be lost or changed, or that
 * PostgreSQL refuses.
 */
export function encodeResult(value: unknown, { limitBytes = DEFAULT_LIMIT_BYTES } = {}): string {
  if (value === undefined) return 'null';
  return encodeJson(value, { root: 'result', code: 'ETL-3401', limitBytes, bigint: 'text' });
}

/**
 * The JSON text of `value`, which reads back as the same value: anything that JSON would change or drop is refused. For
 * values of rows, which may hold dates and exact numbers, see `jsonText`. Throws `EtlError` with the code of `rules`.
 */
export function encodeJson(value: unknown, rules: JsonRules): string {
  const writer = new JsonWriter(rules);
  writer.write(value);
  return writer.build();
}

/** A value and its type for an error message, cut to a line: `"ten" (string)`. */
export function showValue(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string') {
    return `${JSON.stringify(value.slice(0, 60))}${value.length > 60 ? '…' : ''} (string)`;
  }
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') {
    return `${value} (${typeof value})`;
  }
  return addArticle(typeof value === 'object' ? getClass(value) : typeof value);
}

type NotJson = ((...args: never) => unknown) | bigint | symbol | undefined | void;

/** `T` where it is JSON; a part of it that is not becomes `never`, and then `T` does not extend it. */
type JsonOf<T> = T extends string | number | boolean | null
  ? T
  : T extends NotJson
    ? never
    : T extends readonly unknown[]
      ? { [K in keyof T]: JsonOf<T[K]> }
      : T extends object
        ? { [K in keyof T]: K extends symbol ? never : JsonOf<Exclude<T[K], undefined>> | undefined }
        : never;

/** Where in `T` the first things are that are not JSON. Looks five levels deep, as a type may contain itself. */
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

/** How far over the limit a size is still counted, for the message. */
const COUNTED_LIMITS = 8;

/** Lone halves of surrogate pairs, and NUL: valid in a JavaScript string, refused by `jsonb` (22P05, 22P02). */
const NOT_TEXT = /[\p{Surrogate}\0]/u;

const ADVICE: Readonly<Record<string, string>> = {
  Date: 'Use toISOString().',
  Map: 'Use Object.fromEntries().',
  Set: 'Use an array.',
  bigint: 'Use its decimal text.',
  undefined: 'Use null, or leave it out.',
};

class JsonWriter {
  readonly #rules: JsonRules;
  readonly #chunks: string[] = [];
  #bytes = 0;
  readonly #path: (string | number)[] = [];
  readonly #parents = new Set<object>();

  constructor(rules: JsonRules) {
    this.#rules = rules;
  }

  build(): string {
    if (this.#bytes > this.#rules.limitBytes) throw this.#createTooLargeError(formatSize(this.#bytes));
    return this.#chunks.join('');
  }

  write(value: unknown): void {
    if (typeof value === 'string') return this.#writeString(value);
    if (typeof value === 'boolean' || value === null) return this.#append(String(value));
    if (typeof value === 'object') return this.#writeObject(value);
    if (typeof value === 'bigint' && this.#rules.bigint === 'text') return this.#append(`"${value}"`);
    if (typeof value !== 'number') throw this.#refuse(`is ${addArticle(typeof value)}`, ADVICE[typeof value]);
    if (!Number.isFinite(value)) throw this.#refuse(`is ${value}`, 'Use null, or its text.');
    this.#append(JSON.stringify(value));
  }

  #writeString(value: string): void {
    const found = NOT_TEXT.exec(value);
    if (found?.[0] === '\0')
      throw this.#refuse('holds a NUL character, which PostgreSQL cannot store (22P05)');
    if (found)
      throw this.#refuse(`holds half of a surrogate pair at index ${found.index}`, 'Use toWellFormed().');
    this.#append(JSON.stringify(value));
  }

  #writeObject(value: object): void {
    if (this.#parents.has(value)) throw this.#refuse('contains itself');
    if (this.#parents.size >= MAX_DEPTH) throw this.#refuse(`is nested more than ${MAX_DEPTH} levels deep`);
    this.#parents.add(value);
    if (Array.isArray(value)) this.#writeArray(value);
    else if (isPlain(value)) this.#writeProperties(value);
    else
      throw this.#refuse(
        `is ${addArticle(getClass(value))}`,
        ADVICE[getClass(value)] ?? 'Use a plain object.',
      );
    this.#parents.delete(value);
  }

  #writeArray(items: readonly unknown[]): void {
    this.#append('[');
    for (let i = 0; i < items.length; i++) {
      if (i > 0) this.#append(',');
      this.#path.push(i);
      this.write(items[i]);
      this.#path.pop();
    }
    this.#append(']');
  }

  #writeProperties(value: object): void {
    if (Object.getOwnPropertySymbols(value).length > 0)
      throw this.#refuse('has a symbol as the name of a property');
    let separator = '{';
    for (const [name, property] of Object.entries(value) as [string, unknown][]) {
      if (property === undefined) continue;
      this.#append(separator);
      separator = ',';
      this.#path.push(name);
      this.#writeString(name);
      this.#append(':');
      this.write(property);
      this.#path.pop();
    }
    this.#append(separator === '{' ? '{}' : '}');
  }

  #append(text: string): void {
    this.#bytes += Buffer.byteLength(text);
    if (this.#bytes <= this.#rules.limitBytes) this.#chunks.push(text);
    else if (this.#bytes > this.#rules.limitBytes * COUNTED_LIMITS) {
      throw this.#createTooLargeError(`more than ${formatSize(this.#rules.limitBytes * COUNTED_LIMITS)}`);
    }
  }

  #refuse(problem: string, fix?: string): EtlError {
    const { root, code } = this.#rules;
    return new EtlError(code, {
      what: `Expected JSON: \`${root}${formatPath(this.#path)}\` ${problem}`,
      fix,
    });
  }

  #createTooLargeError(size: string): EtlError {
    const { root, code, limitBytes } = this.#rules;
    return new EtlError(code, {
      what: `Expected \`${root}\` to be at most ${formatSize(limitBytes)} of JSON, got ${size}`,
      fix: 'Rows belong in tables: write them there, and record their number or their key.',
    });
  }
}

/** An object literal, or one without a prototype; of this or another realm. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function getClass(value: object): string {
  const { constructor } = value;
  return typeof constructor === 'function' && constructor.name !== '' ? constructor.name : 'object';
}

function addArticle(noun: string): string {
  if (noun === 'undefined') return noun;
  return `${/^[aeio]/i.test(noun) ? 'an' : 'a'} ${noun}`;
}

/** The end of a long path says where the mistake is. */
function formatPath(path: readonly (string | number)[]): string {
  const parts = path.map((step) => {
    if (typeof step === 'number') return `[${step}]`;
    return /^[A-Za-z_$][\w$]*$/.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`;
  });
  const build = parts.join('');
  return build.length > 200 ? `…${build.slice(-200)}` : build;
}

function formatSize(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  const unit = bytes < 1024 * 1024 ? 'KiB' : 'MiB';
  const size = unit === 'KiB' ? bytes / 1024 : bytes / 1024 / 1024;
  return `${Number(size.toFixed(1))} ${unit}`;
}
