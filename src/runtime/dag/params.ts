import { isDeepStrictEqual } from 'node:util';
import { didYouMean, EtlError } from '../../errors.js';
import { DEFAULT_LIMIT_BYTES, encodeJson, isRecord, showValue } from '../json.js';
import type { SchemaIssue, StandardSchema } from './standard-schema.js';

/**
 * The params of a run: what was given, as the schema of the Dag reads it, frozen and without a prototype. All of it
 * is JSON, because it is recorded. A param that is `undefined` was not given. Rejects with `EtlError` ETL-2401 for
 * a param that the schema does not know, and with ETL-2402 for a value that it refuses.
 */
export async function resolveParams<Output>(
  schema: StandardSchema<unknown, Output> | undefined,
  given: Readonly<Record<string, unknown>>,
): Promise<Readonly<Output>> {
  const params = Object.entries(given).filter(([, value]) => value !== undefined);
  for (const [name, value] of params) assertParam(name, value);
  if (!schema && params[0]) throw createUnknownParamError(params[0][0], []);
  const output: Output & object = schema ? await validateParams(schema, params) : Object.create(null);
  assertRecordable(output);
  for (const [name] of params) {
    const others = params.filter(([other]) => other !== name);
    if (schema && !Object.hasOwn(output, name) && (await canMakeWithout(schema, others, output))) {
      throw createUnknownParamError(name, Object.keys(output));
    }
  }
  return Object.freeze(removePrototype(output));
}

/** The name and the value of `--param name=value`. Throws `EtlError` ETL-2401. */
export function parseParamFlag(flag: string): readonly [name: string, value: string] {
  const at = flag.indexOf('=');
  if (at > 0) return [flag.slice(0, at), flag.slice(at + 1)];
  throw new EtlError('ETL-2401', {
    what: `Expected a param as name=value, got ${showValue(flag)}`,
    fix: 'Write --param region=eu; an empty value is --param region=',
  });
}

function assertParam(name: string, value: unknown): void {
  // No schema needs it, and code that copies names from object to object would change a prototype.
  if (name === '__proto__') throw createUnknownParamError(name, []);
  if (!name.includes('\0') && !(typeof value === 'string' && value.includes('\0'))) return;
  throw createInvalidParamError(
    [`${formatName(name)}: holds a NUL character, which PostgreSQL cannot store`],
    [],
  );
}

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
  throw createInvalidParamError([`the schema makes ${showValue(value)} of them, not an object`], []);
}

function assertRecordable(output: object): void {
  // A run that is resumed reads its params from the record, where a bigint would have become a text.
  encodeJson(output, { root: 'params', code: 'ETL-2402', limitBytes: DEFAULT_LIMIT_BYTES, bigint: 'refuse' });
}

/**
 * True when the schema makes the same output of fewer params: it ignores the missing one, as most schemas do with
 * what they do not know. A param that only goes into another one does make a difference.
 */
async function canMakeWithout(
  schema: StandardSchema,
  params: readonly Param[],
  output: object,
): Promise<boolean> {
  const result = await schema['~standard'].validate(removePrototype(Object.fromEntries(params)));
  return !result.issues && isDeepStrictEqual(result.value, output);
}

type Param = readonly [name: string, value: unknown];

/** Without a prototype, so that no name means more than its value. */
function removePrototype<T extends object>(object: T): T {
  return Object.assign(Object.create(null), object);
}

function formatIssue({ message, path = [] }: SchemaIssue): string {
  const keys = path.map((step) => String(typeof step === 'object' ? step.key : step));
  return keys.length === 0 ? message : `${formatName(keys.join('.'))}: ${message}`;
}

function createInvalidParamError(problems: readonly string[], given: readonly string[]): EtlError {
  return new EtlError('ETL-2402', {
    what: `The params of this run are not valid:\n${problems.map((problem) => `  ${problem}`).join('\n')}`,
    why: given.length === 0 ? undefined : `Given were ${given.map(formatName).join(', ')}.`,
    fix: 'Set a param with --param name=value.',
  });
}

function createUnknownParamError(name: string, known: readonly string[]): EtlError {
  const list = known.length === 0 ? 'This Dag takes no such param.' : `This Dag takes ${known.join(', ')}.`;
  return new EtlError('ETL-2401', {
    what: `Unknown param "${formatName(name)}"${didYouMean(formatName(name), known)}`,
    why: list,
  });
}

/** One line of a name that anybody may have typed. */
function formatName(name: string): string {
  return JSON.stringify(name.slice(0, 60)).slice(1, -1);
}
