import { readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readDefinition, readUrl, readUrlsInText } from './credentials.js';
import { isSecretName } from './secret-names.js';
import { secrets } from './secrets.js';

/** The variable with the URL that `etl run` pings. */
export const PING_VARIABLE = 'ETL_PING_URL';

/** The values of variables by name. */
type Variables = Readonly<Record<string, string | undefined>>;

/** A variable with a secret name is a secret if its value has this length. `TOKEN=1` is a switch. */
const MIN_VALUE_LENGTH = 8;

/**
 * Adds the secrets of variables: of those that define a connection, of every other variable with a URL, and the values of
 * variables with a secret name, such as `PGPASSWORD` and `AWS_SECRET_ACCESS_KEY`.
 */
export function learnFromVariables(variables: Variables): void {
  for (const [name, value] of Object.entries(variables)) {
    if (value === undefined || value === '') continue;
    if (name === PING_VARIABLE) learnFromPingUrl(value);
    const isDefinition = /^(?:ETL|AIRFLOW)_CONN_/.test(name) || name === 'DATABASE_URL';
    if (isDefinition) secrets.add(readDefinition(value));
    else if (value.includes('://')) secrets.add(readUrlsInText(value));
    if (name === 'PGUSER' || name === 'PGDATABASE') secrets.add({ secrets: [], known: [value] });
    const isSecret = isSecretName(name) && (value.length >= MIN_VALUE_LENGTH || name === 'PGPASSWORD');
    if (!isDefinition && isSecret) secrets.add({ secrets: [value, value.trim()], known: [] });
  }
}

/**
 * Adds the secrets of a command line before anything reads it: those of `--conn id=url` and `--from id=url`, and of every
 * URL. A value that is an ID alone is no secret. `argv` has no program.
 */
export function learnFromArguments(argv: readonly string[]): void {
  argv.forEach((word, index) => {
    const isValue = /^--(?:conn|from)$/.test(argv[index - 1] ?? '');
    const value = /^--(?:conn|from)=(.*)$/s.exec(word)?.[1] ?? (isValue ? word : undefined);
    if (value !== undefined && /^[\w.-]+$/.test(value)) return;
    if (value !== undefined) secrets.add(readDefinition(value.replace(/^[^=:]*=/, '')));
    else if (word.startsWith('--ping=') || argv[index - 1] === '--ping')
      learnFromPingUrl(word.replace(/^--ping=/, ''));
    else secrets.add(readUrlsInText(word));
  });
}

/**
 * Adds the passwords of libpq's password file and service files. `root` is the directory of the config, where the path
 * of the password file starts. `home` is the home directory of the user, if there is one. Ignores a file that can't be read: then nobody reads a secret from it.
 * https://www.postgresql.org/docs/current/libpq-pgpass.html
 * https://www.postgresql.org/docs/current/libpq-pgservice.html
 */
export function learnFromPasswordFiles(
  variables: Variables,
  { root, home = '/' }: { readonly root: string; readonly home: string | undefined },
): void {
  for (const line of readLines(resolve(root, variables['PGPASSFILE'] || join(home, '.pgpass')))) {
    const password = /^(?!#)(?:(?:\\.|[^:\\])*:){4}(.*)$/s.exec(line)?.[1];
    // libpq ends the password at a further colon. Users overlook this, so the whole text is a secret, too.
    const first = password === undefined ? undefined : /^(?:\\.|[^:\\])*\\?/s.exec(password)?.[0];
    const raw = [password, first].filter((each) => each !== undefined);
    secrets.add({ secrets: raw.flatMap((each) => [each, each.replace(/\\(.)/gs, '$1')]), known: [] });
  }
  const system = variables['PGSYSCONFDIR'];
  const services = [variables['PGSERVICEFILE'] || join(home, '.pg_service.conf')];
  if (system) services.push(join(system, 'pg_service.conf'));
  for (const line of services.flatMap(readLines)) {
    const password = /^\s*(?:ssl)?password\s*=(.*)$/s.exec(line)?.[1];
    if (password !== undefined) secrets.add({ secrets: [password, password.trim()], known: [] });
  }
}

/** Adds the secrets of the definitions of connections. An undefined definition is ignored. */
export function learnFromDefinitions(definitions: Iterable<string | undefined>): void {
  for (const text of definitions) if (text !== undefined) secrets.add(readDefinition(text));
}

/** Adds the passwords of a connection that was parsed. */
export function learnFromConnection(connection: {
  readonly password?: string;
  readonly extra: Readonly<Record<string, unknown>>;
}): void {
  const values = [connection.password, connection.extra['sslpassword']];
  const found = values.filter((each): each is string => typeof each === 'string' && each !== '');
  if (found.length > 0) secrets.add({ secrets: found, known: [] });
}

/** Adds the secrets of a URL that code reads from, also as HTTP sends its user and password: in base64. */
export function learnFromUrl(text: string): void {
  secrets.add(readUrl(text));
}

/**
 * Adds the secrets of a URL that a run pings. Who knows such a URL can send pings, so the URL is a secret as a whole, and
 * so is each part that can be a key: a part of the path or a value of the query with 16 characters, or with 8 characters
 * and a digit.
 */
export function learnFromPingUrl(text: string): void {
  const url = text
    .trim()
    .replace(/[?#].*$/s, '')
    .replace(/\/+$/, '');
  const parts = text
    .trim()
    .replace(/^[a-z]+:\/\/[^/?#]*/i, '')
    .split(/[/?&=#]/);
  const keys = parts.filter((part) => part.length >= 16 || (part.length >= 8 && /\d/.test(part)));
  secrets.add(readUrl(text.trim()));
  // The host alone is no secret.
  const isKey = parts.some((part) => part !== '') || !/^https?:/i.test(url);
  secrets.add({ secrets: isKey ? [url, ...keys] : keys, known: [] });
}

/** Adds the secrets that stand in source code: those of URLs, and texts that are assigned to a secret name. */
export function learnFromSource(text: string): void {
  if (text.includes('://')) secrets.add(readUrlsInText(text));
  const found: string[] = [];
  for (const [, name = '', , value = ''] of text.matchAll(ASSIGNED_TEXT)) {
    // A word of one kind of letters, such as `required`, is part of a message or a type.
    if (isSecretName(name) && !/^[a-z ]+$|^[A-Z_ ]+$|\$\{/.test(value)) found.push(value);
  }
  if (found.length > 0) secrets.add({ secrets: found, known: [] });
}

/** Matches a text that is assigned to a name in JavaScript, JSON or YAML: `password: 'abc…'`, `"token": "abc…"`. */
const ASSIGNED_TEXT = /([A-Za-z_$][\w$]{2,63})["']?\s{0,8}[:=]\s{0,8}(["'`])([^"'`\n]{8,512})\2/g;

/** The largest file that is read for passwords, in bytes. */
const MAX_BYTES = 1024 * 1024;

/** Returns the lines of a regular file, or no line if the file can't be read. Reading a named pipe could last for ever. */
function readLines(file: string): readonly string[] {
  try {
    const stats = statSync(file, { throwIfNoEntry: false });
    if (!stats?.isFile() || stats.size > MAX_BYTES) return [];
    return readFileSync(file, 'utf8').split(/\r?\n/);
  } catch {
    return []; // The hook reports a password file that can't be used.
  }
}
