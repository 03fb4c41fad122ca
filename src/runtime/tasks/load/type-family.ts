/** Lists of types, from the narrowest to the widest. A wider type holds every value of a narrower type without loss. */
const LADDERS: readonly (readonly string[])[] = [
  ['smallint', 'integer', 'bigint', 'numeric'],
  ['real', 'double precision'],
  ['date', 'timestamp without time zone'],
  ['jsonb', 'json'],
];

/** The types of numbers. */
const NUMBERS = ['smallint', 'integer', 'bigint', 'numeric', 'real', 'double precision'];

/**
 * Groups of types. A value of one type of a group can often be stored in a column of another type of the group: `3` is
 * an integer, and fits a numeric column. So such a difference is no error before the load; COPY refuses each single
 * value that does not fit.
 */
const FAMILIES: readonly (readonly string[])[] = [
  NUMBERS,
  ['date', 'timestamp without time zone', 'timestamp with time zone'],
  ['time without time zone', 'time with time zone'],
  ['json', 'jsonb'],
  ['boolean'],
  ['uuid'],
  ['bytea'],
];

/** The families whose columns accept some values of every family: JSON holds any value, `bytea` most texts. */
const OPEN_TYPES: ReadonlySet<string> = new Set(['json', 'jsonb', 'bytea']);

/** Removes length and precision from a type: `numeric(10,2)` becomes `numeric`. */
function removeModifier(type: string): string {
  return type.replace(/\([^)]*\)/, '');
}

/** Returns the group of a type. Returns undefined for text and for types that are not in a group. */
function findFamily(type: string): readonly string[] | undefined {
  return FAMILIES.find((family) => family.includes(removeModifier(type)));
}

/**
 * Returns false only if surely no value of type `dataType` fits a column of type `columnType`. Returns true in these
 * cases:
 *
 * - One of the types is text, or is not in `FAMILIES`: text can hold anything, and so can a type of an extension.
 * - Both types are in the same family.
 * - The data are numbers: digits can be a date, JSON, or true and false.
 * - The column is JSON or `bytea`.
 * - The data are timestamps and the column is a time: PostgreSQL takes the time of the timestamp.
 */
export function canFit(dataType: string, columnType: string): boolean {
  const [from, to] = [findFamily(dataType), findFamily(columnType)];
  if (from === undefined || to === undefined || from === to || from === NUMBERS) return true;
  if (to.some((type) => OPEN_TYPES.has(type))) return true;
  return dataType.startsWith('timestamp') && columnType.startsWith('time');
}

/**
 * Returns true only if surely every value of type `dataType` fits a column of type `columnType`: the types are the same,
 * or the column is a wider type, a text without a length, or another date or timestamp, whose input accepts both.
 */
export function mustFit(dataType: string, columnType: string): boolean {
  const plain = removeModifier(columnType);
  // The precision of a time or a timestamp rounds and refuses nothing. Other modifiers refuse values.
  if (/^(?:date|time)/.test(plain) && findFamily(plain) === findFamily(dataType)) return true;
  if (dataType === columnType || columnType === 'text' || columnType === 'character varying') return true;
  if (isWider(columnType, dataType)) return true;
  // Every `bigint` is also a value of `real`, which rounds it.
  return isWider('bigint', dataType) && /^(?:real|double precision)$/.test(columnType);
}

/**
 * Returns true only if surely all texts fit a column that has a length or a precision: no text is longer than the length
 * of `character varying(n)`, and no number has as many digits before the point as `numeric(p,s)`. `dataType` is the type
 * of the texts.
 */
export function mustFitLength(
  dataType: string,
  columnType: string,
  texts: readonly (string | null)[],
): boolean {
  const [, name = '', most = '0', scale = '0'] = /^([a-z ]+)\((\d+)(?:,(\d+))?\)$/.exec(columnType) ?? [];
  if (name.startsWith('character')) return texts.every((text) => (text?.length ?? 0) <= Number(most));
  if (name !== 'numeric' || !isWider('numeric', dataType)) return false;
  // Rounding can add a digit.
  const digits = Number(most) - Number(scale) - 1;
  return texts.every(
    (text) =>
      text === null || (/^-?\d+(?:\.\d+)?$/.test(text) && text.replace(/^-|\..*$/g, '').length <= digits),
  );
}

/** Says whether one list has both types, and `wide` is not before `narrow`. */
function isWider(wide: string, narrow: string): boolean {
  return LADDERS.some((each) => each.includes(narrow) && each.indexOf(wide) >= each.indexOf(narrow));
}

/**
 * Lists the types that a column of a type of PostgreSQL can get when the server refuses a value for it, the narrowest
 * first. Each type holds all values that the column has: the type without its length or precision, then the wider types
 * of its list, then text. An array gets arrays of the wider types of its items.
 */
export function listWiderTypes(columnType: string): readonly string[] {
  if (columnType.endsWith('[]')) {
    const items = listWiderTypes(columnType.slice(0, -2)).map((type) => `${type}[]`);
    return [...items, 'text'];
  }
  const plain = removeModifier(columnType);
  // PostgreSQL reads `character` and `bit` without a length as a length of 1.
  const own = { character: 'text', 'character varying': 'text', bit: 'bit varying' }[plain] ?? plain;
  const ladder = LADDERS.find((each) => each.includes(plain)) ?? [];
  const wider = [own, ...ladder.slice(ladder.indexOf(plain) + 1), 'text'];
  return [...new Set(wider)].filter((type) => type !== columnType);
}
