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
/** Accepts an object or an array, but not null. */
export const anObject: Rule = (value) =>
  typeof value === 'object' && value !== null ? undefined : 'an object';
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
      ? value.map((each) => rule(each, name)).find((each) => each !== undefined)
      : 'an array';
/**
 * Returns a rule that accepts an object whose fields pass the rules of their names. The rule throws `EtlError` ETL-2303
 * for a wrong field, so that the message names the field.
 */
export const fields =
  (rules: Readonly<Record<string, Rule>>): Rule =>
  (value, name) => {
    if (typeof value !== 'object' || value === null) return 'an object';
    checkFields(value, rules, `${name}.`);
    return undefined;
  };

/**
 * Accepts a duration. Throws the error of `parseDuration` for any other value, because its message shows an example.
 */
export const duration: Rule = (value, name) => {
  parseDuration(value as string | number, name);
  return undefined;
};

/**
 * Checks all fields of an object by the rules of their names. A field that is undefined counts as absent. `prefix`
 * stands before the name of each field in messages: `csv.`.
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
    if (field === undefined) continue;
    const expected = rule(field, `${prefix}${name}`);
    if (expected !== undefined) {
      throw new EtlError('ETL-2303', {
        what: `expected \`${prefix}${name}\` to be ${expected}, got ${showValue(field)}`,
      });
    }
  }
}
