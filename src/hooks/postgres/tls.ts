import { connect, isIP } from 'node:net';
import { checkServerIdentity, type ConnectionOptions, type SecureVersion } from 'node:tls';
import { EtlError } from '../../errors.js';
import type { Variables } from '../hook.js';
import type { ResolvedServer } from './libpq.js';
import { readTlsFiles } from './tls-files.js';

/**
 * Reads the certificate files that a connection with TLS needs, and returns the options of the TLS handshake. Rejects
 * with ETL-2208 if a file can't be used, or if the server's certificate must be verified and there is no root
 * certificate.
 * https://www.postgresql.org/docs/current/libpq-ssl.html
 */
export async function readTlsOptions(
  server: Pick<ResolvedServer, 'tls' | 'connection' | 'address'>,
  settings: {
    readonly root: string;
    readonly variables: Variables;
    /** The password of the private key. */
    readonly passphrase?: string | undefined;
  },
): Promise<ConnectionOptions> {
  const { tls, connection } = server;
  const files = await readTlsFiles(server, settings);
  const isVerifying = tls.mode.startsWith('verify');
  if (isVerifying && files.ca === undefined && tls.rootcert !== 'system')
    throw new EtlError('ETL-2208', {
      what: `connection "${connection.id}" has sslmode=${tls.mode}, but no root certificate to verify the server with`,
      where: connection.definedBy,
      why: 'there is no sslrootcert, no PGSSLROOTCERT and no ~/.postgresql/root.crt',
      fix: 'add sslrootcert=<file>, or for a public authority sslmode=verify-full and sslrootcert=system',
    });
  return {
    // With a root certificate, `require` verifies the chain, too. libpq does so for backward compatibility.
    rejectUnauthorized: isVerifying || (tls.mode === 'require' && files.ca !== undefined),
    ...files,
    ...(files.key && settings.passphrase !== undefined && { passphrase: settings.passphrase }),
    ...(tls.minVersion && { minVersion: tls.minVersion as SecureVersion }),
    ...(tls.maxVersion && { maxVersion: tls.maxVersion as SecureVersion }),
    ...nameHost(server),
  };
}

/**
 * Returns the options that say which name the handshake asks for and which name the certificate must have. Only
 * verify-full checks that the certificate names the host.
 */
function nameHost({
  tls,
  connection: { host },
  address,
}: Pick<ResolvedServer, 'tls' | 'connection' | 'address'>): ConnectionOptions {
  const identity: ConnectionOptions =
    tls.mode !== 'verify-full'
      ? { checkServerIdentity: () => undefined }
      : tls.namesHost
        ? {}
        : { checkServerIdentity: (_address, certificate) => checkServerIdentity(host, certificate) };
  // With a `hostaddr` the driver connects to an address. The certificate has the name of the host, so the name is set here.
  const isNamed = tls.namesHost && address !== host && isIP(host) === 0;
  return { ...identity, ...(isNamed && { servername: host }) };
}

/** The message SSLRequest: its length of 8 bytes and the code 80877103, both as 32-bit integers. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);

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
  return new Promise((fulfil, reject) => {
    const socket = connect(connection.port, address, () => socket.write(SSL_REQUEST));
    const stop = (code: string): unknown => socket.destroy(Object.assign(new Error('no answer'), { code }));
    const timer = setTimeout(() => stop('ETIMEDOUT'), connectTimeoutMillis);
    const onAbort = (): unknown => stop('ABORT_ERR');
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', reject);
    // `close` comes last, also after an answer or an error. The promise has its result by then, and `reject` does
    // nothing.
    socket.once('close', () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      reject(Object.assign(new Error('closed without an answer'), { code: 'ECONNRESET' }));
    });
    // The answer is one byte: `S` if the server offers TLS, else `N`.
    socket.once('data', (answer) => {
      fulfil(answer[0] === 'S'.charCodeAt(0));
      socket.destroy();
    });
  });
}

/**
 * Returns a line for the user if others could read or forge the traffic to a server on another machine. Returns
 * undefined if the server is on this machine or if its certificate is verified. `used` has the TLS options of the
 * connection, or is false for a connection without TLS.
 */
export function describeWeakness(
  { connection, address, tls }: ResolvedServer,
  used: ConnectionOptions | false,
): string | undefined {
  const isLocal =
    /^([/@]|localhost$|::1$)/.test(address) || (isIP(address) === 4 && address.startsWith('127.'));
  if (isLocal || (used && used.rejectUnauthorized)) return undefined;
  const server = `${connection.host}:${connection.port}`;
  const state = used ? `the certificate of ${server} is not verified` : `${server} is used without TLS`;
  return `connection "${connection.id}": ${state} (sslmode=${tls.mode}); set sslmode=verify-full and sslrootcert`;
}
