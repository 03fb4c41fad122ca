const DAY = String.raw`\d{4,}-\d\d-\d\d`;
const CLOCK = String.raw`\d\d:\d\d:\d\d(?:\.\d{1,9})?`;

/**
 * The texts of types that can't be inferred from a text: with nanoseconds, a year of five digits, or BC. The forms are
 * those in which the reader of Parquet files writes the values.
 */
const FORMS: ReadonlyMap<string, RegExp> = new Map([
  ['date', new RegExp(`^${DAY}(?: BC)?$`)],
  ['time without time zone', new RegExp(`^${CLOCK}$`)],
  ['timestamp without time zone', new RegExp(`^${DAY}T${CLOCK}(?: BC)?$`)],
  ['timestamp with time zone', new RegExp(`^${DAY}T${CLOCK}Z(?: BC)?$`)],
  ['interval', /^\d+ mons \d+ days \d+ milliseconds$/],
]);

/**
 * Says whether all values have the form that values of the type have. Returns false if the values can as well be of another
 * type, as a number can be: then the type is inferred. Values that are all NULL have the form of every type.
 */
export function holdsType(type: string, values: readonly unknown[]): boolean {
  const form = FORMS.get(type);
  return values.every((value) => {
    if (value === null || value === undefined) return true;
    if (type.endsWith('[]')) return Array.isArray(value);
    return form !== undefined && typeof value === 'string' && form.test(value);
  });
}
