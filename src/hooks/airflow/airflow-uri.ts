import { isIPv6 } from 'node:net';
import { normalizeScheme, parsePort, readExtra } from './airflow-json.js';
import type { ConnectionFields } from '../connection.js';
import { createMalformedError, URI_FORM, type ConnectionDefinition } from '../definition.js';
import { unquote } from '../percent.js';

/**
 * Airflow's URI form, which is not a URL: `type://`, `type://:password@` and `type://@:5433` are fine, and each part
 * is percent-decoded. Where Airflow would drop or misplace a part without a word, this reader refuses: at a raw `#`,
 * a raw `@` behind the host, a control character, and escapes that are not UTF-8.
 * https://github.com/apache/airflow/blob/main/airflow-core/src/airflow/models/connection.py
 */
export function parseUri(definition: ConnectionDefinition): ConnectionFields {
  const { text } = definition;
  const scheme = /^([a-z][a-z0-9+._-]*):\/\//i.exec(text);
  if (scheme === null) throw createMissingSchemeError(definition);
  refuseRawCharacters(definition);
  const protocol = readProtocol(definition, scheme[0].length);
  const at = scheme[0].length + protocol.length;
  const [, authority = '', path = '', query = ''] = SECTIONS.exec(text.slice(at)) ?? [];
  // Before the host and the port: an unencoded character of a password is best seen behind them.
  const database = readDatabase(definition, { at: at + authority.length, text: path });
  const extra = readQuery(definition, { at: at + authority.length + path.length, text: query });
  const { host, ...place } = readAuthority(definition, { at, text: authority });
  return {
    scheme: normalizeScheme(scheme[1] ?? ''),
    ...place,
    host: host === undefined ? undefined : protocol.toLowerCase() + host,
    database,
    extra,
  };
}

/**
 * A host as Airflow reads it, before percent-decoding: lower case up to the first escape
 * (https://bugs.python.org/issue32323), and as it is when it stands for a path.
 */
export function readHost(raw: string): string {
  if (unquote(raw)?.includes('/')) return raw;
  const [name = ''] = raw.split('%', 1);
  return name.toLowerCase() + raw.slice(name.length);
}

const SECTIONS = /^([^/?]*)([^?]*)(.*)$/s;
const ENCODE = 'Percent-encode / ? # @ : [ ] and % in each part: %2F %3F %23 %40 %3A %5B %5D %25.';

/** A part of the text and where it starts. */
interface Part {
  readonly at: number;
  readonly text: string;
}

function createMissingSchemeError(definition: ConnectionDefinition): Error {
  const { text } = definition;
  if (/^["'`]/.test(text)) {
    return createMalformedError(definition, {
      index: 0,
      why: 'The value starts with a quotation mark.',
      fix: 'Remove the quotation marks around the value.',
    });
  }
  if (/^\w+\s*=/.test(text)) {
    return createMalformedError(definition, {
      index: 0,
      why: 'Keyword strings (host=... password=...) are not supported.',
      fix: `Write ${URI_FORM}.`,
    });
  }
  return createMalformedError(definition, {
    index: 0,
    why: 'It does not start with scheme://.',
    fix: `Expected scheme://..., for example ${URI_FORM}.`,
  });
}

function refuseRawCharacters(definition: ConnectionDefinition): void {
  const { text } = definition;
  const control = text.search(/[\p{Cc}\p{Cs}]/u);
  if (control >= 0) {
    throw createMalformedError(definition, {
      index: control,
      why: 'There is a line break, another control character, or half a character.',
      fix: 'Remove it, or percent-encode it.',
    });
  }
  const hash = text.indexOf('#');
  if (hash >= 0) {
    throw createMalformedError(definition, {
      index: hash,
      why: 'There is an unencoded #, which would cut off everything behind it.',
      fix: `If it belongs to the password or another part: percent-encode it as %23. ${ENCODE}`,
    });
  }
}

/** `https://` of `http://https://host`: with two `://`, what stands between them belongs to the host. */
function readProtocol(definition: ConnectionDefinition, at: number): string {
  const [head = '', ...rest] = definition.text.slice(at).split('://');
  if (rest.length === 0) return '';
  if (rest.length === 1 && /^[a-z][a-z0-9+.-]*$/i.test(head)) return `${head}://`;
  // Without a host, a :// in a parameter can't be mistaken for one.
  if (rest.length === 1 && /^[/?][^@:]*$/.test(head)) return '';
  throw createMalformedError(definition, {
    index: at + head.length,
    why:
      rest.length > 1 ? 'There are more than two ://.' : 'There is a second :// that is not part of a host.',
    fix: `Percent-encode it as %3A%2F%2F. ${ENCODE}`,
  });
}

function readAuthority(
  definition: ConnectionDefinition,
  { at, text }: Part,
): Omit<ConnectionFields, 'scheme'> {
  const end = text.lastIndexOf('@');
  const user = text.slice(0, Math.max(end, 0));
  const bracket = user.search(/[[\]]/);
  if (bracket >= 0) {
    throw createMalformedError(definition, {
      index: at + bracket,
      why: 'There is an unencoded [ or ] in the login or the password.',
      fix: `Percent-encode it as %5B or %5D. ${ENCODE}`,
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

function readHostAndPort(
  definition: ConnectionDefinition,
  { at, text }: Part,
): Pick<ConnectionFields, 'host' | 'port'> {
  const bracketed = /[[\]]/.test(text);
  const [, raw = '', port = ''] = (bracketed ? BRACKETED : PLAIN).exec(text) ?? [];
  const host = decode(definition, { at, text: readHost(raw) }) || undefined;
  if (bracketed && !isIPv6(host ?? '')) {
    throw createMalformedError(definition, {
      index: at,
      why: 'The brackets do not hold an IPv6 address.',
      fix: `Write [::1] or [::1]:5432. ${ENCODE}`,
    });
  }
  if (port !== '' && parsePort(port) === undefined) {
    throw createMalformedError(definition, {
      index: at + text.length - port.length,
      why: 'The port is not an integer from 0 to 65535.',
      fix: `Check for an unencoded character in the password, and put an IPv6 address in brackets. ${ENCODE}`,
    });
  }
  return { host, port: parsePort(port) };
}

const BRACKETED = /^\[([^[\]]*)\](?::(.*))?$/s;
const PLAIN = /^([^:]*):?(.*)$/s;

function readDatabase(definition: ConnectionDefinition, { at, text }: Part): string | undefined {
  refuseAt(definition, { at, text });
  return decode(definition, { at: at + 1, text: text.slice(1) }) || undefined;
}

function readQuery(definition: ConnectionDefinition, { at, text }: Part): Readonly<Record<string, unknown>> {
  const extra = new Map<string, string>();
  let start = at + 1;
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

/** A raw `@` behind the host is nearly always the end of a password with a raw `/` or `?`. */
function refuseAt(definition: ConnectionDefinition, { at, text }: Part): void {
  const index = text.indexOf('@');
  if (index < 0) return;
  throw createMalformedError(definition, {
    index: at + index,
    why: 'There is an unencoded @ behind the host: the login or the password has an unencoded / or ?.',
    fix: ENCODE,
  });
}

function decode(definition: ConnectionDefinition, { at, text }: Part): string {
  const decoded = unquote(text);
  if (decoded !== undefined && !decoded.includes('\0')) return decoded;
  throw createMalformedError(definition, {
    index: at,
    why: 'The part that starts here has percent-escapes that are not UTF-8 text, or stand for NUL.',
    fix: 'Write a % that starts no escape as %25.',
  });
}
