import { ExactNumber } from '../copy/exact-number.js';
import type { Row } from '../copy/encode.js';
import { TEXT_TYPES, type TextType, isOfType } from './text-type.js';
import type { InputColumn } from './row-reader.js';

/** What types are inferred from. */
export interface InferOptions {
  /**
   * `text`: a string may be any value in its notation, as in CSV. `value`: it was a string where it comes from, and only
   * what JavaScript and JSON have no type for is read from it: dates, times, UUIDs.
   */
  readonly strings: 'text' | 'value';
  /** The columns; default: all names that the rows have, in the order in which they appear. */
  readonly names?: readonly string[];
}

/**
 * The columns of some rows, with a type that takes all of their values: the widest of a kind, as `bigint` for any whole
 * number, so that a later row is less likely to be an error. It still is one when it does not fit: COPY says so, and
 * nothing is kept.
 *
 * A number with a leading zero, such as a postcode, is text; so is a column without a value.
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

/** Of the types of text, those that a string can be which was a value already. */
const NO_JSON_TYPE: readonly TextType[] = [
  'date',
  'timestamp without time zone',
  'timestamp with time zone',
  'uuid',
];

const INT8_MAX = 2n ** 63n - 1n;

class TypeGuess {
  /** The types that all strings so far have. */
  #texts: readonly TextType[];
  /** The types of other values. */
  readonly #kinds = new Set<string>();
  #hasText = false;

  constructor(strings: InferOptions['strings']) {
    this.#texts = strings === 'text' ? TEXT_TYPES : NO_JSON_TYPE;
  }

  addValue(value: unknown): void {
    if (value === null || value === undefined) return;
    if (typeof value !== 'string') {
      this.#kinds.add(classifyValue(value));
      return;
    }
    this.#hasText = true;
    if (this.#texts.length > 0) this.#texts = this.#texts.filter((type) => isOfType(type, value));
  }

  inferType(): string {
    if (this.#kinds.size === 0) return (this.#hasText ? this.#texts[0] : undefined) ?? 'text';
    if (this.#hasText) return 'text';
    const [first = 'text'] = this.#kinds;
    if (this.#kinds.size === 1) return first;
    if (![...this.#kinds].every((kind) => NUMBERS.has(kind))) return 'text';
    // A double would change the digits of the one, and a bigint has no place for those of the other.
    return this.#kinds.has('numeric') ? 'numeric' : 'double precision';
  }
}

const NUMBERS: ReadonlySet<string> = new Set(['bigint', 'numeric', 'double precision']);

function classifyValue(value: unknown): string {
  if (typeof value === 'boolean') return 'boolean';
  if (typeof value === 'number') return Number.isSafeInteger(value) ? 'bigint' : 'double precision';
  if (typeof value === 'bigint') return value > INT8_MAX || value < -INT8_MAX - 1n ? 'numeric' : 'bigint';
  if (value instanceof ExactNumber) return 'numeric';
  if (value instanceof Date) return 'timestamp with time zone';
  if (value instanceof Uint8Array) return 'bytea';
  return 'jsonb';
}
