/**
 * Lists connections to a server with TLS that verify its certificate, and whether the server is used: with TLS, or not at
 * all. `certificates` is the directory of the certificate and of its revocation lists, with a slash at its end.
 */
export function listTlsCases(
  certificates: string,
): readonly (readonly [extra: Record<string, unknown>, host: string, expected: 'tls' | 'refused'])[] {
  const NAMED = { sslrootcert: `${certificates}server.crt` };
  const verified = { sslmode: 'verify-full', ...NAMED };
  return [
    [{ ...verified, sslcrl: `${certificates}empty.crl` }, 'localhost', 'tls'],
    [{ ...verified, sslcrl: `${certificates}revoked.crl` }, 'localhost', 'refused'],
    [{ sslmode: 'require', ...NAMED, sslcrl: `${certificates}revoked.crl` }, 'localhost', 'refused'],
    [{ ...verified, sslsni: '0' }, 'localhost', 'tls'],
    [{ ...verified, hostaddr: '127.0.0.1' }, 'localhost', 'tls'],
    [{ ...verified, hostaddr: '127.0.0.1' }, 'db.example.com', 'refused'],
    [{ ...verified, sslsni: '0', hostaddr: '127.0.0.1' }, 'localhost', 'tls'],
    [{ ...verified, sslsni: '0', hostaddr: '127.0.0.1' }, 'db.example.com', 'refused'],
    [{ ...verified, load_balance_hosts: 'random' }, 'localhost', 'tls'],
    [{ ...verified, sslnegotiation: 'direct' }, 'localhost', 'tls'],
    [{ ...verified, sslnegotiation: 'direct' }, '127.0.0.1', 'refused'],
    [{ ...verified, ssl_min_protocol_version: 'TLSv1.3' }, 'localhost', 'tls'],
    [{ ...verified, ssl_max_protocol_version: 'TLSv1.2' }, 'localhost', 'tls'],
    [{ ...verified, channel_binding: 'require' }, 'localhost', 'tls'],
    [{ ...verified, channel_binding: 'require', ssl_max_protocol_version: 'TLSv1.2' }, 'localhost', 'tls'],
    [{ sslmode: 'disable', channel_binding: 'require' }, 'localhost', 'refused'],
    [{ ...verified, channel_binding: 'disable' }, 'localhost', 'tls'],
    [{ ...verified, require_auth: 'scram-sha-256' }, 'localhost', 'tls'],
    [{ ...verified, require_auth: '!password,!md5' }, 'localhost', 'tls'],
    [{ ...verified, require_auth: 'md5,password' }, 'localhost', 'refused'],
    [{ ...verified, require_auth: 'none' }, 'localhost', 'refused'],
    [{ ...verified, sslcertmode: 'disable' }, 'localhost', 'tls'],
  ];
}
