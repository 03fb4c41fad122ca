import { didYouMean, EtlError } from '../../errors.js';
import type { Connection } from '../connection.js';
import type { OpenSettings } from '../hook.js';
import { findChoice, findSetting, type Setting, type SettingSources } from './libpq-setting.js';
import {
  findIgnoringProgram,
  findParameterAdvice,
  isParameterName,
  PARAMETERS,
  type ParameterName,
} from './parameters.js';

/**
 * Throws ETL-2204 for a parameter that libpq does not have, and ETL-2207 for `iam=true`. Parameters that concern only
 * another program are ignored, and one notice names them.
 */
export function refuseUnknown(connection: Connection, notice: OpenSettings['notice']): void {
  const { id, definedBy, extra } = connection;
  const foreign = Object.keys(extra).filter((key) => !isParameterName(key));
  const unknown = foreign.find((key) => findIgnoringProgram(key, extra[key]) === undefined);
  if (unknown !== undefined) {
    throw new EtlError('ETL-2204', {
      what: `connection "${id}" has an unknown option "${unknown}"${didYouMean(unknown, Object.keys(PARAMETERS))}`,
      where: definedBy,
      why: 'libpq has no such parameter',
      fix:
        findParameterAdvice(unknown) ??
        `remove the option, or use one of: ${Object.keys(PARAMETERS).join(', ')}`,
    });
  }
  // Without this check, etl would log in without a token, and the error would not name `iam` as the cause.
  if (/^true$/i.test(String(extra['iam']))) throw createUnsupportedError(connection, 'iam', IAM);
  if (foreign.length === 0) return;
  const programs = [...new Set(foreign.map((key) => findIgnoringProgram(key, extra[key])))];
  notice(`connection "${id}": etl ignores ${foreign.join(', ')}, which only ${programs.join(' and ')} uses`);
}

/** The reason why a parameter is not supported, and the advice. */
type Reason = readonly [why: string, fix: string];

const IAM: Reason = [
  'etl fetches no token from AWS',
  'fetch a token with "aws rds generate-db-auth-token", and set the token as the password',
];
const TOKENS: Reason = [
  'etl supports no OAuth',
  'use a password: a function in `connections` of the config can fetch a token that the server takes as a password',
];
const KEYS: Reason = ['etl computes the keys from the password', 'set the password instead'];

/** The parameters that are not supported with any value but an empty one. */
const NEVER: Readonly<Partial<Record<ParameterName, Reason>>> = {
  oauth_issuer: TOKENS,
  oauth_client_id: TOKENS,
  oauth_client_secret: TOKENS,
  oauth_scope: TOKENS,
  scram_client_key: KEYS,
  scram_server_key: KEYS,
  sslkeylogfile: ['etl writes no TLS keys to a file', 'remove the parameter'],
};

/**
 * Throws ETL-2207 for a parameter, from the connection, its service or a variable, whose meaning `etl` can't give it.
 * `hasSocket` is true if a server is a Unix socket. libpq uses `krbsrvname`, `gsslib` and `gssdelegation` only for
 * GSSAPI, and `sslcompression` has no effect with today's TLS libraries.
 */
export function refuseUnsupported(sources: SettingSources, hasSocket: boolean): void {
  const refuse = (name: ParameterName, reason: Reason): void => {
    const found = findSetting(sources, name);
    if (found !== undefined && found.text !== '') throw createSettingError(sources, found, reason);
  };
  for (const [name, reason] of Object.entries(NEVER)) refuse(name as ParameterName, reason);
  if (hasSocket)
    refuse('requirepeer', [
      'Node does not tell which user of the system runs the server behind a Unix socket',
      'remove the parameter, and use a socket in a directory that only this user can write to',
    ]);
  if (findChoice(sources, 'gssencmode') === 'require')
    refuse('gssencmode', ['etl supports no GSSAPI', 'write sslmode=verify-full to encrypt with TLS']);
  if (findChoice(sources, 'sslcertmode') === 'require')
    refuse('sslcertmode', [
      'Node does not tell whether the server asked for the client certificate',
      'write sslcertmode=allow; the server can refuse a client without a certificate: clientcert in pg_hba.conf',
    ]);
  findChoice(sources, 'max_protocol_version');
  if ((findChoice(sources, 'min_protocol_version') ?? '3.0') !== '3.0')
    refuse('min_protocol_version', [
      'etl speaks version 3.0 of the protocol',
      'write min_protocol_version=3.0',
    ]);
  if (!/^(?:|0|false|off|no|f|n|of)$/i.test(findSetting(sources, 'replication')?.text ?? ''))
    refuse('replication', ['etl sends no replication commands', 'remove the parameter']);
  if (!/^(?:|auto|utf_?-?8|unicode)$/i.test(findSetting(sources, 'client_encoding')?.text ?? ''))
    refuse('client_encoding', [
      'etl reads and writes UTF-8; the server converts',
      'write client_encoding=UTF8; a load has its own option `encoding` for its file',
    ]);
}

/** Creates ETL-2207 for the value of a parameter or of a variable. */
function createSettingError({ connection }: SettingSources, found: Setting, reason: Reason): EtlError {
  return createUnsupportedError({ id: connection.id, definedBy: found.where }, found.name, reason);
}

function createUnsupportedError(
  { id, definedBy }: Pick<Connection, 'id' | 'definedBy'>,
  name: string,
  [why, fix]: Reason,
): EtlError {
  const what = `connection "${id}" uses ${name}, which is not supported`;
  return new EtlError('ETL-2207', { what, where: definedBy, why, fix });
}
