import { isIPv6 } from 'node:net';
import { normalizeScheme, parsePort, readExtra } from './airflow-json.js';
import type { ConnectionFields } from '../connection.js';
import { createMalformedError, type ConnectionDefinition } from '../definition.js';
import { unquote } from '../percent.js';

/**
 * Parses Airflow's URI form of a connection, which begins with `<scheme>://`. The form is not a URL: `type://`, `type://:password@` and `type://@:5433`
 * are valid. Each part is percent-decoded. Throws ETL-2201 if the definition is malformed, and also for text of which
 * Airflow would silently drop or misplace a part: a raw `#`, a raw `@` after the host, a control character, or escapes
 * that are not UTF-8.
 *
 * `postgres://ann:s%40lt@db:5432/shop?sslmode=require` -> scheme `postgres`, login `ann`, password `s@lt`, host `db`,
 * port 5432, database `shop`, extra `{ sslmode: 'require' }`
 *
 * https://github.com/apache/airflow/blob/main/airflow-core/src/airflow/models/connection.py
 */
export function parseUri(definition: ConnectionDefinition, scheme: string): ConnectionFields {
  const { text } = definition;
  refuseRawCharacters(definition);
  const start = scheme.length + '://'.length;
  const protocol = readProtocol(definition, start);
  const at = start + protocol.length; // The index after `type://` and the protocol of the host.
  const [, authority = '', path = '', query = ''] = SECTIONS.exec(text.slice(at)) ?? [];
  // A raw `/` or `?` in a password ends the authority too early. The database and the query then have the raw `@`, and
  // the error about this `@` explains more than an error about the port. So these two parts are read first.
  const database = readDatabase(definition, { at: at + authority.length, text: path });
  const extra = readQuery(definition, { at: at + authority.length + path.length, text: query });
  const { host, ...fields } = readAuthority(definition, { at, text: authority });
  return {
    scheme: normalizeScheme(scheme),
    ...fields,
    host: host === undefined ? undefined : protocol.toLowerCase() + host,
    database,
    extra,
  };
}

/**
 * Converts a raw host to lower case as Airflow does: only up to the first escape (https://bugs.python.org/issue32323).
 * A host that decodes to a path is unchanged. The result is not yet percent-decoded.
 *
 * - `DB.Example` -> `db.example`
 * - `DB%2DA` -> `db%2DA`
 * - `%2FVar%2Frun` -> `%2FVar%2Frun`
 */
function lowerHostCase(raw: string): string {
  if (unquote(raw)?.includes('/')) return raw;
  const [name = ''] = raw.split('%', 1);
  return name.toLowerCase() + raw.slice(name.length);
}

/** Splits the text after the scheme into authority, path and query. The path starts with `/`, the query with `?`. */
const SECTIONS = /^([^/?]*)([^?]*)(.*)$/s;
/** The part of a `fix` that lists the characters to encode. */
const ENCODE_HINT = 'percent-encode / ? # @ : [ ] and % in each part as %2F %3F %23 %40 %3A %5B %5D %25';

/** A part of a definition. `at` is the index of its first character in the definition. */
interface Part {
  readonly at: number;
  readonly text: string;
}

/** Throws ETL-2201 for a control character, an unpaired surrogate or a raw `#`. */
function refuseRawCharacters(definition: ConnectionDefinition): void {
  const { text } = definition;
  const control = text.search(/[\p{Cc}\p{Cs}]/u);
  if (control >= 0) {
    throw createMalformedError(definition, {
      index: control,
      why: 'the value has a line break, another control character, or half a character',
      fix: 'remove the character, or percent-encode it',
    });
  }
  const hash = text.indexOf('#');
  if (hash >= 0) {
    throw createMalformedError(definition, {
      index: hash,
      why: 'an unencoded # would cut off everything after it',
      fix: `if the # belongs to the password or another part, percent-encode it as %23; ${ENCODE_HINT}`,
    });
  }
}

/**
 * Returns the protocol of the host: `https://` in `http://https://host`, and an empty string in `http://host`. `at` is
 * the index after the scheme, where the search for a second `://` begins. Throws ETL-2201 if a second `://` does not
 * end a protocol, or if there is a third.
 */
function readProtocol(definition: ConnectionDefinition, at: number): string {
  const [head = '', ...rest] = definition.text.slice(at).split('://');
  if (rest.length === 0) return '';
  if (rest.length === 1 && /^[a-z][a-z0-9+.-]*$/i.test(head)) return `${head}://`;
  // The text goes on with the path or the query, as in `postgres:///shop?proxy=http://host`. So there is no host, and
  // the second :// belongs to the database or to a parameter.
  if (rest.length === 1 && /^[/?][^@:]*$/.test(head)) return '';
  throw createMalformedError(definition, {
    index: at + head.length,
    why:
      rest.length > 1
        ? 'the value has more than two ://'
        : 'the value has a second :// that is not part of a host',
    fix: `percent-encode the :// as %3A%2F%2F; ${ENCODE_HINT}`,
  });
}

/**
 * Reads the part between `type://` and the path: `login:password@host:port`. The last `@` ends the login and password,
 * and the first `:` before this `@` ends the login. An empty field is undefined. Throws ETL-2201 if a field is
 * malformed.
 */
function readAuthority(
  definition: ConnectionDefinition,
  { at, text }: Part,
): Omit<ConnectionFields, 'scheme'> {
  const end = text.lastIndexOf('@'); // -1 if there is no login. The host then starts at `end + 1`, which is 0.
  const user = text.slice(0, Math.max(end, 0));
  const bracket = user.search(/[[\]]/);
  if (bracket >= 0) {
    throw createMalformedError(definition, {
      index: at + bracket,
      why: 'the login or the password has an unencoded [ or ]',
      fix: `percent-encode the bracket as %5B or %5D; ${ENCODE_HINT}`,
    });
  }
  const [login = ''] = user.split(':', 1);
  return {
    login: decode(definition, { at, text: login }) || undefined,
    password:
      decode(definition, { at: at + login.length + 1, text: user.slice(login.length + 1) }) || undefined,
    ...readHostAndPort(definition, { at: at + end + 1, text: text.slice(end + 1) }),
  };
}

/**
 * Reads `host:port` or `[IPv6 address]:port`. Host and port can be missing. The host of a Unix socket is a directory
 * with percent-encoded slashes. Throws ETL-2201 for brackets without an IPv6 address, and for a port that is not a
 * port.
 */
function readHostAndPort(
  definition: ConnectionDefinition,
  { at, text }: Part,
): Pick<ConnectionFields, 'host' | 'port'> {
  const bracketed = /[[\]]/.test(text);
  const [, raw = '', port = ''] = (bracketed ? BRACKETED_HOST_AND_PORT : HOST_AND_PORT).exec(text) ?? [];
  const host = decode(definition, { at, text: lowerHostCase(raw) }) || undefined;
  if (bracketed && !isIPv6(host ?? '')) {
    throw createMalformedError(definition, {
      index: at,
      why: 'the text in brackets is not an IPv6 address',
      fix: `write [::1] or [::1]:5432; ${ENCODE_HINT}`,
    });
  }
  if (port !== '' && parsePort(port) === undefined) {
    throw createMalformedError(definition, {
      index: at + text.length - port.length,
      why: 'the port is not an integer from 0 to 65535',
      fix: `check for an unencoded character in the password, and put an IPv6 address in brackets; ${ENCODE_HINT}`,
    });
  }
  return { host, port: parsePort(port) };
}

/** Matches `[::1]` and `[::1]:5432`. The groups are the text in brackets and the port. */
const BRACKETED_HOST_AND_PORT = /^\[([^[\]]*)\](?::(.*))?$/s;
/** Matches `db`, `db:5432`, `:5432` and an empty text. The groups are the host and the port. */
const HOST_AND_PORT = /^([^:]*):?(.*)$/s;

/** Reads the database from the path, which is empty or starts with `/`. Undefined if the path names no database. */
function readDatabase(definition: ConnectionDefinition, { at, text }: Part): string | undefined {
  refuseAt(definition, { at, text });
  return decode(definition, { at: at + 1, text: text.slice(1) }) || undefined;
}

/**
 * Reads the extras from the query, which is empty or starts with `?`. A `+` is a space. The last of several parameters
 * with one name counts. The parameter `__extra__` has all extras as a JSON object, and then no other parameter counts.
 *
 * `?sslmode=require&application_name=my+app` -> `{ sslmode: 'require', application_name: 'my app' }`
 */
function readQuery(definition: ConnectionDefinition, { at, text }: Part): Readonly<Record<string, unknown>> {
  const extra = new Map<string, string>();
  let start = at + 1; // The index of the parameter in the definition, for errors.
  for (const pair of text.slice(1).split('&')) {
    const [key = ''] = pair.split('=', 1);
    refuseAt(definition, { at: start, text: key });
    const parts = [key, pair.slice(key.length + 1)].map((part) => part.replaceAll('+', ' '));
    const [name = '', value = ''] = parts.map((part) => decode(definition, { at: start, text: part }));
    if (pair !== '') extra.set(name, value);
    start += pair.length + 1;
  }
  return readExtra(definition, extra.get('__extra__') ?? Object.fromEntries(extra));
}

/**
 * Throws ETL-2201 for a raw `@` after the host. Such an `@` nearly always ends a password that has a raw `/` or `?`.
 */
function refuseAt(definition: ConnectionDefinition, { at, text }: Part): void {
  const index = text.indexOf('@');
  if (index < 0) return;
  throw createMalformedError(definition, {
    index: at + index,
    why: 'there is an unencoded @ after the host, because the login or the password has an unencoded / or ?',
    fix: ENCODE_HINT,
  });
}

/** Percent-decodes a part. Throws ETL-2201 if the result is not UTF-8 text or has a NUL. */
function decode(definition: ConnectionDefinition, { at, text }: Part): string {
  const decoded = unquote(text);
  if (decoded !== undefined && !decoded.includes('\0')) return decoded;
  throw createMalformedError(definition, {
    index: at,
    why: 'the part that starts here has percent-escapes that are not UTF-8 text, or that mean NUL',
    fix: 'write a % that starts no escape as %25',
  });
}
