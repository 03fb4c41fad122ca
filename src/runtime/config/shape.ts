import { didYouMean, EtlError, type ErrorParts } from '../../errors.js';
import { isDag } from '../dag/dag.js';
import { parseDuration } from '../duration.js';
import { isRecord } from '../json.js';
import { DEFAULT_NAMES, validateDefaults } from '../dag/options.js';
import type { Location } from '../modules/location.js';
import { parsePingUrl } from '../report/ping.js';
import { learnFromPingUrl } from '../secrets/learned-secrets.js';
import { quoteIdentifier } from '../sql/quote.js';

type Path = readonly string[];

/**
 * The error ETL-2106 for the first mistake in a config. The loader of the config replaces it by an error that says where
 * the wrong key is, because only the loader knows the text of the file.
 */
export class ShapeError extends EtlError {
  /** The keys that lead to the wrong value: `['connections', 'db', 'url']`. */
  readonly path: Path;
  /** The location of the mistake, if it is known better than by the keys. */
  readonly location: Location | undefined;
  /** The call of `defineConfig` that found the mistake. */
  called: Location | undefined;

  constructor(path: Path, parts: ErrorParts, location?: Location) {
    super('ETL-2106', parts);
    this.path = path;
    this.location = location;
  }
}

/** Throws a `ShapeError` for a wrong value. The keys of `path` lead to the value. */
type Check = (value: unknown, path: Path) => void;

/** Throws a `ShapeError` for the first mistake in a config. `called` is the call of `defineConfig`, if there is one. */
export function assertShape(config: unknown, called?: Location): void {
  try {
    assertFields(config, [], CONFIG);
  } catch (error) {
    if (error instanceof ShapeError) error.called = called;
    throw error;
  }
}

const RESERVED_KEYS = ['__proto__', 'constructor', 'prototype'];

const assertCount: Check = (value, path) => {
  if (!Number.isSafeInteger(value) || Number(value) < 1)
    throw createWrongTypeError(path, 'a whole number of at least 1', value);
};

const assertBoolean: Check = (value, path) => {
  if (typeof value !== 'boolean') throw createWrongTypeError(path, 'true or false', value);
};

/** Throws a `ShapeError` unless the value is a URL to ping. Never shows the value, because the URL is a secret. */
const assertPing: Check = (value, path) => {
  if (typeof value !== 'string') throw createWrongTypeError(path, 'a URL', value);
  learnFromPingUrl(value);
  if (value !== '' && parsePingUrl(value, 'dag') === undefined)
    throw createWrongTypeError(path, 'a URL that begins with https:// or http://', value);
};

const assertFunction: Check = (value, path) => {
  if (typeof value !== 'function') throw createWrongTypeError(path, 'a function', value);
};

const assertTimeout: Check = (value, path) => {
  if (typeof value !== 'string' && typeof value !== 'number')
    throw createWrongTypeError(path, 'a duration such as "10m"', value);
  runCheck(path, () => parseDuration(value, path.join('.')));
};

/** Checks one default of tasks by the rules of the task option with the same name. */
const assertDefault: Check = (value, path) =>
  runCheck(path, () => validateDefaults({ [path.at(-1) ?? '']: value }, 'defaults'));

const assertUrl: Check = (value, path) => {
  if (typeof value !== 'string' && typeof value !== 'function')
    throw createWrongTypeError(path, 'a string or a function', value);
};

/** Throws a `ShapeError` unless the value is a URL, a function, or an object with one of them and perhaps a limit. */
const assertConnection: Check = (value, path) => {
  if (typeof value === 'string' || typeof value === 'function') return;
  if (!isRecord(value)) throw createWrongTypeError(path, 'a URL, a function or { url, concurrency }', value);
  assertFields(value, path, { url: assertUrl, concurrency: assertCount });
  assertUrl(value['url'], [...path, 'url']);
};

/** Throws a `ShapeError` unless the value is the name of a schema that PostgreSQL keeps for no other purpose. */
const assertSchemaName: Check = (value, path) => {
  if (typeof value !== 'string') throw createWrongTypeError(path, 'the name of a schema', value);
  runCheck(path, () => quoteIdentifier(value));
  if (!/^pg_|^information_schema$/.test(value)) return;
  throw new ShapeError(path, {
    what: `the ledger can't be in the schema "${value}", which belongs to PostgreSQL`,
    fix: 'choose another name',
  });
};

/** Throws a `ShapeError` unless the value is an array of Dags whose IDs differ. */
const assertDags: Check = (dags, path) => {
  if (!Array.isArray(dags)) throw createWrongTypeError(path, 'an array of Dags', dags);
  const ids = new Set<string>();
  for (const [index, value] of dags.entries()) {
    const valuePath = [...path, String(index)];
    if (!isDag(value)) {
      throw new ShapeError(valuePath, {
        what: `expected \`dags[${index}]\` to be a Dag, got ${classify(value)}`,
        fix: 'put only values that `dag()` returns into `dags`',
      });
    }
    if (ids.has(value.id)) {
      const what = `two Dags have the ID "${value.id}"`;
      throw new ShapeError(valuePath, { what, fix: 'rename one of the Dags' }, value.location);
    }
    ids.add(value.id);
  }
};

/** The checks for the fields of a config. */
const CONFIG: Readonly<Record<string, Check>> = {
  dags: assertDags,
  connections: (value, path) => assertFields(value, path, assertConnection),
  defaults: (value, path) => assertFields(value, path, DEFAULTS),
  ledger: (value, path) => assertFields(value, path, { schema: assertSchemaName }),
  concurrency: assertCount,
  timeout: assertTimeout,
  showData: assertBoolean,
  ping: assertPing,
  onSuccess: assertFunction,
  onFailure: assertFunction,
  callbackTimeout: assertTimeout,
};
const DEFAULTS: Readonly<Record<string, Check>> = Object.fromEntries(
  DEFAULT_NAMES.map((name) => [name, assertDefault]),
);

/**
 * Checks all fields of an object. `checks` has a check for each known key, or one check for the values of all keys. A
 * field that is undefined counts as absent.
 */
function assertFields(value: unknown, path: Path, checks: Readonly<Record<string, Check>> | Check): void {
  if (!isRecord(value)) throw createWrongTypeError(path, 'an object', value);
  assertOwnKeys(value, path);
  if (typeof checks !== 'function') assertKnownKeys(value, path, Object.keys(checks));
  for (const [key, field] of Object.entries(value)) {
    const check = typeof checks === 'function' ? checks : checks[key];
    if (field !== undefined) check?.(field, [...path, key]);
  }
}

/**
 * Throws a `ShapeError` for a key that would reach a prototype, for a prototype that was set, and for an instance of a
 * class.
 */
function assertOwnKeys(value: object, path: Path): void {
  const reserved = RESERVED_KEYS.find((key) => Object.hasOwn(value, key));
  if (reserved !== undefined) throw createReservedKeyError(path, reserved);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (!isRecord(prototype) || prototype === Object.prototype) return;
  // `{ __proto__: … }` in an object literal sets the prototype and leaves no key. The prototype of a class instance
  // has a `constructor`.
  throw Object.hasOwn(prototype, 'constructor')
    ? createWrongTypeError(path, 'a plain object', value)
    : createReservedKeyError(path, '__proto__');
}

/** Throws a `ShapeError` for the first key that is not in `known`. */
function assertKnownKeys(value: object, path: Path, known: readonly string[]): void {
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown === undefined) return;
  throw new ShapeError([...path, unknown], {
    what: `unknown key "${unknown}" in ${formatName(path)}${didYouMean(unknown, known)}`,
    fix: `the known keys are ${known.join(', ')}`,
  });
}

/** Runs a check that Dags use as well. Turns its error into a `ShapeError`. */
function runCheck(path: Path, check: () => unknown): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof EtlError)) throw error;
    throw new ShapeError(path, { what: error.message, fix: error.fix ?? 'correct the value' });
  }
}

/** Creates the error for a key such as `__proto__`. `path` leads to the object with the key. */
function createReservedKeyError(path: Path, key: string): ShapeError {
  return new ShapeError([...path, key], {
    what: `the key "${key}" is not allowed in a config`,
    why: 'the key reaches the prototype that all objects share',
    fix: 'remove the key, or choose another name',
  });
}

/** Creates the error for a value of a wrong type. `expected` names the right type: `a string`. */
function createWrongTypeError(path: Path, expected: string, value: unknown): ShapeError {
  return new ShapeError(path, {
    what: `expected ${formatName(path)} to be ${expected}, got ${classify(value)}`,
    fix: 'correct the value',
  });
}

/** Returns the name of a value for messages: `` `connections.db` ``, or `the config` for the config itself. */
function formatName(path: Path): string {
  return path.length === 0 ? 'the config' : `\`${path.join('.')}\``;
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
