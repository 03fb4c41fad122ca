import type { Stats } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { platform } from 'node:os';
import { secrets } from '../../runtime/secrets/secrets.js';

/** The values that a line of the password file must match. The host of a Unix socket is its directory. */
export interface PasswordQuery {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
}

/** A password file. `isNamed` says that PGPASSFILE names it; otherwise it is the file that libpq looks for in HOME. */
export interface PasswordFile {
  readonly path: string;
  readonly isNamed: boolean;
}

/**
 * Reads a password from a file like `~/.pgpass`, as libpq does. The first matching line wins. Ignores the file with a
 * notice if it is not a regular file, if other users can access it, or if this user can't read it. Returns undefined if
 * there is no password or no file. If nobody has named the file, and this user may not look into its directory, there
 * is no file: a container often has the HOME of another user.
 * https://www.postgresql.org/docs/current/libpq-pgpass.html
 */
export async function readPassword(
  { path, isNamed }: PasswordFile,
  query: PasswordQuery,
  notice: (text: string) => void,
): Promise<string | undefined> {
  const ignore = (why: string): undefined => {
    notice(`the password file ${path} is ignored: ${why}`);
  };
  try {
    const found = isNamed ? await stat(path) : await findStandardFile(path);
    if (found === undefined) return undefined;
    if (!found.isFile()) return ignore('it is not a regular file');
    // The bits 077 are the permissions of the group and of others. Windows has no such bits.
    if (platform() !== 'win32' && (found.mode & 0o077) !== 0)
      return ignore(`other users can access it; run chmod 600 ${path}`);
    const password = findPassword(await readFile(path, 'utf8'), query);
    if (password !== undefined) secrets.add({ secrets: [password], known: [] });
    return password;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return isMissing(code) ? undefined : ignore(`this user can't read it (${code})`);
  }
}

/**
 * Returns the password of the first matching line in the text of a password file. Undefined if no line matches.
 * Example: in the text `db:5432:*:ann:secret`, the user `ann` of any database on `db:5432` has the password `secret`.
 */
export function findPassword(
  text: string,
  { host, port, database, user }: PasswordQuery,
): string | undefined {
  // A line for a Unix socket names the directory of the socket, or `localhost`.
  const hosts = host.startsWith('/') ? [host, 'localhost'] : [host];
  for (const line of text.split(/\r?\n/)) {
    const [, lineHost, linePort, lineDatabase, lineUser, secret] = LINE.exec(line) ?? [];
    const isHostMatch = hosts.some((name) => isMatch(lineHost, name));
    const isRestMatch =
      isMatch(linePort, String(port)) && isMatch(lineDatabase, database) && isMatch(lineUser, user);
    if (secret !== undefined && isHostMatch && isRestMatch) return removeEscapes(secret);
  }
  return undefined;
}

/**
 * Matches a line of the form `host:port:database:user:password`: four fields that each end with `:`, and the password
 * up to the end or to a further `:`. A backslash escapes the next character, so a field can have `\:`. A backslash at
 * the end of the line stands for itself. A line that starts with `#` is a comment, and does not match.
 */
const LINE = new RegExp(
  `^(?!#)${String.raw`((?:\\.|[^:\\])*):`.repeat(4)}${String.raw`((?:\\.|[^:\\])*\\?)`}`,
  's',
);

/** Returns whether a field of a line matches a value. A field that is an unescaped `*` matches any value. */
function isMatch(field: string | undefined, value: string): boolean {
  return field === '*' || (field !== undefined && removeEscapes(field) === value);
}

/** Replaces each escaped character by the character: `a\:b` -> `a:b`. */
function removeEscapes(field: string): string {
  return field.replace(/\\(.)/gs, '$1');
}

/**
 * Returns the state of a file that libpq looks for without being told to. Returns undefined if the file does not exist
 * or if this user can't look at it, whatever the reason.
 */
export async function findStandardFile(path: string): Promise<Stats | undefined> {
  return stat(path).catch(() => undefined);
}

/** Says whether the code of an error means that a file does not exist. */
function isMissing(code: string | undefined): boolean {
  return code === 'ENOENT' || code === 'ENOTDIR';
}
