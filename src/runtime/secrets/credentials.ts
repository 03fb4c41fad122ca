import { isSecretName } from './secret-names.js';

/** The texts of a definition that are secret, and the texts that every output may show. */
export interface Credentials {
  readonly secrets: readonly string[];
  /** The login, the host and the database. */
  readonly known: readonly string[];
}

/** Matches a URL inside a text: the scheme, and the text up to a blank or a quotation mark. */
const URL_IN_TEXT = /[a-z][a-z0-9+.-]{0,63}:\/\/[^\s"'`<>]+/gi;
/** Matches `password=…` in libpq's form of a connection. */
const CONNINFO_PASSWORD = /\b(?:ssl)?password\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))/gi;
/** Matches a field with a string in JSON that may be malformed. */
const JSON_FIELD = /"([^"\\]{1,64})"\s*:\s*"((?:[^"\\]|\\.)*)/g;

/**
 * Finds the secrets in the definition of a connection: a URL, Airflow's URI or JSON, or libpq's `host=… password=…`.
 * The definition may be malformed. Returns each secret as it is written and decoded.
 */
export function readDefinition(text: string): Credentials {
  const trimmed = text.trim();
  if (trimmed.startsWith('{')) return readJson(trimmed);
  // A text of no known form can be a password alone.
  if (!/[:=@]/.test(trimmed)) return { secrets: [trimmed], known: [] };
  const parts = [readUrl(trimmed), ...readConninfo(trimmed)];
  return { secrets: parts.flatMap(({ secrets }) => secrets), known: parts.flatMap(({ known }) => known) };
}

/** Finds the secrets of all URLs in a text, such as the source code of a config. Ignores `${…}` and `<…>`. */
export function readUrlsInText(text: string): Credentials {
  const secrets: string[] = [];
  for (const [url] of text.matchAll(URL_IN_TEXT)) {
    if (url.includes('@') || url.includes('=')) secrets.push(...readUrl(url).secrets);
  }
  return { secrets: [...new Set(secrets)].filter((secret) => !/\$\{|^\$/.test(secret)), known: [] };
}

/**
 * Finds the secrets of a URL: its password, the user if an http URL has no password, and the parameters with a secret
 * name. An unencoded `/`, `?`, `#` or `@` in a password makes the URL malformed, so the text up to the last `@` counts
 * as a password, too.
 */
export function readUrl(text: string): Credentials {
  const at = text.indexOf('://');
  const isHttp = /^https?$/i.test(text.slice(0, Math.max(at, 0)));
  const rest = at < 0 ? text : text.slice(at + 3);
  const [, authority = '', path = '', query = ''] = /^([^/?#]*)\/?([^?#]*)\??(.*)$/s.exec(rest) ?? [];
  const secrets = [...readUser(authority, isHttp), ...readUser(rest, false), ...readQuery(query)];
  // A web service may have an access token as its user.
  const known = isHttp ? [] : [...authority.split(/[:@]/).filter((_, i) => i !== 1), path];
  return { secrets: secrets.flatMap(listDecoded), known: known.flatMap(listDecoded) };
}

/** Finds the password in `user:password@host`. With `isToken`, a user without a password is secret, too. */
function readUser(authority: string, isToken: boolean): readonly string[] {
  const end = authority.lastIndexOf('@');
  const colon = authority.indexOf(':');
  if (end < 0) return [];
  if (colon >= 0 && colon < end) return [authority.slice(colon + 1, end)];
  return isToken ? [authority.slice(0, end)] : [];
}

/** Finds the values of the parameters that have a secret name. Airflow's `__extra__` has parameters in JSON. */
function readQuery(query: string): readonly string[] {
  return query.split(/[&;#]/).flatMap((pair) => {
    const [name = ''] = pair.split('=', 1);
    const value = pair.slice(name.length + 1);
    if (decode(name) === '__extra__') return readJson(decode(value)).secrets;
    return isSecretName(decode(name)) ? [value] : [];
  });
}

/** Finds the secrets of Airflow's JSON form, also in the JSON text of `extra`, and also if the text is malformed. */
function readJson(text: string): Credentials {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The definition is malformed. What looks like a field counts as one.
    value = Object.fromEntries([...text.matchAll(JSON_FIELD)].map(([, name = '', raw = '']) => [name, raw]));
  }
  if (typeof value !== 'object' || value === null) return { secrets: [], known: [] };
  const fields = value as Readonly<Record<string, unknown>>;
  const known = ['login', 'host', 'schema']
    .map((name) => fields[name])
    .filter((each) => typeof each === 'string');
  return { secrets: [...listSecretFields(value)], known };
}

/** Yields the texts of all fields with a secret name, at any depth. */
function* listSecretFields(value: unknown, isSecret = false): Generator<string> {
  if (typeof value === 'string') {
    if (isSecret) yield value;
    // `extra` and keys of Google are JSON texts inside JSON.
    if (value.startsWith('{')) yield* readJson(value).secrets;
  }
  if (typeof value === 'number' && isSecret) yield String(value);
  if (typeof value !== 'object' || value === null) return;
  for (const [name, inner] of Object.entries(value))
    yield* listSecretFields(inner, isSecret || isSecretName(name));
}

function readConninfo(text: string): Credentials[] {
  return [...text.matchAll(CONNINFO_PASSWORD)].map(([, quoted, bare = '']) => {
    const raw = quoted ?? bare;
    return { secrets: [raw, raw.replace(/\\(.)/gs, '$1')], known: [] };
  });
}

/** Returns a part of a URL as it is written, and percent-decoded. A query may write a blank as `+`. */
function listDecoded(raw: string): readonly string[] {
  return [...new Set([raw, decode(raw), decode(raw.replaceAll('+', ' '))])];
}

/** Percent-decodes a text. Escapes that are not UTF-8 stay as they are. */
function decode(raw: string): string {
  return raw.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => {
    try {
      return decodeURIComponent(escapes);
    } catch {
      return escapes; // A mask does not need to explain why the URL is malformed.
    }
  });
}
