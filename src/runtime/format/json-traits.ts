import { MAX_DEPTH } from '../json.js';

/** The properties of a JSON text that decide whether `jsonb` can hold the text. */
export interface JsonTraits {
  /**
   * Whether `jsonb` holds everything in the text. `jsonb` keeps only the last of several properties of one name, and has
   * no NUL character, no half of a surrogate pair and no number outside `numeric`. `json` keeps the text.
   */
  readonly fitsJsonb: boolean;
}

/** Returns the traits of a JSON text. Returns undefined if the text is not JSON, or is nested too deep for the server. */
export function readJsonTraits(text: string): JsonTraits | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const names = countNames(value, 0);
  if (names === undefined) return undefined;
  return { fitsJsonb: names === countNameTokens(text) && !UNFIT.test(text) };
}

/**
 * Matches a NUL character or half of a surrogate pair as an escape, and an exponent of four digits. It also matches whole
 * pairs: the text is then `json`, which loses nothing either.
 */
const UNFIT = /\\u(?:0000|d[89a-f])|\d[eE][+-]?\d{4}/i;

/** Matches a string. Group 1 is the colon after the string, if the string is the name of a property. */
const STRING = /"(?:[^"\\]|\\.)*"(\s*:)?/g;

/** Counts the names of properties in a JSON text, also those that occur twice in one object. */
function countNameTokens(text: string): number {
  let count = 0;
  for (const [, colon] of text.matchAll(STRING)) if (colon !== undefined) count++;
  return count;
}

/** Counts the properties of all objects in a value. Returns undefined if the value is nested too deep. */
function countNames(value: unknown, depth: number): number | undefined {
  if (typeof value !== 'object' || value === null) return 0;
  if (depth > MAX_DEPTH) return undefined;
  const parts: unknown[] = Object.values(value);
  let count = Array.isArray(value) ? 0 : parts.length;
  for (const part of parts) {
    const names = countNames(part, depth + 1);
    if (names === undefined) return undefined;
    count += names;
  }
  return count;
}
