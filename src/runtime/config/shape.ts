import { didYouMean, EtlError } from '../../errors.js';
import { isDag } from '../dag/dag.js';
import { parseDuration } from '../duration.js';
import { isRecord } from '../json.js';
import { validateDefaults } from '../dag/options.js';
import type { Location } from '../modules/location.js';

/** A mistake in the value of a config. */
export interface ShapeProblem {
  /** The keys that lead to the wrong value: `['connections', 'db', 'url']`. */
  readonly path: readonly string[];
  readonly what: string;
  readonly why?: string;
  readonly fix: string;
  /** The location of the mistake, if it is known better than by the keys. */
  readonly location?: Location;
}

type Fields = Readonly<Record<string, unknown>>;

const CONFIG_KEYS = ['dags', 'connections', 'defaults', 'concurrency', 'timeout'];
const CONNECTION_KEYS = ['url', 'concurrency'];
const DEFAULTS_KEYS = ['conn', 'retries', 'backoff', 'timeout', 'isolation', 'retryOn'];
const RESERVED_KEYS = ['__proto__', 'constructor', 'prototype'];

/** Finds the first mistake in a value that should be a config. Returns undefined if there is none. Never throws. */
export function findShapeProblem(value: unknown): ShapeProblem | undefined {
  if (!isRecord(value)) return createWrongTypeProblem([], 'an object', value);
  return findFieldsProblem(value, [], CONFIG_KEYS) ?? findValuesProblem(value);
}

function findValuesProblem(config: Fields): ShapeProblem | undefined {
  return (
    findDagsProblem(config['dags']) ??
    findConnectionsProblem(config['connections']) ??
    findDefaultsProblem(config['defaults']) ??
    findCountProblem(config['concurrency'], ['concurrency']) ??
    findTimeoutProblem(config['timeout'])
  );
}

/**
 * Finds a key that would reach a prototype, a prototype that was set, or a key that is not in `keys`. If `keys` is
 * undefined, all other keys are allowed.
 */
function findFieldsProblem(
  value: Fields,
  path: readonly string[],
  keys?: readonly string[],
): ShapeProblem | undefined {
  const reserved = RESERVED_KEYS.find((key) => Object.hasOwn(value, key));
  if (reserved !== undefined) return createReservedKeyProblem([...path, reserved]);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (isRecord(prototype) && prototype !== Object.prototype) {
    // `{ __proto__: … }` in an object literal sets the prototype and leaves no key. The prototype of a class instance
    // has a `constructor`.
    const isLiteral = !Object.hasOwn(prototype, 'constructor');
    return isLiteral
      ? createReservedKeyProblem([...path, '__proto__'])
      : createWrongTypeProblem(path, 'a plain object', value);
  }
  const unknown = keys && Object.keys(value).find((key) => !keys.includes(key));
  return unknown === undefined ? undefined : createUnknownKeyProblem([...path, unknown], keys);
}

function findDagsProblem(dags: unknown): ShapeProblem | undefined {
  if (dags === undefined) return undefined;
  if (!Array.isArray(dags)) return createWrongTypeProblem(['dags'], 'an array of Dags', dags);
  const seen = new Set<string>();
  for (const [index, value] of dags.entries()) {
    const problem = findDagProblem(value, index, seen);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function findDagProblem(value: unknown, index: number, seen: Set<string>): ShapeProblem | undefined {
  const path = ['dags', String(index)];
  if (!isDag(value)) {
    return {
      path,
      what: `expected \`dags[${index}]\` to be a Dag, got ${classify(value)}`,
      fix: 'put only values that `dag()` returns into `dags`',
    };
  }
  if (seen.has(value.id)) {
    return {
      path,
      what: `two Dags have the ID "${value.id}"`,
      fix: 'rename one of the Dags',
      location: value.location,
    };
  }
  seen.add(value.id);
  return undefined;
}

function findConnectionsProblem(connections: unknown): ShapeProblem | undefined {
  if (connections === undefined) return undefined;
  const path = ['connections'];
  if (!isRecord(connections)) return createWrongTypeProblem(path, 'an object', connections);
  const problem = findFieldsProblem(connections, path);
  if (problem !== undefined) return problem;
  for (const [id, value] of Object.entries(connections)) {
    const found = findConnectionProblem(value, [...path, id]);
    if (found !== undefined) return found;
  }
  return undefined;
}

function findConnectionProblem(value: unknown, path: readonly string[]): ShapeProblem | undefined {
  if (value === undefined || typeof value === 'string') return undefined;
  if (!isRecord(value)) return createWrongTypeProblem(path, 'a URL or { url, concurrency }', value);
  const { url, concurrency } = value;
  return (
    findFieldsProblem(value, path, CONNECTION_KEYS) ??
    (typeof url === 'string' ? undefined : createWrongTypeProblem([...path, 'url'], 'a string', url)) ??
    findCountProblem(concurrency, [...path, 'concurrency'])
  );
}

function findDefaultsProblem(defaults: unknown): ShapeProblem | undefined {
  if (defaults === undefined) return undefined;
  if (!isRecord(defaults)) return createWrongTypeProblem(['defaults'], 'an object', defaults);
  const problem = findFieldsProblem(defaults, ['defaults'], DEFAULTS_KEYS);
  if (problem !== undefined) return problem;
  for (const [key, value] of Object.entries(defaults)) {
    const found = describeProblem(['defaults', key], () => validateDefaults({ [key]: value }, 'defaults'));
    if (found !== undefined) return found;
  }
  return undefined;
}

function findCountProblem(value: unknown, path: readonly string[]): ShapeProblem | undefined {
  if (value === undefined || (Number.isSafeInteger(value) && Number(value) >= 1)) return undefined;
  return createWrongTypeProblem(path, 'a whole number of at least 1', value);
}

function findTimeoutProblem(value: unknown): ShapeProblem | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string' && typeof value !== 'number') {
    return createWrongTypeProblem(['timeout'], 'a duration such as "10m"', value);
  }
  return describeProblem(['timeout'], () => parseDuration(value, 'timeout'));
}

/** Runs a check that Dags use as well. Returns the `EtlError` of the check as a problem of the value at `path`. */
function describeProblem(path: readonly string[], check: () => unknown): ShapeProblem | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (!(error instanceof EtlError)) throw error;
    return { path, what: error.message, fix: error.fix ?? 'correct the value' };
  }
}

function createUnknownKeyProblem(path: readonly string[], keys: readonly string[] = []): ShapeProblem {
  const parent = path.slice(0, -1);
  const object = parent.length === 0 ? 'the config' : `\`${formatPath(parent)}\``;
  return {
    path,
    what: `unknown key "${path.at(-1) ?? ''}" in ${object}${didYouMean(path.at(-1) ?? '', keys)}`,
    fix: `the known keys are ${keys.join(', ')}`,
  };
}

function createReservedKeyProblem(path: readonly string[]): ShapeProblem {
  const key = path.at(-1) ?? '';
  return {
    path,
    what: `the key "${key}" is not allowed in a config`,
    why: 'the key reaches the prototype that all objects share',
    fix: 'remove the key, or choose another name',
  };
}

function createWrongTypeProblem(path: readonly string[], expected: string, value: unknown): ShapeProblem {
  const name = path.length === 0 ? 'the config' : `\`${formatPath(path)}\``;
  return {
    path,
    what: `expected ${name} to be ${expected}, got ${classify(value)}`,
    fix: 'correct the value',
  };
}

function formatPath(path: readonly string[]): string {
  return path
    .map((key, index) => (/^\d+$/.test(key) && index > 0 ? `[${key}]` : index > 0 ? `.${key}` : key))
    .join('');
}

/**
 * Describes the type of a value. Never returns the value itself, unless it is a number: it may be a connection string.
 */
function classify(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return `the number ${value}`;
  if (typeof value !== 'object') return `a ${typeof value}`;
  const name: unknown = value.constructor?.name;
  return typeof name === 'string' && name !== 'Object' ? `an instance of ${name}` : 'an object';
}
