import { ExactNumber, JsonText } from '../postgres/exact-number.js';
import { classifyNumber, classifyValue, isExactDouble } from './infer.js';
import { TEXT_TYPES, type TextType, isOfType } from './text-type.js';

/** The columns whose types come from the first values of the input, and the reaction to a later value of another form. */
export interface LaterValues {
  readonly columns: readonly InferredColumn[];
  /** Called for each value that a column may not keep. Throws unless the server refuses the value. */
  refuse(value: LaterValue): Promise<void>;
}

/** A column whose type is inferred. */
export interface InferredColumn {
  readonly name: string;
  readonly type: string;
}

/** A value of another form than the type that was inferred for its column. */
export interface LaterValue extends InferredColumn {
  readonly text: string;
  /** The location for messages: `in/orders.csv, line 1017`. */
  readonly where: string;
}

/** Texts of other forms that PostgreSQL writes again as they are. */
const SAME: Readonly<Partial<Record<TextType, RegExp>>> = {
  numeric: /^(?:NaN|-?Infinity)$/,
  date: /^-?infinity$/,
  'timestamp without time zone': /^-?infinity$/,
  'timestamp with time zone': /^-?infinity$/,
};

/** JSON without parts that `jsonb` writes exactly as it is: no blanks, exponents or escapes. */
const PLAIN_JSON = /^(?:null|true|false|(?!-0(?:\.0+)?$)-?(?:0|[1-9]\d*)(?:\.\d+)?|"[^"\\\p{Cc}]*")$/u;

/** Says whether a column of the type keeps every text that the server accepts. */
export function keepsEveryText(type: string): boolean {
  return type === 'text' || type === 'json';
}

/**
 * Says whether a column of an inferred type keeps a text: the server would write the value in the same notation, or in
 * another notation of the same value that inference accepts too. False for `007` in a column of type `bigint`, and for a
 * text that the server refuses.
 */
export function keepsText(type: string, text: string): boolean {
  if (keepsEveryText(type)) return true;
  if (type === 'jsonb') return isOfType(type, text) || PLAIN_JSON.test(text);
  if (type === 'bytea') return /^\\x(?:[\da-f]{2})*$/.test(text);
  if (type === 'double precision') return String(Number(text)) === text;
  return isTextType(type) && (isOfType(type, text) || SAME[type]?.test(text) === true);
}

function isTextType(type: string): type is TextType {
  return (TEXT_TYPES as readonly string[]).includes(type);
}

/**
 * Returns a function that says whether a column of an inferred type keeps a value that is not null. Returns undefined if
 * the column keeps every value. `strings` says what a string is, as in `RowReader`.
 */
export function createValueCheck(
  type: string,
  strings: 'text' | 'value',
): ((value: unknown) => boolean) | undefined {
  if (keepsEveryText(type)) return undefined;
  // A string of JSON is written as a JSON string, and nothing of it is lost.
  const keepsString =
    type === 'jsonb' && strings === 'value'
      ? (): boolean => true
      : (text: string): boolean => keepsText(type, text) && (strings === 'text' || !HAS_EXPONENT.test(text));
  return (value) => {
    if (typeof value === 'string') return keepsString(value);
    return KEEPS_VALUE[type]?.(value) ?? classifyValue(value, '') === type;
  };
}

/** A string of this form is no number in JSON: `numeric` would write `1.0E10` as 10000000000. */
const HAS_EXPONENT = /^-?\d+(?:\.\d+)?[eE]/;

/** Says of a value that is not a string whether a column of the type keeps it. Other types keep the values of one kind. */
const KEEPS_VALUE: Readonly<Record<string, (value: unknown) => boolean>> = {
  numeric: (value) =>
    value instanceof ExactNumber
      ? classifyNumber(value.text) !== 'text'
      : typeof value === 'number' || typeof value === 'bigint',
  'double precision': (value) =>
    typeof value === 'number' || (typeof value === 'bigint' && isExactDouble(value)),
  jsonb: (value) => !(value instanceof JsonText) || classifyValue(value, '') === 'jsonb',
};
