import { type Row, readValue } from '../copy/encode.js';
import { ExactNumber, JsonText } from '../postgres/exact-number.js';
import { readJsonTraits } from './json-traits.js';
import type { InputColumn } from './row-reader.js';
import { TEXT_TYPES, type TextType, isInt8, isOfType } from './text-type.js';

/** Options for inferring the types of columns. */
export interface InferOptions {
  /**
   * `text`: a string may be the notation of any type, as in CSV, where `1` is a number. `value`: the input has types of
   * its own, as JSON has. Then a string can only be text or one of the types that JSON lacks: dates, timestamps, UUIDs.
   */
  readonly strings: 'text' | 'value';
  /**
   * The type of a number with a fraction: `numeric` for a number that the input writes in decimal digits, as JSON does,
   * and `double precision` for a number of JavaScript. Default `double precision`.
   */
  readonly fractions?: 'numeric' | 'double precision';
  /** The names of the columns. Default: all names in the rows, in order of appearance. */
  readonly names?: readonly string[];
}

/**
 * Infers the columns of some rows. The type of a column fits all of its values and loses nothing of them. It is the
 * widest type of its kind, such as `bigint` for any whole number, so that later rows are likely to fit as well. If a
 * later row does not fit, the load fails.
 *
 * A number with a leading zero, such as a postcode, is text. A column without a value is text, too. `strings` says
 * whether a string can be the text of a number or a date, as in CSV, or is always text, as in JSON.
 */
export function inferColumns(rows: readonly Row[], options: InferOptions): readonly InputColumn[] {
  const { names } = options;
  const guesses = new Map<string, TypeGuess>((names ?? []).map((name) => [name, new TypeGuess(options)]));
  for (const row of rows) {
    if (names === undefined) {
      for (const name in row) if (!guesses.has(name)) guesses.set(name, new TypeGuess(options));
    }
    for (const [name, guess] of guesses) guess.addValue(readValue(row, name));
  }
  return [...guesses].map(([name, guess]) => guess.inferColumn(name));
}

/**
 * The types that a string from JSON can have besides text. JSON has types of its own for numbers, booleans and objects.
 */
const NO_JSON_TYPE: readonly TextType[] = [
  'date',
  'timestamp without time zone',
  'timestamp with time zone',
  'uuid',
];

/** Collects the values of one column, and infers a type that fits all of them. */
class TypeGuess {
  /** The types that fit all strings so far, the narrowest first. */
  #texts: readonly TextType[];
  /** The types of the values that are not strings. */
  readonly #kinds = new Set<string>();
  readonly #fractions: string;
  #hasText = false;
  /** True if there was a `bigint` of JavaScript that `double precision` would round. */
  #hasInexact = false;
  /** The bounds of the whole numbers so far. */
  #least = 0;
  #most = 0;

  constructor({ strings, fractions = 'double precision' }: InferOptions) {
    this.#texts = strings === 'text' ? TEXT_TYPES : NO_JSON_TYPE;
    this.#fractions = fractions;
  }

  /** Takes the next value of the column. `null` and `undefined` fit every type. */
  addValue(value: unknown): void {
    if (value === null || value === undefined) return;
    if (typeof value === 'string') {
      this.#hasText = true;
      if (this.#texts.length > 0) this.#texts = this.#texts.filter((type) => isOfType(type, value));
      if (this.#texts[0] === 'bigint') this.#addWhole(Number(value));
      return;
    }
    const kind = classifyValue(value, this.#fractions);
    this.#kinds.add(kind);
    if (typeof value === 'bigint') this.#hasInexact ||= !isExactDouble(value);
    if (kind === 'bigint') this.#addWhole(Number(value instanceof ExactNumber ? value.text : value));
  }

  /** Extends the bounds. A rounded `bigint` does not fit `integer` either, so that the bounds may be rounded. */
  #addWhole(value: number): void {
    this.#least = Math.min(this.#least, value);
    this.#most = Math.max(this.#most, value);
  }

  /**
   * Returns the column with the type of the values so far:
   *
   * - no values: `text`
   * - only strings: the narrowest type that fits every string, otherwise `text`
   * - only other values of one type: this type
   * - only numbers, of several types: `numeric` if one is `numeric` or a `bigint` that `double precision` would round,
   *   otherwise `double precision`
   * - only JSON, of several types: `json`
   * - anything else: `text`
   */
  inferColumn(name: string): InputColumn {
    const type = this.#chooseType();
    return type === 'bigint' ? { name, type, narrowest: this.#chooseNarrowest() } : { name, type };
  }

  #chooseType(): string {
    if (this.#kinds.size === 0) return (this.#hasText ? this.#texts[0] : undefined) ?? 'text';
    if (this.#hasText) return 'text';
    const kinds = [...this.#kinds];
    const [first = 'text'] = kinds;
    if (kinds.length === 1) return first;
    if (kinds.every((kind) => kind === 'json' || kind === 'jsonb')) return 'json';
    if (!kinds.every((kind) => NUMBERS.has(kind))) return 'text';
    // `double precision` would round a `numeric` value, and `bigint` can't hold a fraction.
    return this.#kinds.has('numeric') || this.#hasInexact ? 'numeric' : 'double precision';
  }

  /** Returns the narrowest type that holds all whole numbers so far. */
  #chooseNarrowest(): string {
    /** Says whether all numbers fit a signed integer with `bits` bits and a sign bit. */
    const fits = (bits: number): boolean => this.#least >= -(2 ** bits) && this.#most < 2 ** bits;
    return fits(15) ? 'smallint' : fits(31) ? 'integer' : 'bigint';
  }
}

const NUMBERS: ReadonlySet<string> = new Set(['bigint', 'numeric', 'double precision']);

/** Says whether `double precision` holds a whole number without rounding it. */
export function isExactDouble(value: bigint): boolean {
  return BigInt(Number(value)) === value;
}

/** Returns the PostgreSQL type of a value that is not a string, `null` or `undefined`. */
export function classifyValue(value: unknown, fractions: string): string {
  if (typeof value === 'boolean') return 'boolean';
  if (typeof value === 'number') return Number.isSafeInteger(value) ? 'bigint' : fractions;
  if (typeof value === 'bigint') return isInt8(String(value)) ? 'bigint' : 'numeric';
  if (value instanceof ExactNumber) return classifyNumber(value.text);
  if (value instanceof JsonText) return readJsonTraits(value.text)?.fitsJsonb === false ? 'json' : 'jsonb';
  if (value instanceof Date) return 'timestamp with time zone';
  if (value instanceof Uint8Array) return 'bytea';
  return 'jsonb';
}

/** Returns the type of a number in decimal notation. `numeric` has no number with a larger exponent: it is text. */
export function classifyNumber(text: string): string {
  if (/^-?\d+$/.test(text)) return isInt8(text) ? 'bigint' : 'numeric';
  return /e[+-]?\d{5}/i.test(text) ? 'text' : 'numeric';
}
