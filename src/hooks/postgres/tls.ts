import { readFile } from 'node:fs/promises';
import { connect, isIP } from 'node:net';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { EtlError } from '../../errors.js';
import type { Variables } from '../hook.js';
import type { ResolvedServer } from './libpq.js';
import { returnUndefinedIfMissing } from './passfile.js';

/**
 * What a TLS handshake needs for this wish, with its files read. Without `sslrootcert` and the rest, libpq's default
 * files in `~/.postgresql` are used where they exist. Throws ETL-2208 for a file that is needed and can't be read.
 * https://www.postgresql.org/docs/current/libpq-ssl.html
 */
export async function readTlsOptions(
  { tls, connection, address }: Pick<ResolvedServer, 'tls' | 'connection' | 'address'>,
  { root, variables }: { readonly root: string; readonly variables: Variables },
): Promise<ConnectionOptions> {
  const home = join(variables['HOME'] || homedir(), '.postgresql');
  const read = (path: string | undefined, standard: string): Promise<Buffer | undefined> =>
    path === undefined
      ? readFile(join(home, standard)).catch(returnUndefinedIfMissing)
      : readFile(resolve(root, path)).catch((cause: unknown) => {
          throw createUnreadableError(connection, path, cause);
        });
  const ca = tls.rootcert === 'system' ? undefined : await read(tls.rootcert, 'root.crt');
  const verified = tls.mode.startsWith('verify');
  if (verified && !ca && tls.rootcert !== 'system') throw createNoAuthorityError(connection, tls.mode);
  const cert = await read(tls.cert, 'postgresql.crt');
  const key = cert && (await read(tls.key, 'postgresql.key'));
  return {
    // A named authority makes `require` check the chain too: libpq keeps this for older programs, and so do we.
    rejectUnauthorized: verified || (tls.mode === 'require' && ca !== undefined),
    ...(tls.mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
    // The driver takes the name from where it connects to, which PGHOSTADDR makes an address.
    ...(address !== connection.host && isIP(connection.host) === 0 ? { servername: connection.host } : {}),
  };
}

/**
 * Asks the server once whether it speaks TLS, on a socket that is closed after the answer. Rejects with the socket's
 * error, with ETIMEDOUT, or with ABORT_ERR when `signal` aborts.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
 */
export function askForTls(
  { connection, address, connectTimeoutMillis }: ResolvedServer,
  signal: AbortSignal,
): Promise<boolean> {
  const request = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
  return new Promise((fulfil, reject) => {
    const socket = connect(connection.port, address, () => socket.write(request));
    const stop = (code: string): unknown => socket.destroy(Object.assign(new Error('no answer'), { code }));
    const timer = setTimeout(() => stop('ETIMEDOUT'), connectTimeoutMillis);
    const onAbort = (): unknown => stop('ABORT_ERR');
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', reject);
    socket.once('close', () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      reject(Object.assign(new Error('closed without an answer'), { code: 'ECONNRESET' }));
    });
    socket.once('data', (answer) => {
      fulfil(answer[0] === 'S'.charCodeAt(0));
      socket.destroy();
    });
  });
}

/** One line about a server on another machine whose traffic others could read or answer; `undefined` when all is well. */
export function describeWeakness(
  { connection, address, tls }: ResolvedServer,
  used: ConnectionOptions | false,
): string | undefined {
  const local = /^(\/|localhost$|::1$)/.test(address) || (isIP(address) === 4 && address.startsWith('127.'));
  if (local || (used && used.rejectUnauthorized)) return undefined;
  const server = `${connection.host}:${connection.port}`;
  const state = used ? `the certificate of ${server} is not verified` : `${server} is used without TLS`;
  return `Connection "${connection.id}": ${state} (sslmode=${tls.mode}). Set sslmode=verify-full and sslrootcert.`;
}

function createUnreadableError(
  { id, origin }: ResolvedServer['connection'],
  path: string,
  cause: unknown,
): EtlError {
  return new EtlError('ETL-2208', {
    what: `Connection "${id}" names a file that can't be read: ${path}`,
    where: origin,
    why: cause instanceof Error ? cause.message : undefined,
    fix: 'A relative path starts from the folder of the config file.',
    cause,
  });
}

function createNoAuthorityError({ id, origin }: ResolvedServer['connection'], mode: string): EtlError {
  return new EtlError('ETL-2208', {
    what: `Connection "${id}" has sslmode=${mode}, and no certificate to check the server's with.`,
    where: origin,
    why: 'There is no sslrootcert, no PGSSLROOTCERT and no ~/.postgresql/root.crt.',
    fix: 'Add sslrootcert=<file>, or sslmode=verify-full and sslrootcert=system for a public authority.',
  });
}
