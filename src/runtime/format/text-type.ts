import { readJsonTraits } from './json-traits.js';

/**
 * The types that a text can be a notation of, the narrowest first. The names are those of PostgreSQL's `format_type`.
 */
export const TEXT_TYPES = [
  'boolean',
  'bigint',
  'numeric',
  'date',
  'timestamp without time zone',
  'timestamp with time zone',
  'uuid',
  'jsonb',
  'json',
] as const;

/** The name of one of `TEXT_TYPES`. */
export type TextType = (typeof TEXT_TYPES)[number];

const DAY = String.raw`(\d{4})-(\d\d)-(\d\d)`;
const CLOCK = String.raw`[T ]([01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?`;
const ZONE = String.raw`(?:Z|[+-](?:0\d|1[0-4])(?::?[0-5]\d)?)`;

/**
 * Programs write the exponent of a number with a sign (`1e+16`) or after a point (`1.0E10`). Digits, an `E` and digits
 * alone, such as `1E5`, are more likely the number of an article. The exponent has at most three digits.
 */
const EXPONENT = String.raw`(?:\.\d+[eE][+-]?\d{1,3}|[eE][+-]\d{1,3})`;

const PATTERNS: Readonly<Record<Exclude<TextType, 'json' | 'jsonb'>, RegExp>> = {
  boolean: /^(?:[tT][rR][uU][eE]|[fF][aA][lL][sS][eE])$/,
  bigint: /^(?:0|-?[1-9]\d{0,18})$/,
  // PostgreSQL accepts at most 131,072 digits before the point and 16,383 after it.
  numeric: new RegExp(String.raw`^-?(?:0|[1-9]\d{0,99999})(?:\.\d{1,16383}|${EXPONENT})?$`),
  date: new RegExp(`^${DAY}$`),
  'timestamp without time zone': new RegExp(`^${DAY}(?:${CLOCK})?$`),
  'timestamp with time zone': new RegExp(`^${DAY}${CLOCK}${ZONE}$`),
  uuid: /^[\da-fA-F]{8}-[\da-fA-F]{4}-[\da-fA-F]{4}-[\da-fA-F]{4}-[\da-fA-F]{12}$/,
};

/**
 * Says whether PostgreSQL accepts the text as a value of the type and loses nothing of it: the value is written in the
 * same notation, or in another notation of the same value. A text that also has another meaning, such as `007`, `t` or
 * `1/2/2026`, is of no type.
 */
export function isOfType(type: TextType, text: string): boolean {
  if (type === 'jsonb' || type === 'json') return isJson(type, text);
  const match = PATTERNS[type].exec(text);
  if (match === null) return false;
  if (type === 'bigint') return isInt8(text);
  return type.startsWith('date') || type.startsWith('timestamp') ? isDay(match) : true;
}

/**
 * Returns the source of a regular expression for the texts of a type, without flags and anchors. It matches every text of
 * the type, and of other texts only those that the server refuses, such as 2026-02-30. Returns undefined for other types,
 * and for JSON.
 */
export function getTextPattern(type: string): string | undefined {
  return Object.hasOwn(PATTERNS, type)
    ? PATTERNS[type as keyof typeof PATTERNS].source.replace(/^\^|\$$/g, '')
    : undefined;
}

const INT8_MAX = 2n ** 63n - 1n;
/** Every whole number of so many characters, the minus included, is a `bigint`. */
const ALWAYS_INT8 = 18;

/** Says whether a whole number is in the range of `bigint`. */
export function isInt8(text: string): boolean {
  if (text.length <= ALWAYS_INT8) return true;
  const value = BigInt(text);
  return value <= INT8_MAX && value >= -INT8_MAX - 1n;
}

/**
 * Says whether a day exists: false for 2024-02-30 and for the year 0. `match` has year, month and day in its groups 1
 * to 3.
 */
function isDay([, year = '', month = '', day = '']: RegExpExecArray): boolean {
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  return Number(year) > 0 && date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day);
}

/** Says whether the text is a JSON object or array. A JSON number or string alone is more likely a number or a text. */
function isJson(type: 'json' | 'jsonb', text: string): boolean {
  if (!/^\s*[[{]/.test(text)) return false;
  const traits = readJsonTraits(text);
  return traits !== undefined && (type === 'json' || traits.fitsJsonb);
}
