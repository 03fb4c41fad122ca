import { readFile, stat } from 'node:fs/promises';

/** What a line of the password file must match. The host of a Unix socket is its directory. */
export interface PasswordQuery {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
}

/**
 * The password in a file like `~/.pgpass`, as libpq finds it: the first line that matches wins, and a file that others
 * could read is not used. No file is no password.
 * https://www.postgresql.org/docs/current/libpq-pgpass.html
 */
export async function readPassword(
  path: string,
  query: PasswordQuery,
  notice: (text: string) => void,
): Promise<string | undefined> {
  const found = await stat(path).catch(returnUndefinedIfMissing);
  if (!found) return undefined;
  if (!found.isFile()) {
    notice(`The password file ${path} is not a plain file; ignored.`);
    return undefined;
  }
  if (found.mode & 0o077) {
    notice(`The password file ${path} can be read by others; ignored. Run: chmod 600 ${path}`);
    return undefined;
  }
  return findPassword(await readFile(path, 'utf8'), query);
}

/** The password of the first line that matches, in the text of a password file. */
export function findPassword(
  text: string,
  { host, port, database, user }: PasswordQuery,
): string | undefined {
  // A Unix socket is found by its directory, and by the name `localhost`.
  const hosts = host.startsWith('/') ? [host, 'localhost'] : [host];
  for (const line of text.split(/\r?\n/)) {
    const [, first, second, third, fourth, secret] = LINE.exec(line) ?? [];
    const rest = isMatch(second, String(port)) && isMatch(third, database) && isMatch(fourth, user);
    if (secret !== undefined && rest && hosts.some((name) => isMatch(first, name)))
      return removeEscapes(secret);
  }
  return undefined;
}

/** host:port:database:user:password, where a backslash makes the next character an ordinary one; `#` is a comment. */
const LINE = new RegExp(
  `^(?!#)${String.raw`((?:\\.|[^:\\])*):`.repeat(4)}${String.raw`((?:\\.|[^:\\])*\\?)`}`,
  's',
);

/** A lone `*` that is not escaped stands for any value. */
function isMatch(field: string | undefined, value: string): boolean {
  return field === '*' || (field !== undefined && removeEscapes(field) === value);
}

function removeEscapes(field: string): string {
  return field.replace(/\\(.)/gs, '$1');
}

/** For a file that may be missing: gives undefined for the error that says so, and throws any other. */
export function returnUndefinedIfMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error;
}
