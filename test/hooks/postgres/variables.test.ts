import { expect } from 'chai';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EtlError } from '../../../src/errors.js';
import type { Connection } from '../../../src/hooks/connection.js';
import type { Variables } from '../../../src/hooks/hook.js';
import { resolveServers, type ServerList } from '../../../src/hooks/postgres/libpq.js';
import { PARAMETERS, SESSION_VARIABLES, type Parameter } from '../../../src/hooks/postgres/parameters.js';
import { postgresHook } from '../../../src/hooks/postgres/postgres-hook.js';
import { readService } from '../../../src/hooks/postgres/pgservice.js';

const EMPTY: Connection = { id: 'c', scheme: 'postgres', definedBy: '--conn', extra: {} };

function resolve(variables: Variables, connection: Partial<Connection> = {}): ServerList {
  const settings = { applicationName: 'etl', variables, notice: () => undefined };
  return resolveServers({ ...EMPTY, ...connection }, settings);
}

/** The field of a connection that a variable decides, and its value. A text with `ETL-` is the code of the refusal. */
type Effect = string | ((list: ServerList) => readonly [found: unknown, expected: unknown]);

const first =
  (read: (server: ServerList['servers'][0]) => unknown, expected: unknown): Effect =>
  ({ servers }) => [read(servers[0]), expected];

/**
 * Every variable that libpq reads, a value, and what the value does.
 * https://www.postgresql.org/docs/current/libpq-envars.html
 */
const EFFECTS: readonly (readonly [variable: string, value: string, effect: Effect])[] = [
  ['PGHOST', 'db', first((server) => server.connection.host, 'db')],
  ['PGHOSTADDR', '10.0.0.1', first((server) => server.address, '10.0.0.1')],
  ['PGPORT', '6432', first((server) => server.connection.port, 6432)],
  ['PGDATABASE', 'shop', first((server) => server.connection.database, 'shop')],
  ['PGUSER', 'ann', first((server) => server.connection.login, 'ann')],
  [
    'PGREQUIREAUTH',
    'scram-sha-256',
    first((server) => [...(server.authentication.required?.allowed ?? [])], ['scram-sha-256']),
  ],
  ['PGREQUIREAUTH', 'scram', 'ETL-2206'],
  ['PGCHANNELBINDING', 'require', first((server) => server.authentication.channelBinding, 'require')],
  ['PGCHANNELBINDING', 'on', 'ETL-2206'],
  ['PGOPTIONS', '-c geqo=off', first((server) => server.options, '-c geqo=off')],
  ['PGAPPNAME', 'nightly', first((server) => server.applicationName, 'nightly')],
  ['PGSSLMODE', 'verify-full', first((server) => server.tls.mode, 'verify-full')],
  ['PGSSLMODE', 'on', 'ETL-2206'],
  ['PGREQUIRESSL', '1', first((server) => server.tls.mode, 'require')],
  ['PGSSLNEGOTIATION', 'direct', 'ETL-2206'],
  ['PGSSLCOMPRESSION', '1', first((server) => server.tls.mode, 'prefer')],
  ['PGSSLCERT', 'client.crt', first((server) => server.tls.cert, 'client.crt')],
  ['PGSSLKEY', 'client.key', first((server) => server.tls.key, 'client.key')],
  ['PGSSLCERTMODE', 'disable', first((server) => server.tls.sendsCertificate, false)],
  ['PGSSLCERTMODE', 'require', 'ETL-2207'],
  ['PGSSLROOTCERT', 'system', first((server) => server.tls.mode, 'verify-full')],
  ['PGSSLCRL', 'root.crl', first((server) => server.tls.crl, 'root.crl')],
  ['PGSSLCRLDIR', 'lists', first((server) => server.tls.crlDirectory, 'lists')],
  ['PGSSLSNI', '0', first((server) => server.tls.namesHost, false)],
  ['PGREQUIREPEER', 'postgres', first((server) => server.tls.mode, 'prefer')],
  ['PGSSLMINPROTOCOLVERSION', 'TLSv1.3', first((server) => server.tls.minVersion, 'TLSv1.3')],
  ['PGSSLMAXPROTOCOLVERSION', 'TLSv1.2', first((server) => server.tls.maxVersion, 'TLSv1.2')],
  ['PGMINPROTOCOLVERSION', '3.2', 'ETL-2207'],
  ['PGMAXPROTOCOLVERSION', '3.1', 'ETL-2206'],
  ['PGGSSENCMODE', 'require', 'ETL-2207'],
  ['PGGSSENCMODE', 'prefer', first((server) => server.tls.mode, 'prefer')],
  ['PGKRBSRVNAME', 'postgres', first((server) => server.tls.mode, 'prefer')],
  ['PGGSSLIB', 'gssapi', first((server) => server.tls.mode, 'prefer')],
  ['PGGSSDELEGATION', '1', first((server) => server.tls.mode, 'prefer')],
  ['PGCONNECT_TIMEOUT', '3', first((server) => server.connectTimeoutMillis, 3000)],
  ['PGCLIENTENCODING', 'utf8', first((server) => server.tls.mode, 'prefer')],
  ['PGCLIENTENCODING', 'LATIN1', 'ETL-2207'],
  ['PGTARGETSESSIONATTRS', 'primary', ({ attributes }) => [attributes, 'primary']],
  ['PGLOADBALANCEHOSTS', 'random', ({ isBalanced }) => [isBalanced, true]],
  ['PGTZ', 'Europe/Paris', first((server) => server.sessionSettings, { TimeZone: 'Europe/Paris' })],
  ['PGDATESTYLE', 'ISO, DMY', first((server) => server.sessionSettings, { DateStyle: 'ISO, DMY' })],
  ['PGGEQO', 'off', first((server) => server.sessionSettings, { geqo: 'off' })],
  ['PGTZ', 'default', first((server) => server.sessionSettings, {})],
];

/** The tests below try PGSERVICE; postgres-hook.test.ts tries the passwords. */
const OTHERS = ['PGPASSWORD', 'PGPASSFILE', 'PGSERVICE'];

describe('a variable of libpq', () => {
  for (const [variable, value, effect] of EFFECTS) {
    it(`${variable}=${value} is ${typeof effect === 'string' ? 'refused' : 'obeyed'}`, () => {
      if (typeof effect !== 'string') {
        const [found, expected] = effect(resolve({ PGUSER: 'u', [variable]: value }));
        expect(found).to.deep.equal(expected);
        return;
      }
      expect(() => resolve({ PGUSER: 'u', [variable]: value }))
        .to.throw(EtlError, variable)
        .with.property('code', effect);
    });
  }

  it('is in the table above', () => {
    const all = Object.values(PARAMETERS).flatMap(({ variable }: Parameter) => variable ?? []);
    const tried = new Set([...EFFECTS.map(([variable]) => variable), ...OTHERS]);
    const missing = [...all, ...Object.keys(SESSION_VARIABLES)].filter((name) => !tried.has(name));
    expect(missing).to.deep.equal([]);
  });

  it('does not win over a parameter of the connection or of its service', () => {
    const variables = { PGHOST: 'v', PGUSER: 'v', PGSSLMODE: 'disable' };
    const service = {
      name: 'service "s"',
      parameters: new Map([
        ['host', 's'],
        ['sslmode', 'require'],
        ['user', 's'],
      ]),
    };
    const connection = { ...EMPTY, login: 'c' };
    const settings = { applicationName: 'etl', variables, notice: () => undefined };
    const [{ connection: found, tls }] = resolveServers(connection, settings, service).servers;
    expect([found.host, found.login, tls.mode]).to.deep.equal(['s', 'c', 'require']);
  });
});

describe('a service', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'etl-service-'));
  });
  after(() => rm(folder, { recursive: true }));

  // Each result is that of libpq 18.6 with the same file.
  const rows: readonly [title: string, text: string, expected: Record<string, string> | RegExp][] = [
    [
      'has the parameters of its section',
      '# no\n[other]\nhost=no\n [s] \nhost=db\n  port=5\t\n\n[t]\nuser=no\n',
      { host: 'db', port: '5' },
    ],
    ['has the first value of a parameter', '[s]\nhost=a\nhost=b\n', { host: 'a' }],
    ['has the first section of its name', '[s]\nhost=a\n[s]\nuser=no\n', { host: 'a' }],
    [
      'can have an empty value and a value with =',
      '[s]\nhost=\noptions=-c a=b\n',
      { host: '', options: '-c a=b' },
    ],
    ['can be empty', '[s]', {}],
    ['has blanks after the =', '[s]\nhost= db\n', { host: ' db' }],
    ['ignores the faults of another section', '[other]\nnothing\n[s]\nhost=a\n', { host: 'a' }],
    ['is refused with a blank before the =', '[s]\nhost = db\n', /line 2 .*parameter of libpq/],
    ['is refused with an unknown parameter', '[s]\n\nfoo=1\n', /line 3 .*parameter of libpq/],
    ['is refused without a =', '[s]\nhost\n', /line 2 .*no =/],
    ['is refused if it names a service', '[s]\nservice=t\n', /line 2 .*another service/],
    ['is refused with a line of 1024 bytes', `[s]\nhost=${'h'.repeat(1019)}\n`, /line 2 .*1023 bytes/],
    ['is refused if the file has no such section', '[t]\nhost=a\n', /no service file has the service "s"/],
  ];
  for (const [title, text, expected] of rows) {
    it(title, async () => {
      const file = join(folder, 'services');
      await writeFile(file, text);
      const connection = { ...EMPTY, extra: { service: 's' } };
      const found = await readService(connection, {
        variables: { PGSERVICEFILE: file, HOME: '/nowhere' },
        root: '/',
      }).catch((error: unknown) => error);
      if (!(expected instanceof RegExp)) {
        expect(Object.fromEntries((found as { parameters: Map<string, string> }).parameters)).to.deep.equal(
          expected,
        );
        return;
      }
      expect(found).to.be.instanceOf(EtlError).with.property('code', 'ETL-2215');
      expect(`${(found as EtlError).message} ${(found as EtlError).why}`).to.match(expected);
    });
  }

  it('comes from PGSERVICEFILE, else from ~/.pg_service.conf, else from PGSYSCONFDIR', async () => {
    await writeFile(join(folder, '.pg_service.conf'), '[home]\nhost=home\n[both]\nhost=home\n');
    await writeFile(join(folder, 'pg_service.conf'), '[system]\nhost=system\n[both]\nhost=system\n');
    await writeFile(join(folder, 'named'), '[named]\nhost=named\n');
    const find = async (service: string, variables: Variables): Promise<string | undefined> => {
      const settings = { variables: { HOME: folder, PGSERVICE: service, ...variables }, root: folder };
      const found = await readService(EMPTY, settings).catch((error: unknown) => (error as EtlError).code);
      return typeof found === 'string' ? found : found?.parameters.get('host');
    };
    const PGSYSCONFDIR = folder;
    expect(await find('home', {})).to.equal('home');
    expect(await find('both', { PGSYSCONFDIR })).to.equal('home');
    expect(await find('system', { PGSYSCONFDIR })).to.equal('system');
    expect(await find('system', {})).to.equal('ETL-2215');
    expect(await find('named', { PGSERVICEFILE: 'named' })).to.equal('named');
    expect(await find('home', { PGSERVICEFILE: 'named' })).to.equal('ETL-2215');
    expect(await find('system', { PGSERVICEFILE: 'named', PGSYSCONFDIR })).to.equal('system');
    expect(await find('system', { PGSERVICEFILE: 'missing', PGSYSCONFDIR })).to.equal('ETL-2215');
    expect(await find('', { PGSYSCONFDIR })).to.equal('ETL-2215');
  });

  it('is used by a hook, and an error names it', async () => {
    await writeFile(join(folder, 'named'), '[shop]\nhost=127.0.0.1\nport=1\nuser=u\nsslmode=sometimes\n');
    const settings = {
      poolSize: 1,
      applicationName: 'etl',
      variables: { PGSERVICEFILE: 'named', HOME: folder },
      root: folder,
      pid: process.pid,
      notice: () => undefined,
    };
    const error: unknown = await postgresHook
      .open({ ...EMPTY, extra: { service: 'shop' } }, settings)
      .catch((reason: unknown) => reason);
    expect(error)
      .to.be.instanceOf(EtlError)
      .with.property('where', `service "shop" in ${join(folder, 'named')}`);
  });
});
