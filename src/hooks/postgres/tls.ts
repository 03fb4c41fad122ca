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
 * Reads the files of a TLS request and returns the options of the TLS handshake. If `sslrootcert`, `sslcert` or
 * `sslkey` is not set, libpq's default file in `~/.postgresql` is used if it exists. Rejects with ETL-2208 if a named
 * file can't be read, or if the server's certificate must be verified and there is no root certificate.
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
          throw new EtlError('ETL-2208', {
            what: `connection "${connection.id}" names a file that can't be read: ${path}`,
            where: connection.definedBy,
            why: cause instanceof Error ? cause.message : undefined,
            fix: 'correct the path; a relative path starts at the directory of the config file',
            cause,
          });
        });
  const ca = tls.rootcert === 'system' ? undefined : await read(tls.rootcert, 'root.crt');
  const verified = tls.mode.startsWith('verify');
  if (verified && !ca && tls.rootcert !== 'system')
    throw new EtlError('ETL-2208', {
      what: `connection "${connection.id}" has sslmode=${tls.mode}, but no root certificate to verify the server with`,
      where: connection.definedBy,
      why: 'there is no sslrootcert, no PGSSLROOTCERT and no ~/.postgresql/root.crt',
      fix: 'add sslrootcert=<file>, or for a public authority sslmode=verify-full and sslrootcert=system',
    });
  const cert = await read(tls.cert, 'postgresql.crt');
  const key = cert && (await read(tls.key, 'postgresql.key'));
  return {
    // With a root certificate, `require` verifies the chain, too. libpq does so for backward compatibility.
    rejectUnauthorized: verified || (tls.mode === 'require' && ca !== undefined),
    ...(tls.mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
    // The driver verifies the host that it connects to. With PGHOSTADDR that is an address, so the name is set here.
    ...(address !== connection.host && isIP(connection.host) === 0 ? { servername: connection.host } : {}),
  };
}

/**
 * Asks the server whether it offers TLS, as libpq does, on a socket that is closed after the answer. Rejects with the
 * socket's error, with ETIMEDOUT after the time limit to connect, with ABORT_ERR if `signal` is aborted, and with
 * ECONNRESET if the server closes the socket.
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

/**
 * Returns a line for the user if others could read or forge the traffic to a server on another machine. Returns
 * undefined if the server is on this machine or if its certificate is verified.
 */
export function describeWeakness(
  { connection, address, tls }: ResolvedServer,
  used: ConnectionOptions | false,
): string | undefined {
  const local = /^(\/|localhost$|::1$)/.test(address) || (isIP(address) === 4 && address.startsWith('127.'));
  if (local || (used && used.rejectUnauthorized)) return undefined;
  const server = `${connection.host}:${connection.port}`;
  const state = used ? `the certificate of ${server} is not verified` : `${server} is used without TLS`;
  return `connection "${connection.id}": ${state} (sslmode=${tls.mode}); set sslmode=verify-full and sslrootcert`;
}
