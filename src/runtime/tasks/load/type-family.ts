/** Lists of types, from the narrowest to the widest. A wider type holds every value of a narrower type without loss. */
const LADDERS: readonly (readonly string[])[] = [
  ['smallint', 'integer', 'bigint', 'numeric'],
  ['real', 'double precision'],
  ['date', 'timestamp without time zone'],
  ['date', 'timestamp with time zone'],
  ['json', 'jsonb'],
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

/**
 * The types that data can seem to have although it fits the column: 0 and 1 for boolean, 20260131 for date, a number
 * for JSON.
 */
const LOOK_ALIKE: ReadonlyMap<string, readonly string[]> = new Map([
  ['boolean', ['smallint']],
  ['date', ['integer']],
  ['json', [...NUMBERS, 'boolean']],
  ['jsonb', [...NUMBERS, 'boolean']],
]);

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
 * - The column is `bytea`, which accepts most texts.
 */
export function canFit(dataType: string, columnType: string): boolean {
  const [from, to] = [findFamily(dataType), findFamily(columnType)];
  return (
    from === undefined || to === undefined || from === to || from.includes('integer') || to.includes('bytea')
  );
}

/**
 * Returns the narrowest type that holds all values of both types, or undefined if the column can stay as it is:
 * `widenType('integer', 'bigint')` -> `bigint`, `widenType('bigint', 'integer')` -> undefined,
 * `widenType('uuid', 'date')` -> `text`. The length and precision of a column never change, because the user chose
 * them.
 */
export function widenType(columnType: string, dataType: string): string | undefined {
  const [from, to] = [removeModifier(dataType), removeModifier(columnType)];
  const family = findFamily(columnType);
  // A column without a family is text, or is of a type that the program does not know.
  if (from === to || family === undefined) return undefined;
  if (LOOK_ALIKE.get(to)?.includes(from)) return undefined;
  if (!family.includes(from)) return 'text';
  const ladder = LADDERS.find((each) => each.includes(from) && each.includes(to));
  if (ladder !== undefined) return ladder.indexOf(from) > ladder.indexOf(to) ? dataType : undefined;
  // No ladder has both types. Only one such pair needs a wider column: an integer column for floating-point data. A
  // numeric column holds floating-point values, and COPY converts the values of all other pairs.
  return isFloating(from) && family.includes('numeric') && to !== 'numeric' ? dataType : undefined;
}

function isFloating(type: string): boolean {
  return type === 'real' || type === 'double precision';
}
