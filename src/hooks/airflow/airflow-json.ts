import { isRecord } from '../../runtime/json.js';
import type { ConnectionFields } from '../connection.js';
import { readDirectory } from '../pglite/pglite-directory.js';
import { createMalformedError, type ConnectionDefinition } from '../definition.js';

/** Airflow's JSON form: its field names, `extra` as an object or as a string that holds one. */
export function parseJson(definition: ConnectionDefinition): ConnectionFields {
  const fields = parseObject(definition.text);
  if (fields === undefined) {
    throw createMalformedError(definition, {
      why: 'The value starts with { and is not a valid JSON object.',
      fix: 'Check quotes, commas and the closing brace.',
    });
  }
  refuseUnknown(definition, fields);
  const text = (field: string): string | undefined => readText(definition, field, fields[field]);
  text('description');
  const parsed = {
    scheme: readScheme(definition, text('conn_type')),
    host: text('host'),
    port: readPort(definition, fields['port']),
    login: text('login'),
    password: text('password'),
    database: text('schema'),
    extra: readExtra(definition, fields['extra']),
  };
  return parsed.scheme === 'pglite' ? readPglite(definition, parsed) : parsed;
}

/** Airflow's `conn_type` as hooks know it: `postgres` for the names of PostgreSQL, `_` for `-`. */
export function normalizeScheme(scheme: string): string {
  const lower = scheme.toLowerCase();
  return lower === 'postgresql' || lower === 'pgsql' ? 'postgres' : lower.replaceAll('-', '_');
}

/** The object that `extra` or the URI parameter `__extra__` holds; absent, null and an empty string hold none. */
export function readExtra(
  definition: ConnectionDefinition,
  value: unknown,
): Readonly<Record<string, unknown>> {
  if (value === undefined || value === null || value === '') return {};
  const extra = typeof value === 'string' ? parseObject(value) : value;
  if (!isRecord(extra)) {
    throw createMalformedError(definition, {
      field: 'extra',
      why: 'It is neither a JSON object nor a string that holds one.',
      fix: 'Write an object such as {"sslmode": "require"}.',
    });
  }
  if (Object.hasOwn(extra, '__proto__')) {
    throw createMalformedError(definition, {
      field: 'extra',
      why: 'The name __proto__ is not allowed.',
      fix: 'Remove it.',
    });
  }
  return extra;
}

/** A port from 0 to 65535 in decimal digits; undefined for any other text. */
export function parsePort(text: string): number | undefined {
  return /^\d+$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined;
}

const FIELDS = ['conn_type', 'description', 'login', 'password', 'host', 'port', 'schema', 'extra'];

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined; // The error of JSON.parse quotes the text, which holds a password: the caller says what failed.
  }
}

/** By number: a field's name could be a secret in the wrong place. */
function refuseUnknown(definition: ConnectionDefinition, fields: Record<string, unknown>): void {
  const index = Object.keys(fields).findIndex((name) => !FIELDS.includes(name));
  if (index < 0) return;
  throw createMalformedError(definition, {
    why: `Field number ${index + 1} is not one that a connection has.`,
    fix: `The fields are ${FIELDS.join(', ')}; driver options belong into extra.`,
  });
}

function readText(definition: ConnectionDefinition, field: string, value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value === 'string' && !/[\0\p{Cs}]/u.test(value)) return value;
  throw createMalformedError(definition, {
    field,
    why: typeof value === 'string' ? 'It has a NUL or half a character.' : 'It is not a string.',
    fix: 'Write it as a JSON string.',
  });
}

function readScheme(definition: ConnectionDefinition, type: string | undefined): string {
  if (type !== undefined && /^[a-z][a-z0-9+._-]*$/i.test(type)) return normalizeScheme(type);
  throw createMalformedError(definition, {
    field: 'conn_type',
    why: type === undefined ? 'It is missing.' : 'It is not the name of a connection type.',
    fix: 'Write "conn_type": "postgres".',
  });
}

function readPort(definition: ConnectionDefinition, value: unknown): number | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  const port = typeof value === 'number' || typeof value === 'string' ? parsePort(String(value)) : undefined;
  if (port !== undefined) return port;
  throw createMalformedError(definition, {
    field: 'port',
    why: 'It is not an integer from 0 to 65535.',
    fix: 'Write for example "port": 5432.',
  });
}

function readPglite(definition: ConnectionDefinition, fields: ConnectionFields): ConnectionFields {
  const { host, port, login, password, database, extra } = fields;
  const others = [host, port, login, password, ...Object.keys(extra ?? {})];
  if (others.every((value) => value === undefined)) return readDirectory(definition, database ?? '');
  throw createMalformedError(definition, {
    why: 'A pglite connection has a directory, in the field "schema", and nothing else.',
    fix: 'Write {"conn_type": "pglite", "schema": "<directory>"}.',
  });
}
