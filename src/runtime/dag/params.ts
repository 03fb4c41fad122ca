import { isDeepStrictEqual } from 'node:util';
import { didYouMean, EtlError } from '../../errors.js';
import { DEFAULT_LIMIT_BYTES, encodeJson, isRecord, showValue } from '../json.js';
import { secrets } from '../secrets/secrets.js';
import type { SchemaIssue, StandardSchema } from './standard-schema.js';

/**
 * Validates the given params of a run with the schema of the Dag, and resolves to the output of the schema. The result
 * is frozen and has no prototype. The result must be JSON, because the ledger records it. A param that is `undefined`
 * counts as not given. If the Dag has no schema, it takes no params, and the result is empty.
 *
 * Rejects with `EtlError` ETL-2401 if the schema does not know a param, and with ETL-2402 if the schema refuses a value
 * or its output is not JSON.
 */
export async function resolveParams<Output>(
  schema: StandardSchema<unknown, Output> | undefined,
  given: Readonly<Record<string, unknown>>,
): Promise<Readonly<Output>> {
  const params = Object.entries(given).filter(([, value]) => value !== undefined);
  for (const [name, value] of params) assertParam(name, value);
  if (!schema && params[0]) throw createUnknownParamError(params[0][0], []);
  const output: Output & object = schema ? await validateParams(schema, params) : Object.create(null);
  // A resumed run reads its params from the ledger. There a bigint would have become a text.
  encodeJson(output, { root: 'params', code: 'ETL-2402', limitBytes: DEFAULT_LIMIT_BYTES, bigint: 'refuse' });
  // Most schemas drop an unknown key without an issue. So a param that is missing in the output may be unknown, or the
  // schema may have used the param to compute another key. To tell the cases apart, validate again without the param.
  for (const [name] of params) {
    const others = params.filter(([other]) => other !== name);
    if (schema && !Object.hasOwn(output, name) && (await givesSameOutput(schema, others, output))) {
      throw createUnknownParamError(name, listParamNames(schema) ?? Object.keys(output));
    }
  }
  return Object.freeze(removePrototype(output));
}

/**
 * Lists the names of the params of a schema, also of those that are optional. Standard Schema does not tell the names, so
 * the function knows the objects of Zod and Valibot. Returns undefined for any other schema.
 */
export function listParamNames(schema: StandardSchema | undefined): readonly string[] | undefined {
  if (schema === undefined) return [];
  // `z.object(…)` has its fields in `shape`, and `v.object(…)` in `entries`.
  const { shape, entries } = schema as { readonly shape?: unknown; readonly entries?: unknown };
  const fields = shape ?? entries;
  return isRecord(fields) ? Object.keys(fields) : undefined;
}

/** Splits `name=value`, the value of the flag `--param`. Throws `EtlError` ETL-2401 if there is no name or no `=`. */
export function parseParamFlag(flag: string): readonly [name: string, value: string] {
  const at = flag.indexOf('=');
  if (at > 0) return [flag.slice(0, at), flag.slice(at + 1)];
  throw new EtlError('ETL-2401', {
    what: `expected a param as name=value, got ${showValue(flag)}`,
    fix: 'write --param region=eu; an empty value is --param region=',
  });
}

/** Throws `EtlError` ETL-2401 if a param is named `__proto__`, and ETL-2402 if its name or value has a NUL character. */
function assertParam(name: string, value: unknown): void {
  // No schema needs a param `__proto__`. Code that copies properties by name would change a prototype with it.
  if (name === '__proto__') throw createUnknownParamError(name, []);
  if (!name.includes('\0') && !(typeof value === 'string' && value.includes('\0'))) return;
  throw createInvalidParamError(
    [`${formatName(name)}: holds a NUL character, which PostgreSQL can't store`],
    [],
  );
}

/**
 * Validates params with a schema and returns the output. Throws `EtlError` ETL-2402 with all issues of the schema, or if
 * the output is not an object.
 */
async function validateParams<Output>(
  schema: StandardSchema<unknown, Output>,
  params: readonly Param[],
): Promise<Output & object> {
  const result = await schema['~standard'].validate(removePrototype(Object.fromEntries(params)));
  if (result.issues) {
    throw createInvalidParamError(
      result.issues.map(formatIssue),
      params.map(([name]) => name),
    );
  }
  const { value } = result;
  if (isRecord(value)) return value;
  throw createInvalidParamError([`the schema returns ${showValue(value)} instead of an object`], []);
}

/**
 * Says whether the schema accepts `params` and returns a value that is equal to `output`. The caller leaves one param out
 * of `params`: if the output stays the same, the schema ignores the param that was left out.
 */
async function givesSameOutput(
  schema: StandardSchema,
  params: readonly Param[],
  output: object,
): Promise<boolean> {
  const result = await schema['~standard'].validate(removePrototype(Object.fromEntries(params)));
  return !result.issues && isDeepStrictEqual(result.value, output);
}

/** A param as the user gave it. */
type Param = readonly [name: string, value: unknown];

/**
 * Copies an object to an object without a prototype, so that no name such as `constructor` finds an inherited property.
 */
function removePrototype<T extends object>(object: T): T {
  return Object.assign(Object.create(null), object);
}

/** Formats an issue of a schema. Issue `{ message: 'too small', path: ['limits', 0] }` -> `limits.0: too small`. */
function formatIssue({ message, path = [] }: SchemaIssue): string {
  const keys = path.map((step) => String(typeof step === 'object' ? step.key : step));
  return keys.length === 0 ? message : `${formatName(keys.join('.'))}: ${message}`;
}

/**
 * Creates the error ETL-2402. `problems` are lines for the message. `given` are the names of the given params, which the
 * message lists.
 */
function createInvalidParamError(problems: readonly string[], given: readonly string[]): EtlError {
  return new EtlError('ETL-2402', {
    what: `the params of this run are not valid:\n${problems.map((problem) => `  ${problem}`).join('\n')}`,
    why: given.length === 0 ? undefined : `the given params are ${given.map(formatName).join(', ')}`,
    fix: 'set a param with --param name=value',
  });
}

/** Creates the error ETL-2401 for a param that the Dag does not take. `known` are the names of the params that it takes. */
function createUnknownParamError(name: string, known: readonly string[]): EtlError {
  const list =
    known.length === 0 ? 'this Dag takes no such param' : `the params of this Dag are ${known.join(', ')}`;
  return new EtlError('ETL-2401', {
    what: `unknown param "${formatName(name)}"${didYouMean(formatName(name), known)}`,
    why: list,
  });
}

/**
 * Formats the first 60 characters of a name that may contain anything. Quotes, line breaks and control characters become
 * escapes, so the result has one line: a line break becomes `\n`.
 */
function formatName(name: string): string {
  return JSON.stringify(secrets.cover(name).slice(0, 60)).slice(1, -1);
}
