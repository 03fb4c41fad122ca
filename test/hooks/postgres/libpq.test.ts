import { expect } from 'chai';
import * as fc from 'fast-check';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { EtlError } from '../../../src/errors.js';
import type { Connection } from '../../../src/hooks/connection.js';
import type { OpenSettings, Variables } from '../../../src/hooks/hook.js';
import { resolveServer, type ResolvedServer } from '../../../src/hooks/postgres/libpq.js';
import { findPassword, readPassword } from '../../../src/hooks/postgres/passfile.js';
import { readTlsOptions, describeWeakness } from '../../../src/hooks/postgres/tls.js';

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
  return resolveServer({ ...EMPTY, ...connection }, settings);
}

function catchError(act: () => unknown): EtlError {
  try {
    act();
  } catch (error) {
    if (error instanceof EtlError) return error;
    throw error;
  }
  throw new Error('It did not throw.');
}

describe('the fields of a connection', () => {
  const rows: readonly [string, Partial<Connection>, Variables, Record<string, unknown>][] = [
    [
      'are defaults when nothing is said',
      {},
      {},
      { host: 'localhost', port: 5432, login: userInfo().username },
    ],
    ['name the database after the user', { login: 'ann' }, {}, { login: 'ann', database: 'ann' }],
    [
      'come from PG* variables',
      {},
      { PGHOST: 'h', PGPORT: '6', PGUSER: 'u', PGDATABASE: 'd' },
      { host: 'h', port: 6 },
    ],
    ['beat PG* variables', { host: 'a', port: 7 }, { PGHOST: 'h', PGPORT: '6' }, { host: 'a', port: 7 }],
    ['treat an empty variable as none', {}, { PGHOST: '', PGPORT: '' }, { host: 'localhost', port: 5432 }],
  ];
  for (const [title, connection, variables, expected] of rows) {
    it(title, () => expect(resolve(connection, variables).connection).to.include(expected));
  }

  it('dial PGHOSTADDR and keep the name of PGHOST', () => {
    const target = resolve({}, { PGHOST: 'db.internal', PGHOSTADDR: '10.0.0.1' });
    expect([target.address, target.connection.host]).to.deep.equal(['10.0.0.1', 'db.internal']);
  });

  it('do not let PGHOSTADDR redirect a connection that names its host', () => {
    expect(resolve({ host: 'db.internal' }, { PGHOSTADDR: '10.0.0.1' }).address).to.equal('db.internal');
  });

  it('never include the password', () => {
    const connection = Object.defineProperty({ ...EMPTY }, 'password', { value: SECRET });
    expect(resolve(connection).connection).not.to.have.property('password');
  });
});

describe('the options of a connection', () => {
  const rows: readonly [string, Record<string, unknown>, Variables, Partial<ResolvedServer>][] = [
    ['name the application', { application_name: 'app' }, { PGAPPNAME: 'env' }, { applicationName: 'app' }],
    ['take PGAPPNAME', {}, { PGAPPNAME: 'env' }, { applicationName: 'env' }],
    ['name the application etl by default', {}, {}, { applicationName: 'etl' }],
    ['take PGOPTIONS', {}, { PGOPTIONS: '-c jit=off' }, { options: '-c jit=off' }],
    ['count connect_timeout in seconds', { connect_timeout: '3' }, {}, { connectTimeoutMillis: 3_000 }],
    ['wait 10 s for ever', { connect_timeout: 0 }, {}, { connectTimeoutMillis: 10_000 }],
    ['turn keepalives off', { keepalives: '0' }, {}, { keepAliveMillis: undefined }],
    ['turn keepalives off in JSON', { keepalives: false }, {}, { keepAliveMillis: undefined }],
    ['count keepalives_idle in seconds', { keepalives_idle: 30 }, {}, { keepAliveMillis: 30_000 }],
    ['allow any server', { target_session_attrs: 'any' }, {}, { keepAliveMillis: 5_000 }],
  ];
  for (const [title, extra, variables, expected] of rows) {
    it(title, () => expect(resolve({ extra }, variables)).to.deep.include(expected));
  }

  it('are ignored with one notice where only Airflow knows them', () => {
    const notices: string[] = [];
    resolve({ extra: { iam: false, cursor: 'dictcursor', sqlalchemy_scheme: 'x' } }, {}, notices);
    expect(notices).to.have.length(1);
    expect(notices[0]).to.include('iam, cursor, sqlalchemy_scheme');
  });
});

describe('a connection that makes no sense', () => {
  const rows: readonly [string, Partial<Connection>, Variables, string, RegExp][] = [
    ['a misspelt option', { extra: { sslmod: SECRET } }, {}, 'ETL-2204', /"sslmod".*did you mean "sslmode"/],
    ['an option named like a method', { extra: { constructor: SECRET } }, {}, 'ETL-2204', /"constructor"/],
    ['a misspelt sslmode', { extra: { sslmode: 'requir' } }, {}, 'ETL-2206', /did you mean "require"/],
    ['a misspelt PGSSLMODE', {}, { PGSSLMODE: 'ful' }, 'ETL-2206', /"PGSSLMODE"/],
    ["node-postgres's no-verify", { extra: { sslmode: 'no-verify' } }, {}, 'ETL-2206', /sslmode=require/],
    [
      'a weak mode with public authorities',
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
    ['two hosts', { host: 'h1,h2' }, {}, 'ETL-2207', /more than one host/],
    [
      'a wish for a writable server',
      { extra: { target_session_attrs: 'read-write' } },
      {},
      'ETL-2207',
      /target_session_attrs/,
    ],
    ['a wish for AWS tokens', { extra: { iam: true } }, {}, 'ETL-2207', /iam/],
    ['a wish for AWS tokens in a URI', { extra: { iam: 'True' } }, {}, 'ETL-2207', /iam/],
  ];
  for (const [title, connection, variables, code, message] of rows) {
    it(`is refused for ${title}`, () => {
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
    it(`${mode} needs an authority`, async () => {
      const target = resolve({ extra: { sslmode: mode } });
      const error: unknown = await readTlsOptions(target, {
        root: '/',
        variables: { HOME: '/nowhere' },
      }).catch((e: unknown) => e);
      expect(error).to.be.instanceOf(EtlError).with.property('code', 'ETL-2208');
    });
  }

  it('names a certificate file that is not there', async () => {
    const target = resolve({ extra: { sslmode: 'verify-ca', sslrootcert: 'ca.pem' } });
    const error: unknown = await readTlsOptions(target, { root: '/nowhere', variables: {} }).catch(
      (e: unknown) => e,
    );
    expect(error).to.be.instanceOf(EtlError).with.property('why').that.includes('/nowhere/ca.pem');
  });

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
    ['another name that does so', { host: '127.evil.com' }, false, true],
  ];
  for (const [title, connection, used, expected] of rows) {
    it(`${expected ? 'warns about' : 'says nothing of'} ${title}`, () => {
      expect(describeWeakness(resolve(connection), used) !== undefined).to.equal(expected);
    });
  }
});

describe('the password file', () => {
  const query = { host: 'db', port: 5432, database: 'd:b', user: 'u\\x' };
  const rows: readonly [string, string, string | undefined][] = [
    ['matches every field', 'db:5432:d\\:b:u\\\\x:pw', 'pw'],
    ['takes * for any value', '*:*:*:*:pw', 'pw'],
    ['takes \\* for an asterisk only', '\\*:*:*:*:pw', undefined],
    ['stops at the first match', 'db:*:*:*:one\n*:*:*:*:two', 'one'],
    ['skips comments and what does not match', '#*:*:*:*:no\nother:*:*:*:no\n*:*:*:*:pw', 'pw'],
    ['unescapes the password', '*:*:*:*:a\\:b\\\\c\\d', 'a:b\\cd'],
    ['ends the password at a colon', '*:*:*:*:pw:rest', 'pw'],
    ['compares the port as text', 'db:05432:*:*:pw', undefined],
    ['ends lines as Windows does', '*:*:*:*:pw\r\n', 'pw'],
    ['needs all five fields', 'db:5432:d\\:b:u\\\\x', undefined],
  ];
  for (const [title, text, expected] of rows) {
    it(title, () => expect(findPassword(text, query)).to.equal(expected));
  }

  it('knows a Unix socket as localhost and by its directory', () => {
    const socket = { ...query, host: '/run/pg' };
    expect(findPassword('localhost:*:*:*:pw', socket)).to.equal('pw');
    expect(findPassword('/run/pg:*:*:*:pw', socket)).to.equal('pw');
  });

  it('gives back any fields that were escaped', () => {
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

  it('is ignored with a notice when others can read it, and is used with mode 0600', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'etl-passfile-'));
    const path = join(folder, 'pgpass');
    const notices: string[] = [];
    const find = (): Promise<string | undefined> => readPassword(path, query, (text) => notices.push(text));
    try {
      expect(await find()).to.equal(undefined);
      await writeFile(path, '*:*:*:*:pw', { mode: 0o644 });
      expect([await find(), notices.length]).to.deep.equal([undefined, 1]);
      await chmod(path, 0o600);
      expect([await find(), notices.length]).to.deep.equal(['pw', 1]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
