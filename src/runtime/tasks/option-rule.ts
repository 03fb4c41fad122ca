import { didYouMean, EtlError } from '../../errors.js';
import { parseDuration } from '../duration.js';
import { showValue } from '../json.js';

/** Says what a value should be, or undefined for a right one. `name` is how the user calls the option. */
export type Rule = (value: unknown, name: string) => string | undefined;

export const text: Rule = (value) =>
  typeof value === 'string' && value !== '' ? undefined : 'a text that is not empty';
export const count: Rule = (value) =>
  Number.isSafeInteger(value) && Number(value) >= 0 ? undefined : 'a whole number from 0';
export const positive: Rule = (value) =>
  Number.isSafeInteger(value) && Number(value) >= 1 ? undefined : 'a whole number from 1';
export const factor: Rule = (value) =>
  typeof value === 'number' && value >= 1 ? undefined : 'a number from 1';
export const flag: Rule = (value) => (typeof value === 'boolean' ? undefined : 'true or false');
export const aFunction: Rule = (value) => (typeof value === 'function' ? undefined : 'a function');
export const anything: Rule = () => undefined;
export const anObject: Rule = (value) =>
  typeof value === 'object' && value !== null ? undefined : 'an object';
export const oneOf =
  (values: readonly string[]): Rule =>
  (value) =>
    values.includes(value as string) ? undefined : values.map((each) => `"${each}"`).join(' or ');
export const listOf =
  (rule: Rule): Rule =>
  (value, name) =>
    Array.isArray(value)
      ? value.map((each) => rule(each, name)).find((each) => each !== undefined)
      : 'an array';
export const fields =
  (rules: Readonly<Record<string, Rule>>): Rule =>
  (value, name) => {
    if (typeof value !== 'object' || value === null) return 'an object';
    checkFields(value, rules, `${name}.`);
    return undefined;
  };

/** Throws its own error, which says what a duration looks like. */
export const duration: Rule = (value, name) => {
  parseDuration(value as string | number, name);
  return undefined;
};

/** Throws `EtlError` ETL-2303 for a field without a rule, or with a value that its rule refuses. */
export function checkFields(value: object, rules: Readonly<Record<string, Rule>>, prefix: string): void {
  for (const name of Object.keys(value)) {
    const field: unknown = value[name as keyof typeof value];
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined) throw createUnknownOptionError(`${prefix}${name}`, name, Object.keys(rules));
    if (field === undefined) continue;
    const expected = rule(field, `${prefix}${name}`);
    if (expected !== undefined) {
      throw new EtlError('ETL-2303', {
        what: `Expected \`${prefix}${name}\` to be ${expected}, got ${showValue(field)}`,
      });
    }
  }
}

function createUnknownOptionError(path: string, name: string, known: readonly string[]): EtlError {
  return new EtlError('ETL-2303', {
    what: `there is no option \`${path}\`${didYouMean(name, known)}`,
    fix: `the options are ${known.join(', ')}`,
  });
}
