/** Types among which values of one kind go from the narrowest to the widest without a loss. */
const LADDERS: readonly (readonly string[])[] = [
  ['smallint', 'integer', 'bigint', 'numeric'],
  ['real', 'double precision'],
  ['date', 'timestamp without time zone'],
  ['date', 'timestamp with time zone'],
  ['json', 'jsonb'],
];

const NUMBERS = ['smallint', 'integer', 'bigint', 'numeric', 'real', 'double precision'];

/** Types whose values may fit each other: whether they do, COPY says of each value. */
const FAMILIES: readonly (readonly string[])[] = [
  NUMBERS,
  ['date', 'timestamp without time zone', 'timestamp with time zone'],
  ['time without time zone', 'time with time zone'],
  ['json', 'jsonb'],
  ['boolean'],
  ['uuid'],
  ['bytea'],
];

/** Types whose values look like those of another one: 0 and 1, 20260131, and all that is JSON. */
const LOOK_ALIKE: ReadonlyMap<string, readonly string[]> = new Map([
  ['boolean', ['smallint']],
  ['date', ['integer']],
  ['json', [...NUMBERS, 'boolean']],
  ['jsonb', [...NUMBERS, 'boolean']],
]);

/** The type without length and precision: `numeric(10,2)` is a `numeric`. */
function removeModifier(type: string): string {
  return type.replace(/\([^)]*\)/, '');
}

function findFamily(type: string): readonly string[] | undefined {
  return FAMILIES.find((family) => family.includes(removeModifier(type)));
}

/**
 * True where values of type `source` may go into a column of type `target`; false only where surely none does. A text
 * may hold anything, and so may a type that is not PostgreSQL's own; digits may be a date, JSON, or true and false.
 */
export function canFit(source: string, target: string): boolean {
  const [from, to] = [findFamily(source), findFamily(target)];
  return (
    from === undefined || to === undefined || from === to || from.includes('integer') || to.includes('bytea')
  );
}

/**
 * The narrowest type that takes all values of a column and of the data, where that is another than the column's. Length
 * and precision of a column stay: whoever set them meant them.
 */
export function widenType(column: string, source: string): string | undefined {
  const [from, to] = [removeModifier(source), removeModifier(column)];
  const family = findFamily(column);
  if (from === to || family === undefined) return undefined;
  if (LOOK_ALIKE.get(to)?.includes(from)) return undefined;
  if (!family.includes(from)) return 'text';
  const ladder = LADDERS.find((each) => each.includes(from) && each.includes(to));
  if (ladder !== undefined) return ladder.indexOf(from) > ladder.indexOf(to) ? source : undefined;
  // From here on it is a whole or exact number and a floating one.
  return isFloating(from) && family.includes('numeric') && to !== 'numeric' ? source : undefined;
}

function isFloating(type: string): boolean {
  return type === 'real' || type === 'double precision';
}
