import type { ConnectionFields } from '../connection.js';
import { createMalformedError, URI_FORM, type ConnectionDefinition } from '../definition.js';
import { unquote } from '../percent.js';
import { findParameterAdvice, PARAMETERS } from './parameters.js';

/** The parameters of a connection string by libpq's key words, such as `host` and `sslmode`. */
export type ConninfoParameters = ReadonlyMap<string, string>;

/**
 * Parses a connection URI as libpq does: `postgres://user:password@host:port,host:port/dbname?name=value`. The user ends
 * at the first `:` or `@`, and the password at the first `@`. A `+` is a `+`. The last of several parameters with one name
 * counts. Does not know which parameters exist.
 *
 * Throws ETL-2201 for a URI that libpq refuses, and in three cases that libpq accepts and no user means: an `@` in the
 * host, the port or the database; a control character; percent-escapes that are not UTF-8.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
 */
export function parseConninfoUri(definition: ConnectionDefinition): ConninfoParameters {
  const { text } = definition;
  refuseControlCharacters(definition);
  const start = text.indexOf('://') + 3;
  const user = /^[^@/]*@/.exec(text.slice(start))?.[0] ?? '';
  const at = start + user.length;
  const [, hosts = '', path = '', query = ''] = SECTIONS.exec(text.slice(at)) ?? [];
  const parameters = new Map<string, string>();
  const add = (name: string, part: Part): void => {
    if (part.text !== '') parameters.set(name, decode(definition, part));
  };
  const [login = ''] = user.slice(0, -1).split(':', 1);
  add('user', { at: start, text: login });
  add('password', { at: start + login.length + 1, text: user.slice(login.length + 1, -1) });
  refuseAt(definition, { at: at + hosts.length, text: path });
  refuseAt(definition, { at, text: hosts });
  // Without a user, a "port" that is no number is the begin of a password with a raw `/` or `?`.
  if (user === '' && /:[^,]*[^\d,]/.test(hosts.replace(/\[[^\]]*\]/g, '')))
    refuseAt(definition, { at: at + hosts.length + path.length, text: query });
  const list = splitHosts(definition, { at, text: hosts });
  add('host', { at, text: list.map(({ host }) => host).join(',') });
  add('port', { at, text: list.map(({ port }) => port).join(',') });
  add('dbname', { at: at + hosts.length + 1, text: path.slice(1) });
  readQuery(definition, { at: at + hosts.length + path.length, text: query }, parameters);
  return parameters;
}

/**
 * Parses libpq's other form of a connection string: `host=db dbname=shop password='a b'`. A backslash escapes the next
 * character. The last of several values of one name counts. Throws ETL-2201 for a string that libpq refuses, and for a
 * name that is not near to a known one: it can be a part of a password with a blank.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE
 */
export function parseConninfoText(definition: ConnectionDefinition): ConninfoParameters {
  const { text } = definition;
  refuseControlCharacters(definition, /(?![\t\n\v\f\r])[\p{Cc}\p{Cs}]/u);
  const parameters = new Map<string, string>();
  PAIR.lastIndex = 0;
  for (let at = 0; at < text.length; at = PAIR.lastIndex) {
    PAIR.lastIndex = at;
    const [all, name = '', quoted, bare = ''] = PAIR.exec(text) ?? [];
    if (all === undefined) throw createPairError(definition, at);
    refuseStrangeName(definition, name, at);
    setParameter(parameters, name, (quoted ?? bare).replace(/\\(.?)/gs, '$1'));
  }
  return parameters;
}

/** Returns the fields of the connection that the parameters describe. Other parameters are in `extra`. */
export function buildFields(parameters: ConninfoParameters): ConnectionFields {
  const { host, port, user, password, dbname, ...rest } = Object.fromEntries(parameters);
  const isNumber = port !== undefined && /^\d{1,5}$/.test(port);
  return {
    scheme: 'postgres',
    host,
    port: isNumber ? Number(port) : undefined,
    login: user,
    password,
    database: dbname,
    // A list of ports belongs to a list of hosts.
    extra: port === undefined || isNumber ? rest : { port, ...rest },
  };
}

/** Matches the hosts up to a `/` or `?` that is not in brackets, the path up to `?`, and the query. */
const SECTIONS =
  /^((?:(?:\[[^\]]*\]|(?!\[[^\]]*\]))[^,/?]*,)*(?:\[[^\]]*\]|(?!\[[^\]]*\]))[^,/?]*)([^?]*)(.*)$/s;

/**
 * Matches one `name = value`, with the blanks before and after. The groups are the name, a value in single quotes, and
 * any other value. Blanks are those of the C locale.
 */
const PAIR =
  /[ \t-\r]*([^= \t-\r]*)[ \t-\r]*=[ \t-\r]*(?:'((?:\\.|[^'\\])*)'|(?!')((?:\\.|[^\\ \t-\r])*\\?))[ \t-\r]*/sy;

/** A part of a definition. `at` is the index of its first character in the definition. */
interface Part {
  readonly at: number;
  readonly text: string;
}

/** Throws ETL-2201 for a control character or an unpaired surrogate. */
function refuseControlCharacters(definition: ConnectionDefinition, pattern = /[\p{Cc}\p{Cs}]/u): void {
  const index = definition.text.search(pattern);
  if (index < 0) return;
  throw createMalformedError(definition, {
    index,
    why: 'the value has a line break, another control character, or half a character',
    fix: 'remove the character, or percent-encode it in a URI',
  });
}

/** Throws ETL-2201 for a raw `@` after the user and the password: the password has an `@` or a `/`. */
function refuseAt(definition: ConnectionDefinition, { at, text }: Part): void {
  const index = text.indexOf('@');
  if (index < 0) return;
  throw createMalformedError(definition, {
    index: at + index,
    why: 'there is an unencoded @ after the user and the password, because one of them has an unencoded @, / or ?',
    fix: 'percent-encode @ : / ? # and % in the user and in the password as %40 %3A %2F %3F %23 %25',
  });
}

/** Splits `host:port,[IPv6 address]:port`. Host and port can be empty. They are not yet percent-decoded. */
function splitHosts(
  definition: ConnectionDefinition,
  { at, text }: Part,
): readonly { readonly host: string; readonly port: string }[] {
  const found: { host: string; port: string }[] = [];
  let index = 0;
  for (;;) {
    const [all, bracketed, host = '', port = ''] =
      /^(?:\[([^\]]+)\](?=[:,]|$)|(?!\[)([^:,]*))(?::([^,]*))?/.exec(text.slice(index)) ?? [];
    if (all === undefined)
      throw createMalformedError(definition, {
        index: at + index,
        why: 'the brackets of an IPv6 address are empty, do not end, or have other text after them',
        fix: 'write [::1] or [::1]:5432; percent-encode a [ of the user or the password as %5B',
      });
    found.push({ host: bracketed ?? host, port });
    index += all.length + 1; // A comma follows, or the end.
    if (index > text.length) return found;
  }
}

/** Adds the parameters of the query, which is empty or starts with `?`. */
function readQuery(
  definition: ConnectionDefinition,
  { at, text }: Part,
  parameters: Map<string, string>,
): void {
  let start = at + 1; // The index of the parameter in the definition, for errors.
  const pairs = text.slice(1).split('&');
  if (pairs.at(-1) === '') pairs.pop(); // libpq accepts a `&` at the end, and an empty query.
  for (const pair of pairs) {
    const [name = '', value, ...rest] = pair.split('=');
    if (value === undefined || rest.length > 0) {
      const [why, fix] =
        value === undefined
          ? ['a parameter has no =', 'write name=value, and percent-encode a & in a value as %26']
          : ['the value of a parameter has an unencoded =', 'percent-encode the = in the value as %3D'];
      throw createMalformedError(definition, { index: start, why, fix });
    }
    const key = decode(definition, { at: start, text: name });
    const decoded = decode(definition, { at: start + name.length + 1, text: value });
    // libpq reads this parameter of JDBC.
    if (key === 'ssl' && decoded === 'true') parameters.set('sslmode', 'require');
    else setParameter(parameters, key, decoded);
    start += pair.length + 1;
  }
}

/** Sets a parameter. `requiressl` is libpq's old name of `sslmode`. */
function setParameter(parameters: Map<string, string>, name: string, value: string): void {
  if (name === 'requiressl') parameters.set('sslmode', value.startsWith('1') ? 'require' : 'prefer');
  else parameters.set(name, value);
}

/**
 * Percent-decodes a part without the blanks around it, as libpq 18 does. Throws ETL-2201 for a `%` that starts no escape,
 * for escapes that are not UTF-8 or that mean NUL, and for a blank inside the part.
 */
function decode(definition: ConnectionDefinition, { at, text }: Part): string {
  const trimmed = text.replace(/^ +| +$/g, '');
  const decoded = /%(?![0-9a-f]{2})/i.test(trimmed) ? undefined : unquote(trimmed);
  if (decoded !== undefined && !decoded.includes('\0') && !trimmed.includes(' ')) return decoded;
  const isBlank = trimmed.includes(' ');
  throw createMalformedError(definition, {
    index: at,
    why: isBlank
      ? 'the part that starts here has an unencoded blank'
      : 'the part that starts here has a % that starts no escape, escapes that are not UTF-8 text, or the escape %00',
    fix: isBlank ? 'percent-encode the blank as %20' : 'write a % that starts no escape as %25',
  });
}

/** Creates ETL-2201 for a text at `at` that is not `name=value`. */
function createPairError(definition: ConnectionDefinition, at: number): Error {
  const isQuote = /^[^=]*=[ \t-\r]*'/.test(definition.text.slice(at));
  return createMalformedError(definition, {
    index: at,
    why: isQuote
      ? "the value that starts after this place has a ' at its begin and none at its end"
      : 'the text that starts here is not name=value',
    fix: isQuote
      ? String.raw`end the value with ', and write a ' in the value as \'`
      : `put a value with blanks in quotes: password='a b', or write ${URI_FORM}`,
  });
}

/**
 * Throws ETL-2201 for a name that no parameter has and that is not near to one. The error does not show the name, because
 * it can be a part of a password with a blank.
 */
function refuseStrangeName(definition: ConnectionDefinition, name: string, at: number): void {
  if (Object.hasOwn(PARAMETERS, name) || name === 'requiressl') return;
  if (findParameterAdvice(name) !== undefined) return;
  throw createMalformedError(definition, {
    index: at,
    why: 'the name that starts here is not a parameter of libpq',
    fix: `put a value with blanks in quotes: password='a b'; the parameters are ${Object.keys(PARAMETERS).join(', ')}`,
  });
}
