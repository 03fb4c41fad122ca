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
 * Reads a connection from Airflow's URI or JSON form, or from `pglite:<dir>`. Throws ETL-2201, which never shows
 * the text. https://airflow.apache.org/docs/apache-airflow/stable/howto/connection.html
 */
export function parseConnection(id: string, text: string, definedBy: string): Connection {
  const definition = { id, definedBy, text: text.trim() };
  return createConnection({ id, definedBy, ...readFields(definition) });
}

/** The URI that `parseConnection` reads back as the same connection, with its password. Never print it. */
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
 * A value of `extra` for an option that is not text: a string that is JSON is decoded, as newer Airflow versions
 * do (`connect_timeout=10` is 10); any other string stays as it is.
 */
export function getExtraOption(connection: Connection, name: string): unknown {
  const value = Object.hasOwn(connection.extra, name) ? connection.extra[name] : undefined;
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value);
  } catch {
    return value; // Not JSON: text is what most options are.
  }
}

function readFields(definition: ConnectionDefinition): ConnectionFields {
  const { text } = definition;
  if (text === '')
    throw createMalformedError(definition, { why: 'The value is empty.', fix: `Expected ${URI_FORM}.` });
  if (text.startsWith('{')) return parseJson(definition);
  const directory = /^pglite:(?:\/\/)?(.*)$/is.exec(text)?.[1];
  // Unescaped, because a path needs no percent-encoding.
  if (directory !== undefined) return readDirectory(definition, directory);
  return parseUri(definition);
}

function formatHost(host: string): string {
  const [, protocol, name] = /^([a-z][a-z0-9+.-]*:\/\/)(.+)$/s.exec(host) ?? [];
  return protocol === undefined || name === undefined ? formatName(host) : protocol + formatName(name);
}

/** A reader lower-cases a host up to its first escape, so an escape in front keeps upper case. */
function formatName(name: string): string {
  const quoted = quote(name);
  if (unquote(readHost(quoted)) === name) return quoted;
  return escapeCharacter(quoted) + quoted.slice(1);
}

/** Pairs where they can be read back, else the whole object as JSON. */
function formatExtra(extra: Connection['extra']): string {
  const entries = Object.entries(extra);
  const lossless = entries.every(([key, value]) => key !== '__extra__' && typeof value === 'string');
  if (!lossless) return `__extra__=${quotePlus(JSON.stringify(extra))}`;
  return entries.map(([key, value]) => `${quotePlus(key)}=${quotePlus(String(value))}`).join('&');
}
