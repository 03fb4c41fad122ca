import { isRecord } from '../../runtime/json.js';
import type { ConnectionFields } from '../connection.js';
import { parsePgliteDirectory } from '../pglite/pglite-directory.js';
import { createMalformedError, type ConnectionDefinition } from '../definition.js';

/**
 * Parses Airflow's JSON form of a connection. The fields have Airflow's names. `extra` is an object, or a string with a
 * JSON object. Throws ETL-2201 if the definition is malformed.
 *
 * `{"conn_type": "postgres", "host": "db", "schema": "shop"}` -> scheme `postgres`, host `db`, database `shop`
 */
export function parseJson(definition: ConnectionDefinition): ConnectionFields {
  const fields = parseObject(definition.text);
  if (fields === undefined) {
    throw createMalformedError(definition, {
      why: 'the value starts with {, but is not a valid JSON object',
      fix: 'check the quotes, the commas and the closing brace',
    });
  }
  refuseUnknown(definition, fields);
  const text = (field: string): string | undefined => readText(definition, field, fields[field]);
  text('description'); // Only checks the description. A connection has no description.
  const parsed = {
    scheme: readScheme(definition, text('conn_type')),
    host: text('host'),
    port: readPort(definition, fields['port']),
    login: text('login'),
    password: text('password'),
    database: text('schema'),
    extra: readExtra(definition, fields['extra']),
  };
  return parsed.scheme === 'pglite' ? readPgliteFields(definition, parsed) : parsed;
}

/**
 * Returns Airflow's `conn_type` in normal form: lower case, `_` instead of `-`, and `postgres` for every name of
 * PostgreSQL.
 */
export function normalizeScheme(scheme: string): string {
  const lower = scheme.toLowerCase();
  return lower === 'postgresql' || lower === 'pgsql' ? 'postgres' : lower.replaceAll('-', '_');
}

/**
 * Reads the object in `extra` or in the URI parameter `__extra__`. Undefined, null and an empty string are an empty
 * object. Throws ETL-2201 for any other value that is not an object or a string with a JSON object.
 */
export function readExtra(
  definition: ConnectionDefinition,
  value: unknown,
): Readonly<Record<string, unknown>> {
  if (value === undefined || value === null || value === '') return {};
  const extra = typeof value === 'string' ? parseObject(value) : value;
  if (!isRecord(extra)) {
    throw createMalformedError(definition, {
      field: 'extra',
      why: 'the value is neither a JSON object nor a string with a JSON object',
      fix: 'write an object such as {"sslmode": "require"}',
    });
  }
  if (Object.hasOwn(extra, '__proto__')) {
    throw createMalformedError(definition, {
      field: 'extra',
      why: 'the name __proto__ is not allowed',
      fix: 'remove __proto__',
    });
  }
  return extra;
}

/** Parses a port from 0 to 65535 in decimal digits. Returns undefined for any other text, also for an empty one. */
export function parsePort(text: string): number | undefined {
  return /^\d+$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined;
}

/** Airflow's names of the fields. */
const FIELDS = ['conn_type', 'description', 'login', 'password', 'host', 'port', 'schema', 'extra'];

/** Parses JSON. Returns undefined if the text is not JSON, or is JSON but not an object. */
function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch {
    // The error of JSON.parse quotes the text, which can have a password. The caller reports the failure.
    return undefined;
  }
}

/**
 * Throws ETL-2201 for an unknown field. The error has the number of the field and not its name, because a user can have
 * written a secret where the name belongs.
 */
function refuseUnknown(definition: ConnectionDefinition, fields: Record<string, unknown>): void {
  const index = Object.keys(fields).findIndex((name) => !FIELDS.includes(name));
  if (index < 0) return;
  throw createMalformedError(definition, {
    why: `field number ${index + 1} is not a field of a connection`,
    fix: `use only the fields ${FIELDS.join(', ')}; driver options belong in extra`,
  });
}

/**
 * Returns the text of a field. Undefined, null and an empty string count as not set. Throws ETL-2201 for any other
 * value that is not a string, and for a string that the server can't store: with a NUL or an unpaired surrogate.
 */
function readText(definition: ConnectionDefinition, field: string, value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value === 'string' && !/[\0\p{Cs}]/u.test(value)) return value;
  throw createMalformedError(definition, {
    field,
    why: typeof value === 'string' ? 'the value has a NUL or half a character' : 'the value is not a string',
    fix: 'write the value as a JSON string',
  });
}

/**
 * Returns the type of a connection in normal form. Throws ETL-2201 if `conn_type` is missing or is not a type's name.
 */
function readScheme(definition: ConnectionDefinition, type: string | undefined): string {
  if (type !== undefined && /^[a-z][a-z0-9+._-]*$/i.test(type)) return normalizeScheme(type);
  throw createMalformedError(definition, {
    field: 'conn_type',
    why: type === undefined ? 'the field is missing' : 'the value is not the name of a connection type',
    fix: 'write "conn_type": "postgres"',
  });
}

/**
 * Returns the port, which Airflow writes as a number or as a string. Undefined, null and an empty string count as not
 * set. Throws ETL-2201 for any other value that is not a port.
 */
function readPort(definition: ConnectionDefinition, value: unknown): number | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  const port = typeof value === 'number' || typeof value === 'string' ? parsePort(String(value)) : undefined;
  if (port !== undefined) return port;
  throw createMalformedError(definition, {
    field: 'port',
    why: 'the port is not an integer from 0 to 65535',
    fix: 'write for example "port": 5432',
  });
}

/**
 * Returns the fields of a pglite connection: `schema` has its directory. Throws ETL-2201 if another field or an extra
 * is set.
 */
function readPgliteFields(definition: ConnectionDefinition, fields: ConnectionFields): ConnectionFields {
  const { host, port, login, password, database, extra } = fields;
  const others = [host, port, login, password, ...Object.keys(extra ?? {})];
  if (others.every((value) => value === undefined)) return parsePgliteDirectory(definition, database ?? '');
  throw createMalformedError(definition, {
    why: 'a pglite connection has a directory, in the field "schema", and nothing else',
    fix: 'write {"conn_type": "pglite", "schema": "<directory>"}',
  });
}
