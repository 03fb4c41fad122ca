import { expect } from 'chai';
import * as fc from 'fast-check';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { EtlError } from '../../../src/errors.js';
import type { Connection } from '../../../src/hooks/connection.js';
import type { OpenSettings, Variables } from '../../../src/hooks/hook.js';
import { resolveServers, type ResolvedServer } from '../../../src/hooks/postgres/libpq.js';
import { findPassword, readPassword } from '../../../src/hooks/postgres/passfile.js';
import { describeWeakness, readTlsOptions } from '../../../src/hooks/postgres/tls.js';
import { isPrivateKey } from '../../../src/hooks/postgres/tls-files.js';

const SECRET = 'open-sesame';
const EMPTY: Connection = { id: 'c', scheme: 'postgres', definedBy: '--conn', extra: {} };

function resolve(
  connection: Partial<Connection>,
  variables: Variables = {},
  notices: string[] = [],
): ResolvedServer {
  const notice = (text: string): unknown => notices.push(text);
  const settings: OpenSettings = {
    poolSize: 1,
    applicationName: 'etl',
    variables,
    root: '/',
    pid: process.pid,
    notice,
  };
  return resolveServers({ ...EMPTY, ...connection }, settings).servers[0];
}

function catchError(act: () => unknown): EtlError {
  try {
    act();
  } catch (error) {
    if (error instanceof EtlError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('the fields of a connection', () => {
  const rows: readonly [string, Partial<Connection>, Variables, Record<string, unknown>][] = [
    [
      'have defaults if neither the connection nor a variable sets them',
      {},
      {},
      { host: 'localhost', port: 5432, login: userInfo().username },
    ],
    ['have the user as the default of the database', { login: 'ann' }, {}, { login: 'ann', database: 'ann' }],
    [
      'come from PG* variables',
      {},
      { PGHOST: 'h', PGPORT: '6', PGUSER: 'u', PGDATABASE: 'd' },
      { host: 'h', port: 6 },
    ],
    ['win over PG* variables', { host: 'a', port: 7 }, { PGHOST: 'h', PGPORT: '6' }, { host: 'a', port: 7 }],
    ['ignore an empty variable', {}, { PGHOST: '', PGPORT: '' }, { host: 'localhost', port: 5432 }],
  ];
  for (const [title, connection, variables, expected] of rows) {
    it(title, () => expect(resolve(connection, variables).connection).to.include(expected));
  }

  it('have the address of PGHOSTADDR and the host of PGHOST', () => {
    const target = resolve({}, { PGHOST: 'db.internal', PGHOSTADDR: '10.0.0.1' });
    expect([target.address, target.connection.host]).to.deep.equal(['10.0.0.1', 'db.internal']);
  });

  it('do not include the password', () => {
    const connection = Object.defineProperty({ ...EMPTY }, 'password', { value: SECRET });
    expect(resolve(connection).connection).not.to.have.property('password');
  });
});

describe('the options of a connection', () => {
  const rows: readonly [string, Record<string, unknown>, Variables, Partial<ResolvedServer>][] = [
    ['win over PGAPPNAME', { application_name: 'app' }, { PGAPPNAME: 'env' }, { applicationName: 'app' }],
    ['use PGAPPNAME', {}, { PGAPPNAME: 'env' }, { applicationName: 'env' }],
    ['name the application after the settings by default', {}, {}, { applicationName: 'etl' }],
    ['use PGOPTIONS', {}, { PGOPTIONS: '-c jit=off' }, { options: '-c jit=off' }],
    ['have connect_timeout in seconds', { connect_timeout: '3' }, {}, { connectTimeoutMillis: 3_000 }],
    [
      'replace an unlimited connect_timeout by 10 s',
      { connect_timeout: 0 },
      {},
      { connectTimeoutMillis: 10_000 },
    ],
    ['turn keepalives off with 0', { keepalives: '0' }, {}, { keepAliveMillis: undefined }],
    ['turn keepalives off with false in JSON', { keepalives: false }, {}, { keepAliveMillis: undefined }],
    ['have keepalives_idle in seconds', { keepalives_idle: 30 }, {}, { keepAliveMillis: 30_000 }],
    [
      'name the application after fallback_application_name',
      { fallback_application_name: 'f' },
      {},
      { applicationName: 'f' },
    ],
    [
      'replace a negative connect_timeout by 10 s',
      { connect_timeout: '-1' },
      {},
      { connectTimeoutMillis: 10_000 },
    ],
    ['leave the first keepalive to the system with 0', { keepalives_idle: 0 }, {}, { keepAliveMillis: 0 }],
    ['accept any other number for keepalives', { keepalives: 2 }, {}, { keepAliveMillis: 5_000 }],
    ['accept a requirepeer for TCP, as libpq does', { requirepeer: 'x' }, {}, { keepAliveMillis: 5_000 }],
    [
      'accept what only GSSAPI uses',
      { krbsrvname: 'x', gsslib: 'x', gssdelegation: 1 },
      {},
      { keepAliveMillis: 5_000 },
    ],
  ];
  for (const [title, extra, variables, expected] of rows) {
    it(title, () => expect(resolve({ extra }, variables)).to.deep.include(expected));
  }

  const ignored: readonly [Record<string, unknown>, RegExp][] = [
    [
      { iam: false, cursor: 'dictcursor', sqlalchemy_scheme: 'x' },
      /iam, cursor, sqlalchemy_scheme, which only Airflow uses/,
    ],
    [
      { pgbouncer: 'true', connection_limit: '1', pool_timeout: '0' },
      /pgbouncer, connection_limit, pool_timeout, which only Prisma uses/,
    ],
    [{ schema: 'public' }, /schema, which only Prisma uses/],
    [
      { keepalives_interval: 10, keepalives_count: 5 },
      /keepalives_interval, keepalives_count have no effect/,
    ],
    [{ tcp_user_timeout: 1000 }, /tcp_user_timeout has no effect/],
  ];
  for (const [extra, notice] of ignored) {
    it(`${Object.keys(extra).join(', ')} are ignored with one notice`, () => {
      const notices: string[] = [];
      resolve({ extra }, {}, notices);
      expect(notices).to.have.length(1);
      expect(notices[0]).to.match(notice);
    });
  }
});

describe('the hosts of a connection', () => {
  const rows: readonly [Partial<Connection>, Variables, string[]][] = [
    [{ host: 'a,b' }, {}, ['a a 5432', 'b b 5432']],
    [{ host: 'a,b', port: 6 }, {}, ['a a 6', 'b b 6']],
    [{ host: 'a,b', extra: { port: '6,7' } }, {}, ['a a 6', 'b b 7']],
    [{ host: 'a,b', extra: { port: ',7' } }, {}, ['a a 5432', 'b b 7']],
    [{ host: ',/tmp' }, {}, ['localhost localhost 5432', '/tmp /tmp 5432']],
    [{ host: 'a,b', extra: { hostaddr: '10.0.0.1,::1' } }, {}, ['a 10.0.0.1 5432', 'b ::1 5432']],
    [{ extra: { hostaddr: '10.0.0.1' } }, {}, ['10.0.0.1 10.0.0.1 5432']],
    [{ host: 'a,b', extra: { hostaddr: '10.0.0.1,' } }, {}, ['a 10.0.0.1 5432', 'b b 5432']],
    [{ host: 'a', extra: { host: 'c', user: 'u', dbname: 'd' } }, {}, ['c c 5432']],
    [{}, { PGHOST: 'a,b', PGPORT: '6' }, ['a a 6', 'b b 6']],
    [{ host: '' }, { PGHOST: 'a' }, ['localhost localhost 5432']],
    [{ host: '@pg' }, {}, ['@pg @pg 5432']],
  ];
  for (const [connection, variables, hosts] of rows) {
    it(`${JSON.stringify(connection)} with ${JSON.stringify(variables)} are ${hosts.join(' and ')}`, () => {
      const settings = { applicationName: 'etl', variables, notice: () => undefined };
      const { servers } = resolveServers({ ...EMPTY, ...connection }, settings);
      const found = servers.map((each) => `${each.connection.host} ${each.address} ${each.connection.port}`);
      expect(found).to.deep.equal(hosts);
    });
  }
});

describe('a connection is refused', () => {
  const rows: readonly [string, Partial<Connection>, Variables, string, RegExp][] = [
    ['a misspelt option', { extra: { sslmod: SECRET } }, {}, 'ETL-2204', /"sslmod".*did you mean "sslmode"/],
    ['an option named like a method', { extra: { constructor: SECRET } }, {}, 'ETL-2204', /"constructor"/],
    ['a misspelt sslmode', { extra: { sslmode: 'requir' } }, {}, 'ETL-2206', /did you mean "require"/],
    ['a misspelt PGSSLMODE', {}, { PGSSLMODE: 'ful' }, 'ETL-2206', /"PGSSLMODE"/],
    ["node-postgres's no-verify", { extra: { sslmode: 'no-verify' } }, {}, 'ETL-2206', /sslmode=require/],
    [
      'a weak sslmode with public authorities',
      { extra: { sslmode: 'require', sslrootcert: 'system' } },
      {},
      'ETL-2206',
      /verify-full/,
    ],
    [
      'a timeout that is no number',
      { extra: { connect_timeout: SECRET } },
      {},
      'ETL-2206',
      /"connect_timeout"/,
    ],
    ['an option that is an object', { extra: { options: { a: SECRET } } }, {}, 'ETL-2206', /"options"/],
    ['a port that is no number', {}, { PGPORT: '5432,5433' }, 'ETL-2206', /"PGPORT"/],
    ['a port that is too high', {}, { PGPORT: '65536' }, 'ETL-2206', /65535/],
    [
      'PGHOSTADDR, which would redirect a connection with a host',
      { host: 'db.internal' },
      { PGHOSTADDR: '10.0.0.1' },
      'ETL-2207',
      /PGHOSTADDR.*unset PGHOSTADDR/,
    ],
    ['an empty sslmode', { extra: { sslmode: '' } }, {}, 'ETL-2206', /empty/],
    ['an empty PGSSLMODE', {}, { PGSSLMODE: '' }, 'ETL-2206', /"PGSSLMODE"/],
    [
      'three ports for two hosts',
      { host: 'a,b', extra: { port: '1,2,3' } },
      {},
      'ETL-2206',
      /3 ports do not fit to 2 hosts/,
    ],
    [
      'two hosts for one address',
      { host: 'a,b', extra: { hostaddr: '::1' } },
      {},
      'ETL-2206',
      /1 addresses do not fit to 2 hosts/,
    ],
    ['a name as hostaddr', { extra: { hostaddr: 'db' } }, {}, 'ETL-2206', /not an IP address/],
    [
      'direct TLS that may fall back',
      { extra: { sslnegotiation: 'direct' } },
      {},
      'ETL-2206',
      /sslmode=require/,
    ],
    [
      'a range of TLS versions that is empty',
      { extra: { ssl_min_protocol_version: 'TLSv1.3', ssl_max_protocol_version: 'TLSv1.2' } },
      {},
      'ETL-2206',
      /TLSv1\.3/,
    ],
    ...(
      [
        ['gssencmode', 'require', /sslmode=verify-full/],
        ['sslcertmode', 'require', /sslcertmode=allow/],
        ['min_protocol_version', '3.2', /min_protocol_version=3\.0/],
        ['replication', 'database', /remove/],
        ['client_encoding', 'LATIN1', /client_encoding=UTF8/],
        ['sslkeylogfile', '/tmp/keys', /remove/],
        ['oauth_issuer', 'https://id.example.com', /password/],
        ['oauth_client_id', 'id', /password/],
        ['oauth_client_secret', SECRET, /password/],
        ['oauth_scope', 'scope', /password/],
        ['scram_client_key', SECRET, /password/],
        ['scram_server_key', SECRET, /password/],
      ] as const
    ).map(([name, value, message]): [string, Partial<Connection>, Variables, string, RegExp] => [
      `${name}=${value === SECRET ? '…' : value}`,
      { extra: { [name]: value } },
      {},
      'ETL-2207',
      new RegExp(`uses ${name},.*${message.source}`),
    ]),
    [
      'requirepeer with a Unix socket',
      { host: '/tmp', extra: { requirepeer: 'postgres' } },
      {},
      'ETL-2207',
      /requirepeer/,
    ],
    [
      'requirepeer with an abstract socket',
      { host: '@pg', extra: { requirepeer: 'postgres' } },
      {},
      'ETL-2207',
      /requirepeer/,
    ],
    ['iam=true', { extra: { iam: true } }, {}, 'ETL-2207', /iam/],
    ['iam=True in a URI', { extra: { iam: 'True' } }, {}, 'ETL-2207', /iam/],
  ];
  for (const [title, connection, variables, code, message] of rows) {
    it(`for ${title}`, () => {
      const error = catchError(() => resolve(connection, variables));
      expect(error.code).to.equal(code);
      expect(`${error.message} ${error.why} ${error.fix}`).to.match(message).and.not.include(SECRET);
      expect(error.where).to.be.oneOf(['--conn', 'the environment']);
    });
  }
});

describe('sslmode', () => {
  it('is prefer by default, and verify-full with public authorities', () => {
    expect(resolve({}).tls.mode).to.equal('prefer');
    expect(resolve({ extra: { sslrootcert: 'system' } }).tls.mode).to.equal('verify-full');
  });

  for (const mode of ['verify-ca', 'verify-full']) {
    it(`${mode} needs a root certificate`, async () => {
      const target = resolve({ extra: { sslmode: mode } });
      const error: unknown = await readTlsOptions(target, {
        root: '/',
        variables: { HOME: '/nowhere' },
      }).catch((e: unknown) => e);
      expect(error).to.be.instanceOf(EtlError).with.property('code', 'ETL-2208');
    });
  }

  it('verify-ca names a root certificate file that does not exist', async () => {
    const target = resolve({ extra: { sslmode: 'verify-ca', sslrootcert: 'ca.pem' } });
    const error: unknown = await readTlsOptions(target, { root: '/nowhere', variables: {} }).catch(
      (e: unknown) => e,
    );
    expect(error).to.be.instanceOf(EtlError).with.property('why').that.includes('/nowhere/ca.pem');
  });

  /** The results of initialize_SSL in libpq's fe-secure-openssl.c, for a key of this user and for a key of root. */
  const keys: readonly [mode: number, ofUser: boolean, ofRoot: boolean][] = [
    [0o400, true, true],
    [0o600, true, true],
    [0o700, true, true],
    [0o640, false, true],
    [0o440, false, true],
    [0o660, false, false],
    [0o650, false, false],
    [0o604, false, false],
    [0o602, false, false],
    [0o601, false, false],
    [0o644, false, false],
    [0o777, false, false],
  ];
  for (const [mode, ofUser, ofRoot] of keys) {
    it(`accept a private key with mode 0${mode.toString(8)} as libpq does`, () => {
      expect([isPrivateKey({ uid: 1000, mode }), isPrivateKey({ uid: 0, mode })]).to.deep.equal([
        ofUser,
        ofRoot,
      ]);
    });
  }

  it('refuse a private key that all users can read, named or at its default path', async () => {
    const home = await mkdtemp(join(tmpdir(), 'etl-key-'));
    try {
      const folder = join(home, '.postgresql');
      await mkdir(folder);
      for (const name of ['postgresql.crt', 'postgresql.key']) await writeFile(join(folder, name), 'x');
      await chmod(join(folder, 'postgresql.key'), 0o644);
      const sslkey = join(folder, 'postgresql.key');
      const read = async (extra: Record<string, string>): Promise<unknown> => {
        try {
          const options = await readTlsOptions(resolve({ extra }), { root: '/', variables: { HOME: home } });
          return options.key;
        } catch (error) {
          return error instanceof EtlError ? `${error.code} ${error.fix}` : error;
        }
      };
      const refused = `ETL-2208 run \`chmod 600 ${sslkey}\`, and replace the key if another person may have read it`;
      expect([await read({}), await read({ sslkey })]).to.deep.equal([refused, refused]);
      await chmod(sslkey, 0o600);
      expect([await read({}), await read({ sslkey })]).to.deep.equal([Buffer.from('x'), Buffer.from('x')]);
      await rm(sslkey);
      expect(await read({})).to.equal(`ETL-2208 add sslkey=<file>, or save the key as ${sslkey}`);
    } finally {
      await rm(home, { recursive: true });
    }
  });

  const homes: readonly [
    title: string,
    make: (home: string) => Promise<unknown>,
    result: string | undefined,
  ][] = [
    ['has no .postgresql', () => Promise.resolve(), 'none'],
    ['has a file .postgresql', (home) => writeFile(join(home, '.postgresql'), ''), 'none'],
    ['has a loop of links .postgresql', (home) => symlink('.postgresql', join(home, '.postgresql')), 'none'],
    ['has a loop of links root.crt', (home) => makeEntry(home, (path) => symlink('root.crt', path)), 'none'],
    // libpq: could not read root certificate file
    ['has a directory root.crt', (home) => makeEntry(home, (path) => mkdir(path)), 'ETL-2208'],
    ['has a file root.crt', (home) => makeEntry(home, (path) => writeFile(path, 'ca')), 'ca'],
  ];
  const makeEntry = async (home: string, make: (path: string) => Promise<unknown>): Promise<unknown> => {
    await mkdir(join(home, '.postgresql'));
    return make(join(home, '.postgresql/root.crt'));
  };
  for (const [title, make, result] of homes) {
    it(`require reads the root certificate of a home that ${title} as libpq does: ${result}`, async () => {
      const home = await mkdtemp(join(tmpdir(), 'etl-home-'));
      try {
        await make(home);
        const target = resolve({ extra: { sslmode: 'require' } });
        const read = readTlsOptions(target, { root: '/', variables: { HOME: home } });
        const found = await read.then(
          ({ ca }) => String(ca ?? 'none'),
          (error: unknown) => (error as EtlError).code,
        );
        expect(found).to.equal(result);
      } finally {
        await rm(home, { recursive: true });
      }
    });
  }

  const SECURE = { rejectUnauthorized: true };
  const rows: readonly [string, Partial<Connection>, typeof SECURE | false, boolean][] = [
    ['another machine without TLS', { host: 'db.internal' }, false, true],
    ['another machine without verification', { host: 'db.internal' }, { rejectUnauthorized: false }, true],
    ['another machine with verification', { host: 'db.internal' }, SECURE, false],
    ['this machine by name', { host: 'localhost' }, false, false],
    ['this machine by address', { host: '127.0.0.1' }, false, false],
    ['this machine by IPv6', { host: '::1' }, false, false],
    ['a Unix socket', { host: '/tmp' }, false, false],
    ['a name that only begins like this machine', { host: 'localhost.evil.com' }, false, true],
    ['another name that only begins like an address of this machine', { host: '127.evil.com' }, false, true],
  ];
  for (const [title, connection, used, expected] of rows) {
    it(`${expected ? 'prefer warns about' : 'prefer does not warn about'} ${title}`, () => {
      expect(describeWeakness(resolve(connection), used) !== undefined).to.equal(expected);
    });
  }
});

describe('the password file', () => {
  const query = { host: 'db', port: 5432, database: 'd:b', user: 'u\\x' };
  const rows: readonly [string, string, string | undefined][] = [
    ['matches every field with a value', 'db:5432:d\\:b:u\\\\x:pw', 'pw'],
    ['matches * with any value', '*:*:*:*:pw', 'pw'],
    ['matches \\* with an asterisk only', '\\*:*:*:*:pw', undefined],
    ['gives the password of the first match', 'db:*:*:*:one\n*:*:*:*:two', 'one'],
    ['skips comments and lines that do not match', '#*:*:*:*:no\nother:*:*:*:no\n*:*:*:*:pw', 'pw'],
    ['unescapes the password', '*:*:*:*:a\\:b\\\\c\\d', 'a:b\\cd'],
    ['ends the password at a colon', '*:*:*:*:pw:rest', 'pw'],
    ['compares the port as text', 'db:05432:*:*:pw', undefined],
    ['accepts the line ends of Windows', '*:*:*:*:pw\r\n', 'pw'],
    ['ignores a line without all five fields', 'db:5432:d\\:b:u\\\\x', undefined],
  ];
  for (const [title, text, expected] of rows) {
    it(title, () => expect(findPassword(text, query)).to.equal(expected));
  }

  it('matches a Unix socket by localhost and by its directory', () => {
    const socket = { ...query, host: '/run/pg' };
    expect(findPassword('localhost:*:*:*:pw', socket)).to.equal('pw');
    expect(findPassword('/run/pg:*:*:*:pw', socket)).to.equal('pw');
  });

  it('finds the password for any fields that were escaped', () => {
    const text = fc.string().filter((value) => !/[\r\n]/.test(value));
    const port = fc.nat(65_535);
    fc.assert(
      fc.property(fc.record({ host: text, port, database: text, user: text }), text, (wanted, password) => {
        const fields = [wanted.host, String(wanted.port), wanted.database, wanted.user, password];
        const line = fields.map((field) => field.replace(/[\\:*#]/g, '\\$&')).join(':');
        expect(findPassword(line, wanted)).to.equal(password);
      }),
    );
  });

  it('is ignored with a notice if other users can read it, and is used with mode 0600', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'etl-passfile-'));
    const path = join(folder, 'pgpass');
    const notices: string[] = [];
    const find = (): Promise<string | undefined> =>
      readPassword({ path, isNamed: true }, query, (text) => notices.push(text));
    try {
      expect(await find()).to.equal(undefined);
      await writeFile(path, '*:*:*:*:pw', { mode: 0o644 });
      expect([await find(), notices.length]).to.deep.equal([undefined, 1]);
      await chmod(path, 0o600);
      expect([await find(), notices.length]).to.deep.equal(['pw', 1]);
      await rm(path);
      await mkdir(path);
      expect([await find(), notices.at(-1)]).to.deep.equal([
        undefined,
        `the password file ${path} is ignored: it is not a regular file`,
      ]);
      await rm(path, { recursive: true });
      await symlink('pgpass', path);
      expect([await find(), notices.at(-1)]).to.deep.equal([
        undefined,
        `the password file ${path} is ignored: this user can't read it (ELOOP)`,
      ]);
      const count = notices.length;
      const unnamed = { path, isNamed: false };
      expect(await readPassword(unnamed, query, (text) => notices.push(text))).to.equal(undefined);
      expect(notices, 'a file that nobody has named does not exist').to.have.lengthOf(count);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
