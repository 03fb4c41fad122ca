import { parseJson } from './airflow-json.js';
import { parseUri, readHost } from './airflow-uri.js';
import {
  createConnection,
  joinUri,
  formatPgliteDsn,
  type Connection,
  type ConnectionFields,
} from '../connection.js';
import { readDirectory } from '../pglite/pglite-directory.js';
import { createMalformedError, URI_FORM, type ConnectionDefinition } from '../definition.js';
import { escapeCharacter, quote, quotePlus, unquote } from '../percent.js';

/**
 * Parses a connection from Airflow's URI or JSON form, or from `pglite:<directory>`. Throws ETL-2201 if the text is
 * malformed. The error never quotes the text.
 * https://airflow.apache.org/docs/apache-airflow/stable/howto/connection.html
 */
export function parseConnection(id: string, text: string, definedBy: string): Connection {
  const definition = { id, definedBy, text: text.trim() };
  return createConnection({ id, definedBy, ...readFields(definition) });
}

/**
 * Writes a connection as a URI with its password. `parseConnection` reads the URI back as the same connection. Never
 * print the URI.
 */
export function formatConnection(connection: Connection): string {
  const { scheme, host, password, extra } = connection;
  if (scheme === 'pglite') return formatPgliteDsn(connection);
  return joinUri(connection, {
    host: host === undefined ? '' : formatHost(host),
    password: password === undefined ? undefined : quote(password),
    query: formatExtra(extra),
  });
}

/**
 * Returns an option of `extra`. A string that is valid JSON is decoded, as in newer Airflow versions:
 * `connect_timeout=10` gives the number 10. Any other value is returned unchanged. Undefined if the option is not set.
 */
export function getExtraOption(connection: Connection, name: string): unknown {
  const value = Object.hasOwn(connection.extra, name) ? connection.extra[name] : undefined;
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value);
  } catch {
    return value; // Most options are plain text, not JSON.
  }
}

function readFields(definition: ConnectionDefinition): ConnectionFields {
  const { text } = definition;
  if (text === '')
    throw createMalformedError(definition, { why: 'the value is empty', fix: `write ${URI_FORM}` });
  if (text.startsWith('{')) return parseJson(definition);
  const directory = /^pglite:(?:\/\/)?(.*)$/is.exec(text)?.[1];
  // The directory is not percent-decoded, because users write a path without percent-encoding.
  if (directory !== undefined) return readDirectory(definition, directory);
  return parseUri(definition);
}

function formatHost(host: string): string {
  const [, protocol, name] = /^([a-z][a-z0-9+.-]*:\/\/)(.+)$/s.exec(host) ?? [];
  return protocol === undefined || name === undefined ? formatName(host) : protocol + formatName(name);
}

/**
 * Encodes a host name. `readHost` converts a host to lower case up to the first escape, so a name with upper case
 * starts with an escape.
 */
function formatName(name: string): string {
  const quoted = quote(name);
  if (unquote(readHost(quoted)) === name) return quoted;
  return escapeCharacter(quoted) + quoted.slice(1);
}

/** Writes `extra` as `key=value` pairs if every value is a string, else as one JSON object in `__extra__`. */
function formatExtra(extra: Connection['extra']): string {
  const entries = Object.entries(extra);
  const lossless = entries.every(([key, value]) => key !== '__extra__' && typeof value === 'string');
  if (!lossless) return `__extra__=${quotePlus(JSON.stringify(extra))}`;
  return entries.map(([key, value]) => `${quotePlus(key)}=${quotePlus(String(value))}`).join('&');
}
