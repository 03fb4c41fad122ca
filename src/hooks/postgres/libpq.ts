import { userInfo } from 'node:os';
import { EtlError } from '../../errors.js';
import type { Connection } from '../connection.js';
import type { OpenSettings, Variables } from '../hook.js';
import { type AuthenticationRules, parseRequiredAuthentication } from './authentication.js';
import { type HostAddress, isSocket, listHosts } from './hosts.js';
import {
  createBadValueError,
  findChoice,
  findSetting,
  findWholeNumber,
  type Service,
  type SettingSources,
  type SslMode,
} from './libpq-setting.js';
import { SESSION_VARIABLES } from './parameters.js';
import { refuseUnknown, refuseUnsupported } from './unsupported.js';

/** The kind of server that a connection accepts: libpq's `target_session_attrs`. */
export type SessionAttributes = 'any' | 'read-write' | 'read-only' | 'primary' | 'standby' | 'prefer-standby';

/** The servers of a connection, and how one of them is chosen. */
export interface ServerList {
  /** In the order in which they are tried. */
  readonly servers: readonly [ResolvedServer, ...ResolvedServer[]];
  readonly attributes: SessionAttributes;
  /** True if the order is random, so that many runs use all servers. */
  readonly isBalanced: boolean;
}

/** One server of a connection. Every field has a value, so the driver takes nothing from the environment. */
export interface ResolvedServer {
  /** The connection with `host`, `port`, `login` and `database`, but without its password. */
  readonly connection: Connection & Required<Pick<Connection, 'host' | 'port' | 'login' | 'database'>>;
  /** The address that the socket connects to: the host, or its `hostaddr`. */
  readonly address: string;
  readonly applicationName: string;
  /** Command-line options of the server process, such as `-c search_path=app`. */
  readonly options: string | undefined;
  /** Settings of the session, from PGTZ, PGDATESTYLE and PGGEQO. */
  readonly sessionSettings: Readonly<Record<string, string>>;
  readonly connectTimeoutMillis: number;
  /** The idle time before the first TCP keepalive, by default 5 s. Undefined if keepalives are off. */
  readonly keepAliveMillis: number | undefined;
  readonly authentication: AuthenticationRules;
  readonly tls: TlsRequest;
}

/** The TLS options of a connection. Paths are as the user wrote them. */
export interface TlsRequest {
  readonly mode: SslMode;
  /** True if the TLS handshake begins without asking the server for TLS first. */
  readonly isDirect: boolean;
  /** False if the handshake must not name the host (SNI). */
  readonly namesHost: boolean;
  /** False if the client certificate is never sent. */
  readonly sendsCertificate: boolean;
  readonly minVersion: string | undefined;
  readonly maxVersion: string | undefined;
  readonly rootcert: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly crl: string | undefined;
  readonly crlDirectory: string | undefined;
}

/**
 * Resolves every field as libpq does: from the connection, else from its service, else from the `PG*` variable, else the
 * default. Two defaults differ from libpq. The host is `localhost`, where libpq uses a Unix socket. The time limit to
 * connect is 10 s, where libpq has no limit; `connect_timeout=0` also means 10 s. Throws ETL-2204 for an unknown
 * parameter, ETL-2206 for a value that makes no sense, ETL-2207 for an unsupported parameter, and ETL-2213 if there is no
 * user.
 * https://www.postgresql.org/docs/current/libpq-connect.html
 */
export function resolveServers(
  connection: Connection,
  { variables, notice, applicationName }: Pick<OpenSettings, 'variables' | 'notice' | 'applicationName'>,
  service?: Service,
): ServerList {
  refuseUnknown(connection, notice);
  const sources: SettingSources = { connection, service, variables };
  const hosts = listHosts(sources);
  refuseUnsupported(
    sources,
    hosts.some(({ address }) => isSocket(address)),
  );
  const find = (name: Parameters<typeof findSetting>[1]): string => findSetting(sources, name)?.text ?? '';
  const timeout = findWholeNumber(sources, 'connect_timeout') ?? 0;
  const login = find('user') || getAccountName(connection);
  const rest = {
    applicationName: find('application_name') || find('fallback_application_name') || applicationName,
    options: find('options') || undefined,
    sessionSettings: listSessionSettings(variables),
    // The parameter has seconds. libpq has no limit for 0 and for a negative number.
    connectTimeoutMillis: (timeout > 0 ? timeout : 10) * 1_000,
    keepAliveMillis: resolveKeepAlive(sources, notice),
    authentication: {
      channelBinding: findChoice(sources, 'channel_binding') ?? 'prefer',
      required: parseRequiredAuthentication(findSetting(sources, 'require_auth')),
    },
    tls: resolveTls(sources),
  };
  const resolve = ({ host, address, port }: HostAddress): ResolvedServer => ({
    // A copy by spreading has no password.
    connection: { ...connection, host, port, login, database: find('dbname') || login },
    address,
    ...rest,
  });
  const [first, ...others] = hosts;
  return {
    servers: [resolve(first), ...others.map(resolve)],
    attributes: findChoice(sources, 'target_session_attrs') ?? 'any',
    isBalanced: findChoice(sources, 'load_balance_hosts') === 'random',
  };
}

/**
 * Returns the idle time before the first keepalive in milliseconds. Undefined if keepalives are off. Sends a notice that
 * names the parameters without effect: Node sets no other property of keepalives.
 */
function resolveKeepAlive(sources: SettingSources, notice: OpenSettings['notice']): number | undefined {
  const isOn = (findWholeNumber(sources, 'keepalives') ?? 1) !== 0;
  const idle = findWholeNumber(sources, 'keepalives_idle') ?? 5;
  const names = ['keepalives_interval', 'keepalives_count', 'tcp_user_timeout'] as const;
  const set = names.filter((name) => (findWholeNumber(sources, name) ?? 0) > 0);
  const { id } = sources.connection;
  if (set.length > 0)
    notice(
      `connection "${id}": ${set.join(', ')} ${set.length === 1 ? 'has' : 'have'} no effect: Node finds a lost connection 10 s after keepalives_idle`,
    );
  return isOn ? Math.max(idle, 0) * 1_000 : undefined;
}

/**
 * Resolves the TLS options. The default mode is `prefer`, or `verify-full` with `sslrootcert=system`. Throws ETL-2206 for
 * combinations that libpq refuses.
 */
function resolveTls(sources: SettingSources): TlsRequest {
  const find = (name: Parameters<typeof findSetting>[1]): string | undefined =>
    findSetting(sources, name)?.text || undefined;
  const rootcert = find('sslrootcert');
  const mode = findChoice(sources, 'sslmode') ?? (rootcert === 'system' ? 'verify-full' : 'prefer');
  const refuse = (name: 'sslmode' | 'sslnegotiation', why: string, fix: string): EtlError =>
    createBadValueError(
      findSetting(sources, name) ?? { name, where: sources.connection.definedBy },
      why,
      fix,
    );
  if (rootcert === 'system' && mode !== 'verify-full') {
    const why = 'a certificate of any public authority would be accepted for any host';
    throw refuse('sslmode', why, 'write sslmode=verify-full with sslrootcert=system');
  }
  const isDirect = findChoice(sources, 'sslnegotiation') === 'direct';
  if (isDirect && ['disable', 'allow', 'prefer'].includes(mode)) {
    const why = `sslnegotiation=direct needs TLS, and sslmode=${mode} also connects without TLS`;
    throw refuse('sslnegotiation', why, 'write sslmode=require, verify-ca or verify-full');
  }
  return {
    mode,
    isDirect,
    namesHost: (findSetting(sources, 'sslsni')?.text ?? '1').startsWith('1'),
    sendsCertificate: findChoice(sources, 'sslcertmode') !== 'disable',
    ...resolveVersions(sources),
    rootcert,
    cert: find('sslcert'),
    key: find('sslkey'),
    crl: find('sslcrl'),
    crlDirectory: find('sslcrldir'),
  };
}

/** Resolves the lowest and the highest version of TLS. Throws ETL-2206 if the lowest is higher than the highest. */
function resolveVersions(sources: SettingSources): Pick<TlsRequest, 'minVersion' | 'maxVersion'> {
  const minVersion = findChoice(sources, 'ssl_min_protocol_version') ?? 'TLSv1.2';
  const maxVersion = findChoice(sources, 'ssl_max_protocol_version') ?? '';
  // The words sort by version.
  if (maxVersion !== '' && minVersion > maxVersion) {
    const found = findSetting(sources, 'ssl_max_protocol_version');
    throw createBadValueError(
      found ?? { name: 'ssl_max_protocol_version', where: sources.connection.definedBy },
      `no version of TLS is at least ${minVersion} and at most ${maxVersion}`,
      'write ssl_min_protocol_version and ssl_max_protocol_version in this order',
    );
  }
  return { minVersion: minVersion || undefined, maxVersion: maxVersion || undefined };
}

/** Returns the settings of a session that variables set. */
function listSessionSettings(variables: Variables): Readonly<Record<string, string>> {
  const found = Object.entries(SESSION_VARIABLES).flatMap(([variable, name]) => {
    const value = variables[variable];
    return value === undefined || /^default$/i.test(value) ? [] : [[name, value] as const];
  });
  return Object.fromEntries(found);
}

/** Returns the name of the operating system's user. Throws ETL-2213 if that user has no name. */
function getAccountName({ id, definedBy }: Connection): string {
  try {
    return userInfo().username;
  } catch (cause) {
    throw new EtlError('ETL-2213', {
      what: `connection "${id}" names no user`,
      where: definedBy,
      why: 'the account that runs etl has no name on this machine that etl could use instead',
      fix: 'add the user to the connection, or set PGUSER',
      cause,
    });
  }
}
