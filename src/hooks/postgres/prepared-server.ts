import { resolve } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import type { SessionConfig } from '../client.js';
import {
  createPasswordMissingError,
  createTlsNotOfferedError,
  describeConnectError,
} from '../connect-error.js';
import { findHomeDirectory } from '../home-directory.js';
import type { OpenSettings, Variables } from '../hook.js';
import { getSocketPath } from '../socket.js';
import { isSocket } from './hosts.js';
import type { ResolvedServer } from './libpq.js';
import { findSetting, type SettingSources } from './libpq-setting.js';
import { type PasswordFile, readPassword } from './passfile.js';
import { askForTls, readTlsOptions } from './tls.js';

/** A server of the connection, with everything that a session needs. */
export interface PreparedServer {
  readonly server: ResolvedServer;
  /** The settings of every session, without the TLS options. */
  readonly base: Omit<SessionConfig, 'rules'>;
  /** Asks the server for TLS, once. The TLS options to use, or false for sessions without TLS. */
  readonly negotiated: () => Promise<ConnectionOptions | false>;
}

/**
 * Reads the password file and the TLS files of a server, so that their errors come before the first session. Rejects with
 * ETL-2208 if a TLS file can't be used. After `closing` is aborted, the server is not asked for TLS any more.
 */
export async function prepareServer(
  server: ResolvedServer,
  sources: SettingSources,
  settings: OpenSettings,
  closing: AbortSignal,
): Promise<PreparedServer> {
  const base = await createBaseConfig(sources, server, settings);
  const passphrase = findSetting(sources, 'sslpassword')?.text;
  const tls = mayUseTls(server) && (await readTlsOptions(server, { ...settings, passphrase }));
  return { server, base, negotiated: runOnce(async () => tls && negotiate(server, tls, closing)) };
}

/**
 * Creates the settings of every session, without the TLS options. The password comes from the connection, else from its
 * service, else from PGPASSWORD, else from the password file. No password is no error until the server asks for one.
 */
async function createBaseConfig(
  sources: SettingSources,
  server: ResolvedServer,
  { variables, root, notice }: OpenSettings,
): Promise<PreparedServer['base']> {
  const { host, port, login, database } = server.connection;
  const file = findPasswordFile(findSetting(sources, 'passfile')?.text, variables, root);
  const password =
    findSetting(sources, 'password')?.text ||
    (file && (await readPassword(file, { host, port, database, user: login }, notice)));
  return {
    host: server.address,
    port,
    user: login,
    database,
    // The driver calls this function when the server asks for a password. A dump of the settings shows no password.
    password: () => {
      if (password === undefined) throw createPasswordMissingError(server.connection);
      return password;
    },
    application_name: server.applicationName,
    ...(server.options !== undefined && { options: server.options }),
    connectionTimeoutMillis: server.connectTimeoutMillis,
    keepAlive: server.keepAliveMillis !== undefined,
    keepAliveInitialDelayMillis: server.keepAliveMillis ?? 0,
    sslnegotiation: server.tls.isDirect && mayUseTls(server) ? 'direct' : 'postgres',
    enableChannelBinding: server.authentication.channelBinding !== 'disable',
  };
}

/** Returns the password file that `passfile` or PGPASSFILE names, else the one in the home directory, else undefined. */
function findPasswordFile(
  named: string | undefined,
  variables: Variables,
  root: string,
): PasswordFile | undefined {
  if (named) return { path: resolve(root, named), isNamed: true };
  const home = findHomeDirectory(variables);
  return home === undefined ? undefined : { path: resolve(root, home, '.pgpass'), isNamed: false };
}

/** Returns the path of a Unix socket that pg does not know as such: one in Linux' abstract namespace. */
export function findSocketPath({ address, connection }: ResolvedServer): string | undefined {
  return address.startsWith('@') ? getSocketPath(address, connection.port) : undefined;
}

/** Returns whether the connection may use TLS. A Unix socket never uses TLS, whatever sslmode says. */
function mayUseTls({ address, tls }: ResolvedServer): boolean {
  return !isSocket(address) && tls.mode !== 'disable';
}

/**
 * Asks the server for TLS and returns the TLS options to use, or false for a connection without TLS. The driver can't
 * fall back by itself. With sslnegotiation=direct the handshake itself finds out. Rejects with ETL-1001 if sslmode requires
 * TLS and the server has none.
 */
async function negotiate(
  server: ResolvedServer,
  options: ConnectionOptions,
  signal: AbortSignal,
): Promise<ConnectionOptions | false> {
  const { connection, tls } = server;
  if (tls.isDirect) return options;
  const offered = await askForTls(server, signal).catch((error: unknown) => {
    throw describeConnectError(error, connection);
  });
  if (offered) return options;
  if (tls.mode === 'prefer' || tls.mode === 'allow') return false;
  throw createTlsNotOfferedError(connection, tls.mode);
}

/**
 * Returns a function that calls `make` at its first call and returns the same promise to every caller. After a
 * rejection, the next call calls `make` again.
 */
export function runOnce<Result>(make: () => Promise<Result>): () => Promise<Result> {
  let made: Promise<Result> | undefined;
  return () => {
    made ??= make().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return made;
  };
}
