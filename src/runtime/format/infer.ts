import { ExactNumber } from '../postgres/exact-number.js';
import type { Row } from '../copy/encode.js';
import { TEXT_TYPES, type TextType, isOfType } from './text-type.js';
import type { InputColumn } from './row-reader.js';

/** Options for inferring the types of columns. */
export interface InferOptions {
  /**
   * `text`: a string may be the notation of any type, as in CSV, where `1` is a number. `value`: the input has types of
   * its own, as JSON has. Then a string can only be text or one of the types that JSON lacks: dates, timestamps, UUIDs.
   */
  readonly strings: 'text' | 'value';
  /** The names of the columns. Default: all names in the rows, in order of appearance. */
  readonly names?: readonly string[];
}

/**
 * Infers the columns of some rows. The type of a column fits all of its values. It is the widest type of its kind, such
 * as `bigint` for any whole number, so that later rows are likely to fit as well. If a later row does not fit, COPY
 * fails and the transaction rolls back.
 *
 * A number with a leading zero, such as a postcode, is text. A column without a value is text, too. `strings` says
 * whether a string can be the text of a number or a date, as in CSV, or is always text, as in JSON.
 */
export function inferColumns(rows: readonly Row[], { strings, names }: InferOptions): readonly InputColumn[] {
  const guesses = new Map<string, TypeGuess>((names ?? []).map((name) => [name, new TypeGuess(strings)]));
  for (const row of rows) {
    if (names === undefined) {
      for (const name in row) if (!guesses.has(name)) guesses.set(name, new TypeGuess(strings));
    }
    for (const [name, guess] of guesses) guess.addValue(row[name]);
  }
  return [...guesses].map(([name, guess]) => ({ name, type: guess.inferType() }));
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

const INT8_MAX = 2n ** 63n - 1n;

/** Collects the values of one column, and infers a type that fits all of them. */
class TypeGuess {
  /** The types that fit all strings so far, the narrowest first. */
  #texts: readonly TextType[];
  /** The types of the values that are not strings. */
  readonly #kinds = new Set<string>();
  #hasText = false;

  constructor(strings: InferOptions['strings']) {
    this.#texts = strings === 'text' ? TEXT_TYPES : NO_JSON_TYPE;
  }

  /** Takes the next value of the column. `null` and `undefined` fit every type. */
  addValue(value: unknown): void {
    if (value === null || value === undefined) return;
    if (typeof value !== 'string') {
      this.#kinds.add(classifyValue(value));
      return;
    }
    this.#hasText = true;
    if (this.#texts.length > 0) this.#texts = this.#texts.filter((type) => isOfType(type, value));
  }

  /**
   * Returns the type of the values so far:
   *
   * - no values: `text`
   * - only strings: the narrowest type that fits every string, otherwise `text`
   * - only other values of one type: this type
   * - only numbers, of several types: `numeric` if one is `numeric`, otherwise `double precision`
   * - anything else: `text`
   */
  inferType(): string {
    if (this.#kinds.size === 0) return (this.#hasText ? this.#texts[0] : undefined) ?? 'text';
    if (this.#hasText) return 'text';
    const [first = 'text'] = this.#kinds;
    if (this.#kinds.size === 1) return first;
    if (![...this.#kinds].every((kind) => NUMBERS.has(kind))) return 'text';
    // `double precision` would round a `numeric` value, and `bigint` can't hold a fraction.
    return this.#kinds.has('numeric') ? 'numeric' : 'double precision';
  }
}

const NUMBERS: ReadonlySet<string> = new Set(['bigint', 'numeric', 'double precision']);

/** Returns the PostgreSQL type of a value that is not a string, `null` or `undefined`. */
function classifyValue(value: unknown): string {
  if (typeof value === 'boolean') return 'boolean';
  if (typeof value === 'number') return Number.isSafeInteger(value) ? 'bigint' : 'double precision';
  if (typeof value === 'bigint') return value > INT8_MAX || value < -INT8_MAX - 1n ? 'numeric' : 'bigint';
  if (value instanceof ExactNumber) return 'numeric';
  if (value instanceof Date) return 'timestamp with time zone';
  if (value instanceof Uint8Array) return 'bytea';
  return 'jsonb';
}
