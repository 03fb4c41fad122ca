import { readdir, readFile, stat } from 'node:fs/promises';
import { platform } from 'node:os';
import { join, resolve } from 'node:path';
import { describeThrown, EtlError, type ErrorParts } from '../../errors.js';
import type { Connection } from '../connection.js';
import { findHomeDirectory } from '../home-directory.js';
import type { Variables } from '../hook.js';
import type { ResolvedServer } from './libpq.js';
import { findStandardFile } from './passfile.js';

/** The contents of the files of a connection with TLS. A file that is not needed is absent. */
export interface TlsFiles {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
  /** The certificate revocation lists. */
  readonly crl?: string[];
}

/** A file that was read. */
interface FoundFile {
  readonly path: string;
  readonly content: Buffer;
}

/** The directories of the files of a connection. */
interface FileSettings {
  /** The directory where relative paths start. */
  readonly root: string;
  readonly variables: Variables;
}

/**
 * Reads the root certificate, the revocation lists, the client certificate and its private key. If a parameter is not
 * set, libpq's default file in `~/.postgresql` is used if it exists. If this user may not look into `~/.postgresql`, the
 * files there do not exist; libpq stops there for a client certificate only, and many containers have the HOME of another
 * user. Rejects with ETL-2208 if a file can't be read, if a certificate has no key, or if other users can access the key.
 */
export async function readTlsFiles(
  { tls, connection }: Pick<ResolvedServer, 'tls' | 'connection'>,
  settings: FileSettings,
): Promise<TlsFiles> {
  const { root, variables } = settings;
  const home = findHomeDirectory(variables);
  const read = async (path: string | undefined, standard: string): Promise<FoundFile | undefined> => {
    if (path !== undefined) return readNamedFile(path, resolve(root, path), connection);
    return home === undefined ? undefined : readStandardFile(join(home, '.postgresql', standard), connection);
  };
  const ca = tls.rootcert === 'system' ? undefined : await read(tls.rootcert, 'root.crt');
  const lists = await readRevocationLists({ tls, connection }, root, read);
  const trust = { ...(ca && { ca: ca.content }), ...(lists.length > 0 && { crl: [...lists] }) };
  const cert = tls.sendsCertificate ? await read(tls.cert, 'postgresql.crt') : undefined;
  if (cert === undefined) return trust;
  const key = await read(tls.key, 'postgresql.key');
  if (key === undefined)
    throw createFileError(connection, {
      what: `has the client certificate ${cert.path}, but no private key`,
      fix: `add sslkey=<file>, or save the key as ${join(home ?? '~', '.postgresql/postgresql.key')}`,
    });
  await assertPrivateKey(key.path, connection);
  return { ...trust, cert: cert.content, key: key.content };
}

/** Matches the name of a revocation list in a directory: the hash of its issuer, as `openssl rehash` writes it. */
const HASHED_LIST = /^[0-9a-f]{8}\.r\d+$/;

/**
 * Reads the revocation lists of `sslcrl`, or else of `sslcrldir`, or else of `~/.postgresql/root.crl`. libpq ignores a
 * named file that it can't read; here that is ETL-2208, because revoked certificates would be accepted.
 */
async function readRevocationLists(
  { tls, connection }: Pick<ResolvedServer, 'tls' | 'connection'>,
  root: string,
  read: (path: string | undefined, standard: string) => Promise<FoundFile | undefined>,
): Promise<readonly string[]> {
  const { crl, crlDirectory } = tls;
  if (crl === undefined && crlDirectory !== undefined) {
    const folder = resolve(root, crlDirectory);
    const names = await readdir(folder).catch((cause: unknown) => {
      throw createUnreadableError(connection, crlDirectory, cause);
    });
    const files = names.filter((name) => HASHED_LIST.test(name));
    const texts = files.map(async (name) => readFile(join(folder, name), 'utf8'));
    const lists = (await Promise.all(texts)).flatMap(splitLists);
    if (lists.length > 0) return lists;
    throw createFileError(connection, {
      what: `has no certificate revocation list in ${crlDirectory}`,
      why: 'the directory has no file such as 5ca1ab1e.r0',
      fix: `run \`openssl rehash ${crlDirectory}\`, or name one file with sslcrl=<file>`,
    });
  }
  const file = await read(crl, 'root.crl');
  return file === undefined ? [] : splitLists(file.content.toString('latin1'));
}

/** Splits a file of revocation lists, because Node reads only the first list of a text. */
function splitLists(text: string): readonly string[] {
  return text.match(/-----BEGIN X509 CRL-----.*?-----END X509 CRL-----/gs) ?? [text];
}

/** Reads a file that the connection does not name. Undefined if it does not exist. */
async function readStandardFile(path: string, connection: Connection): Promise<FoundFile | undefined> {
  if ((await findStandardFile(path)) === undefined) return undefined;
  try {
    return { path, content: await readFile(path) };
  } catch (cause) {
    throw createFileError(connection, {
      what: `can't read the file ${path}`,
      why: describeThrown(cause),
      fix: 'make the file readable for this user, or name another file with sslrootcert, sslcert or sslkey',
      cause,
    });
  }
}

/** Reads a file that the connection names as `name`. */
async function readNamedFile(name: string, path: string, connection: Connection): Promise<FoundFile> {
  try {
    return { path, content: await readFile(path) };
  } catch (cause) {
    throw createUnreadableError(connection, name, cause);
  }
}

function createUnreadableError(connection: Connection, name: string, cause: unknown): EtlError {
  return createFileError(connection, {
    what: `names a file that can't be read: ${name}`,
    why: cause instanceof Error ? cause.message : undefined,
    fix: 'correct the path; a relative path starts at the directory of the config file',
    cause,
  });
}

/**
 * Says whether a private key is safe by libpq's rule: only its owner has access, or the owner is root and the group may
 * read.
 * https://github.com/postgres/postgres/blob/REL_18_STABLE/src/interfaces/libpq/fe-secure-openssl.c
 */
export function isPrivateKey({ uid, mode }: Readonly<Record<'uid' | 'mode', number>>): boolean {
  return (mode & (uid === 0 ? 0o037 : 0o077)) === 0;
}

/** Rejects with ETL-2208 if other users can access the private key. Windows has no modes, and libpq checks none there. */
async function assertPrivateKey(path: string, connection: Connection): Promise<void> {
  if (platform() === 'win32' || isPrivateKey(await stat(path))) return;
  throw createFileError(connection, {
    what: `has a private key that other users can access: ${path}`,
    why: 'libpq refuses such a key, too: its mode must be 0600 or less, or 0640 or less if root owns the file',
    fix: `run \`chmod 600 ${path}\`, and replace the key if another person may have read it`,
  });
}

/** Creates an ETL-2208. `what` continues "connection "<id>" …". */
function createFileError({ id, definedBy }: Connection, parts: ErrorParts): EtlError {
  return new EtlError('ETL-2208', { ...parts, what: `connection "${id}" ${parts.what}`, where: definedBy });
}
