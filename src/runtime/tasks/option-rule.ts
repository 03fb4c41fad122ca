import { didYouMean, EtlError } from '../../errors.js';
import { parseDuration } from '../duration.js';
import { showValue } from '../json.js';

/**
 * Checks the value of an option. Returns undefined if the value is right. Otherwise returns what the value must be, as
 * the end of the sentence "expected … to be …": `a whole number from 0`.
 *
 * `name` is the full name of the option for messages, such as `csv.delimiter`.
 */
export type Rule = (value: unknown, name: string) => string | undefined;

/** Accepts a string that is not empty. */
export const text: Rule = (value) =>
  typeof value === 'string' && value !== '' ? undefined : 'a text that is not empty';
/** Accepts every string, also an empty string. */
export const anyText: Rule = (value) => (typeof value === 'string' ? undefined : 'a text');
/** Accepts 0, 1, 2, … */
export const count: Rule = (value) =>
  Number.isSafeInteger(value) && Number(value) >= 0 ? undefined : 'a whole number from 0';
/** Accepts 1, 2, 3, … */
export const positive: Rule = (value) =>
  Number.isSafeInteger(value) && Number(value) >= 1 ? undefined : 'a whole number from 1';
/** Accepts any number from 1, also with a fraction. */
export const factor: Rule = (value) =>
  typeof value === 'number' && value >= 1 ? undefined : 'a number from 1';
/** Accepts a boolean. */
export const flag: Rule = (value) => (typeof value === 'boolean' ? undefined : 'true or false');
/** Accepts a function. */
export const aFunction: Rule = (value) => (typeof value === 'function' ? undefined : 'a function');
/** Accepts every value: something else checks the option. */
export const anything: Rule = () => undefined;
/** Accepts an object that a literal made, as opposed to an array, a Map, a promise and other objects with a class. */
export const aPlainObject: Rule = (value) => (isPlainObject(value) ? undefined : 'an object');
/** Accepts one statement: a text that is not empty, or an object with a text and perhaps its values. */
export const aStatement: Rule = (value, name) => {
  if (typeof value === 'string') return text(value, name) && 'a text that is not empty';
  const isStatement = isPlainObject(value) && text(value['text'], name) === undefined;
  const values = isStatement ? value['values'] : undefined;
  return isStatement && (values === undefined || Array.isArray(values))
    ? undefined
    : 'SQL: a text, or an object with a `text` and an array of `values`';
};
/** Accepts the SQL of a task: one statement, or an array of statements. */
export const aStatementOrList: Rule = (value, name) => {
  if (!Array.isArray(value)) return aStatement(value, name);
  // Unlike `map` and `find`, `from` also visits the holes of an array.
  return Array.from(value, (each) => aStatement(each, name)).find((each) => each !== undefined);
};
/** Returns a rule that accepts the given strings. */
export const oneOf =
  (values: readonly string[]): Rule =>
  (value) =>
    values.includes(value as string) ? undefined : values.map((each) => `"${each}"`).join(' or ');
/** Returns a rule that accepts an array whose elements all pass `rule`. For a wrong element, the rule returns the text of `rule`. */
export const listOf =
  (rule: Rule): Rule =>
  (value, name) =>
    Array.isArray(value)
      ? // Unlike `map`, `from` also visits the holes of an array.
        Array.from(value, (each, index) => rule(each, `${name}[${index}]`)).find((each) => each !== undefined)
      : 'an array';
/**
 * Returns a rule that accepts an object whose fields pass the rules of their names, and that has all fields in
 * `required`. The rule throws `EtlError` ETL-2303 for a wrong field, so that the message names the field.
 */
export const fields =
  (rules: Readonly<Record<string, Rule>>, required: readonly string[] = []): Rule =>
  (value, name) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'an object';
    checkFields(value, rules, `${name}.`);
    const missing = required.find((each) => value[each as keyof typeof value] === undefined);
    return missing === undefined ? undefined : `an object with \`${missing}\``;
  };

/**
 * Accepts a duration. Throws the error of `parseDuration` for any other value, because its message shows an example.
 */
export const duration: Rule = (value, name) => {
  parseDuration(value as string | number, name);
  return undefined;
};

/**
 * The options whose value must not be undefined if they are written at all. Without `needs` a task would start too
 * early, and without `conn` it would write to the default connection: both in silence.
 */
const NEVER_UNDEFINED: ReadonlySet<string> = new Set(['needs', 'conn']);

/**
 * Checks all fields of an object by the rules of their names. A field that is undefined counts as absent, except those
 * in `NEVER_UNDEFINED`. `prefix` stands before the name of each field in messages: `csv.`.
 *
 * Throws `EtlError` ETL-2303 if a field has no rule, or if the rule of a field does not accept its value.
 */
export function checkFields(value: object, rules: Readonly<Record<string, Rule>>, prefix: string): void {
  for (const name of Object.keys(value)) {
    const field: unknown = value[name as keyof typeof value];
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined) {
      throw new EtlError('ETL-2303', {
        what: `there is no option \`${prefix}${name}\`${didYouMean(name, Object.keys(rules))}`,
        fix: `the options are ${Object.keys(rules).join(', ')}`,
      });
    }
    if (field === undefined && !NEVER_UNDEFINED.has(name)) continue;
    const expected = rule(field, `${prefix}${name}`);
    if (expected !== undefined) {
      throw new EtlError('ETL-2303', {
        what: `expected \`${prefix}${name}\` to be ${expected}, got ${showValue(field)}`,
      });
    }
  }
}

/**
 * Returns the value that a function of the user returned for an option. Throws `EtlError` ETL-3011 if the rule of the
 * option does not accept the value.
 */
export function checkReturned<T>(value: T, name: string, rule: Rule): T {
  const expected = rule(value, name);
  if (expected === undefined) return value;
  throw new EtlError('ETL-3011', {
    what: `the function \`${name}\` must return ${expected}, but it returned ${showValue(value)}`,
    fix: `correct the return value of \`${name}\``,
  });
}

function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // The prototype of an object of another realm, such as `vm`, is the last one of its chain, too.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
