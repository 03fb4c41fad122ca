import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { from as copyFrom } from 'pg-copy-streams';
import { EtlError } from '../../../src/errors.js';
import { describeConnectError } from '../../../src/hooks/connect-error.js';
import type { Connection } from '../../../src/hooks/connection.js';
import type { Database, OpenSettings, Variables } from '../../../src/hooks/hook.js';
import { postgresHook } from '../../../src/hooks/postgres/postgres-hook.js';
import { createDatabase, ownCluster, type TestDatabase } from '../../support/database.js';
import { listTlsCases } from './tls-cases.js';

const CERTIFICATE = fileURLToPath(new URL('../../fixtures/tls/server.crt', import.meta.url));
const HOME = { HOME: '/nowhere' };

let db: TestDatabase;
before(async () => {
  db = await createDatabase({ server: await ownCluster() });
});
after(() => db.drop());

/** Returns a connection to the test database, with `changes`. */
async function connectionTo(changes: Partial<Connection> = {}): Promise<Connection> {
  const { host, port, user: login, password } = await ownCluster();
  const { password: changed = password, ...rest } = changes;
  const connection = { id: 'warehouse', scheme: 'postgres', definedBy: 'ETL_CONN_WAREHOUSE', extra: {} };
  const visible = { ...connection, host, port, login, database: db.name, ...rest };
  if (visible.host === '') Reflect.deleteProperty(visible, 'host');
  return Object.defineProperty(visible, 'password', { value: changed || undefined });
}

interface Opened extends AsyncDisposable {
  readonly database: Database;
  readonly notices: readonly string[];
}

async function open(changes: Partial<Connection> = {}, variables: Variables = HOME): Promise<Opened> {
  const notices: string[] = [];
  const notice = (text: string): unknown => notices.push(text);
  const settings: OpenSettings = {
    poolSize: 2,
    applicationName: 'etl',
    variables,
    root: '/',
    pid: process.pid,
    notice,
  };
  const database = await postgresHook.open(await connectionTo(changes), settings);
  return { database, notices, [Symbol.asyncDispose]: () => database.close() };
}

/** Returns the error of the first query. */
async function failure(changes: Partial<Connection>, variables: Variables = HOME): Promise<EtlError> {
  await using opened = await open(changes, variables);
  const error: unknown = await opened.database.knex.raw('select 1').catch((reason: unknown) => reason);
  expect(error).to.be.instanceOf(EtlError);
  return error as EtlError;
}

async function first<Row>({ database }: Opened, sql: string): Promise<Row> {
  const result = await database.knex.raw<{ rows: Row[] }>(sql);
  return result.rows[0] as Row;
}

describe('a postgres connection', () => {
  it('answers queries, has the application name, and leaves no session after close', async () => {
    const opened = await open();
    const row = await first(opened, `select current_setting('application_name') as name, 1 as one`);
    expect(row).to.deep.equal({ name: 'etl', one: 1 });
    await opened.database.close();
    expect(await db.leftSessions()).to.deep.equal([]);
    expect(opened.notices).to.deep.equal([]);
  });

  it('opens nothing before the first query', async () => {
    await using opened = await open({ host: 'host.invalid' });
    expect(opened.database.knex.client.pool.numUsed()).to.equal(0);
  });

  const questions: readonly [sslmode: string, sockets: number][] = [
    ['prefer', 3],
    ['disable', 2],
  ];
  for (const [sslmode, sockets] of questions) {
    it(`opens ${sockets} sockets for two sessions with sslmode=${sslmode}`, async () => {
      await using counted = await countSockets();
      await using opened = await open({ host: '127.0.0.1', port: counted.port, extra: { sslmode } });
      expect(await first(opened, 'select 1 as one')).to.deep.equal({ one: 1 });
      const control = await opened.database.openControl?.();
      expect(counted.opened).to.equal(sockets);
      await until(async () => counted.open === 2);
      await control?.end();
    });
  }

  it('works over a Unix socket, whatever sslmode says', async () => {
    const { socketDirectory } = await ownCluster();
    await using opened = await open({ host: socketDirectory, extra: { sslmode: 'verify-full' } });
    expect(await first(opened, 'select inet_server_addr() as address')).to.deep.equal({ address: null });
  });

  it('sends its options, and does not read PGOPTIONS of the process', async () => {
    process.env['PGOPTIONS'] = '-c work_mem=1MB';
    try {
      await using given = await open({ extra: { options: '-c work_mem=2MB' } });
      expect(await first(given, 'show work_mem')).to.deep.equal({ work_mem: '2MB' });
      await using none = await open();
      expect(await first(none, 'show work_mem')).to.deep.equal({ work_mem: '4MB' });
    } finally {
      delete process.env['PGOPTIONS'];
    }
  });

  it('has the time zone, the order of dates and the optimizer of PGTZ, PGDATESTYLE and PGGEQO', async () => {
    const variables = { ...HOME, PGTZ: 'Asia/Tokyo', PGDATESTYLE: 'German, DMY', PGGEQO: 'off' };
    await using opened = await open({}, variables);
    const shown = await first(
      opened,
      `select current_setting('timezone') as zone, current_setting('datestyle') as style, current_setting('geqo') as geqo`,
    );
    expect(shown).to.deep.equal({ zone: 'Asia/Tokyo', style: 'German, DMY', geqo: 'off' });
  });

  it('works over a socket in the abstract namespace of Linux, also to cancel a statement', async function () {
    const { port } = await ownCluster();
    const name = `etl-test-${process.pid}`;
    const proxy = createServer((client) => {
      const upstream = connect(port, '127.0.0.1');
      client.pipe(upstream).pipe(client);
      for (const each of [client, upstream]) each.on('error', () => undefined); // The other side ends as well.
      client.on('close', () => upstream.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen({ path: `\0${name}/.s.PGSQL.${port}` }, resolve));
    try {
      const opened = await open({ host: `@${name}`, port });
      expect(await first(opened, 'select 1 as one')).to.deep.equal({ one: 1 });
      await started(opened.database.knex.raw('select pg_sleep(602)'), 'select pg_sleep(602)');
      await opened.database.close();
      expect(await db.leftSessions()).to.deep.equal([]);
    } finally {
      proxy.close();
    }
  });

  it('reads its password from PGPASSWORD or from the password file', async () => {
    const { host, port, user, password } = await ownCluster();
    const folder = await mkdtemp(join(tmpdir(), 'etl-passfile-'));
    try {
      const file = join(folder, 'pgpass');
      await writeFile(file, `${host}:${port}:*:${user}:${password}\n`, { mode: 0o600 });
      await using byVariable = await open({ password: '' }, { ...HOME, PGPASSWORD: password });
      await using byFile = await open({ password: '' }, { ...HOME, PGPASSFILE: file });
      await using byParameter = await open({ password: '', extra: { passfile: file } });
      for (const opened of [byVariable, byFile, byParameter])
        expect(await first(opened, 'select 1 as one')).to.deep.equal({ one: 1 });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('survives the loss of an idle control connection', async () => {
    await using opened = await open();
    const control = await opened.database.openControl?.();
    const pid = (await control?.query<{ pid: number }>('select pg_backend_pid() as pid'))?.rows[0]?.pid;
    const ended = new Promise((resolve) => control?.once('end', () => resolve(undefined)));
    await db.query('select pg_terminate_backend($1)', [pid]);
    await ended;
    expect(await first(opened, 'select 1 as one')).to.deep.equal({ one: 1 });
  });

  it('prints nothing, not even the warnings of knex', () => {
    const hook = new URL('../../../src/hooks/postgres/postgres-hook.ts', import.meta.url).href;
    const script = `
      const { postgresHook } = await import(${JSON.stringify(hook)});
      const notices = [];
      const connection = { id: 'c', scheme: 'postgres', definedBy: 'test', host: '127.0.0.1', port: 1, login: 'u', extra: {} };
      const settings = { poolSize: 1, applicationName: 'etl', variables: {}, root: '/', notice: (text) => notices.push(text) };
      const database = await postgresHook.open(connection, settings);
      await database.knex.raw('select 1').catch(() => {});
      database.knex.client.logger.warn('heed this');
      await database.close();
      process.exitCode = notices.join() === 'knex: heed this' ? 7 : 8;`;
    const child = spawnSync(process.execPath, ['--import=tsx', '--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    expect([child.status, child.stdout, child.stderr]).to.deep.equal([7, '', '']);
  });
});

describe('the error of a connection', () => {
  const rows: readonly [string, Partial<Connection>, RegExp][] = [
    [
      'a port where nothing listens',
      { port: 1 },
      /^connection "warehouse" could not connect to 127\.0\.0\.1:1 \(ECONNREFUSED\)$/,
    ],
    [
      'a host that does not exist',
      { host: 'host.invalid' },
      /can't be found: host\.invalid:\d+ \((ENOTFOUND|EAI_AGAIN)\)/,
    ],
    [
      'a socket that does not exist',
      { host: '/nowhere' },
      /can't use the socket \/nowhere\/\.s\.PGSQL\.\d+ \(ENOENT\)/,
    ],
    ['a wrong password', { password: 'open-sesame' }, /was refused by .* as user "\w+" \(SQLSTATE 28P01\)/],
    ['a missing password', { password: '' }, /has no password, and .* asks user "\w+" for a password/],
    [
      'an unknown database',
      { database: 'atlantis' },
      /names a database "atlantis" that .* does not have \(SQLSTATE 3D000\)/,
    ],
    ['a server without TLS', { extra: { sslmode: 'require' } }, /requires TLS, which .* does not offer/],
  ];
  for (const [title, changes, message] of rows) {
    it(`with ${title} names what defines the connection, and a fix`, async () => {
      const error = await failure(changes);
      expect(error.message).to.match(message);
      expect(error).to.include({ code: 'ETL-1001', where: 'ETL_CONN_WAREHOUSE' });
      expect(error.fix).to.be.a('string');
      expect(`${error.message} ${error.why} ${error.fix}`).not.to.include('open-sesame');
    });
  }

  const states: readonly [string, RegExp][] = [
    ['57P03', /is not served yet by db:5432/],
    ['28000', /was refused by db:5432 as user "ann"/],
    ['42501', /may not open database "d" on db:5432 as user "ann"/],
    ['EHOSTUNREACH', /got no answer from db:5432/],
    ['CERT_HAS_EXPIRED', /does not trust the certificate of db:5432/],
    ['XX000', /could not be opened on db:5432/],
  ];
  for (const [code, message] of states) {
    it(`explains the code ${code}`, async () => {
      const cause = Object.assign(new Error('said the server'), { code });
      const connection = await connectionTo({ host: 'db', port: 5432, login: 'ann', database: 'd' });
      const error = describeConnectError(cause, connection);
      expect(error.message).to.match(message).and.include(`${code})`);
      expect(error.cause).to.equal(cause);
    });
  }

  it('names the limit that the server names if it accepts no more connections', async () => {
    await using one = await createDatabase();
    await one.query(`alter database ${one.name} connection limit 0`);
    await one.query('create role no_superuser login password $$pw$$');
    const error = await failure({ database: one.name, login: 'no_superuser', password: 'pw' });
    await one.query('drop role no_superuser');
    expect(error.message).to.match(/was refused by .*: too many connections \(SQLSTATE 53300\)/);
    expect(error.why).to.match(/^too many connections for database/);
    expect(error.fix).to.include(`raise the limit of database "${one.name}"`);
  });

  it('comes after connect_timeout if the server never answers', async () => {
    const silent = await listen(() => {});
    try {
      const { port } = silent.address() as { port: number };
      for (const sslmode of ['disable', 'prefer']) {
        const error = await failure({ port, extra: { sslmode, connect_timeout: 1 } });
        expect(error.message).to.match(/got no answer from 127\.0\.0\.1:\d+ \(ETIMEDOUT\)/);
      }
    } finally {
      silent.close();
    }
  });
});

describe('closing a postgres connection', () => {
  const rows: readonly [string, (opened: Opened) => Promise<unknown>][] = [
    ['an open transaction', async ({ database }) => (await database.knex.transaction()).raw('select 1')],
    [
      'a running statement',
      ({ database }) => started(database.knex.raw('select pg_sleep(600)'), 'select pg_sleep(600)'),
    ],
    ['a COPY that nobody ends', ({ database }) => abandonCopy(database)],
    ['a control connection that nobody ends', async ({ database }) => database.openControl?.()],
  ];
  for (const [title, leave] of rows) {
    it(`does not wait for ${title}, and leaves no session`, async () => {
      const opened = await open();
      await leave(opened);
      await opened.database.close();
      expect(await db.leftSessions()).to.deep.equal([]);
    });
  }

  it('refuses a control connection after close', async () => {
    const { database } = await open();
    await database.close();
    const error: unknown = await database.openControl?.().catch((reason: unknown) => reason);
    expect(error).to.be.an('error');
    expect(await db.leftSessions()).to.deep.equal([]);
  });
});

/** A proxy to the test server that counts its clients: all clients so far, and the connected clients. */
async function countSockets() {
  const { port } = await ownCluster();
  const clients = new Set<Socket>();
  const counted = { port: 0, opened: 0, open: 0, [Symbol.asyncDispose]: () => endProxy(proxy, clients) };
  const proxy = createServer((client) => {
    clients.add(client);
    counted.opened++;
    counted.open++;
    client.on('close', () => counted.open--);
    const upstream = connect(port, '127.0.0.1');
    client.pipe(upstream).pipe(client);
    for (const each of [client, upstream]) each.on('error', () => undefined); // The other side ends as well.
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  counted.port = (proxy.address() as AddressInfo).port;
  return counted;
}

async function endProxy(proxy: Server, clients: ReadonlySet<Socket>): Promise<void> {
  const closed = new Promise((resolve) => proxy.close(resolve));
  for (const client of clients) client.destroy();
  await closed;
}

/** Resolves when the server runs the statement. Does not wait for its end. */
async function started(running: PromiseLike<unknown>, sql: string): Promise<void> {
  running.then(undefined, () => {}); // The statement fails when its session ends.
  await until(async () =>
    (await db.sessions()).some(({ state, query }) => state === 'active' && query === sql),
  );
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await turn();
}

async function abandonCopy({ knex }: Database): Promise<void> {
  await knex.raw('create table if not exists t (a int)');
  const transaction = await knex.transaction();
  const client = (await transaction.client.acquireConnection()) as {
    query(stream: unknown): NodeJS.WritableStream;
  };
  client.query(copyFrom('copy t from stdin')).write('1\n');
  await started(Promise.resolve(), 'copy t from stdin');
}

function listen(onConnection: () => void): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer(onConnection).listen(0, '127.0.0.1', () => resolve(server));
  });
}

describe('TLS', () => {
  const SSL = `select case when ssl then 'tls' else 'plain' end as used from pg_stat_ssl where pid = pg_backend_pid()`;
  const NAMED = { sslrootcert: CERTIFICATE };

  async function outcome(
    host: string,
    extra: Record<string, unknown>,
    variables: Variables = HOME,
  ): Promise<string> {
    await using opened = await open({ host, extra }, variables);
    try {
      return (await first<{ used: string }>(opened, SSL)).used;
    } catch (error) {
      if (error instanceof EtlError && error.code === 'ETL-1001') return 'refused';
      throw error;
    }
  }

  // The rows are libpq's table: https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-SSLMODE-STATEMENTS
  const rows: readonly [Record<string, unknown>, host: string, withTls: string, without: string][] = [
    [{}, '127.0.0.1', 'tls', 'plain'],
    [{ sslmode: 'disable' }, '127.0.0.1', 'plain', 'plain'],
    [{ sslmode: 'allow' }, '127.0.0.1', 'plain', 'plain'],
    [{ sslmode: 'prefer' }, '127.0.0.1', 'tls', 'plain'],
    [{ sslmode: 'require' }, '127.0.0.1', 'tls', 'refused'],
    [{ sslmode: 'require', ...NAMED }, '127.0.0.1', 'tls', 'refused'],
    [{ sslmode: 'verify-ca', ...NAMED }, '127.0.0.1', 'tls', 'refused'],
    [{ sslmode: 'verify-full', ...NAMED }, 'localhost', 'tls', 'refused'],
    [{ sslmode: 'verify-full', ...NAMED }, '127.0.0.1', 'refused', 'refused'],
    [{ sslrootcert: 'system' }, 'localhost', 'refused', 'refused'],
  ];
  for (const [on, index] of [
    [true, 2],
    [false, 3],
  ] as const) {
    describe(`is ${on ? 'on' : 'off'} at the server:`, () => {
      before(async () => {
        if (on) await (await ownCluster()).setSsl(true);
      });
      after(async () => {
        if (on) await (await ownCluster()).setSsl(false);
      });
      for (const row of rows) {
        const [extra, host] = row;
        const options = Object.keys(extra).map(
          (key) => `${key}=${key === 'sslmode' || extra[key] === 'system' ? String(extra[key]) : 'its own'}`,
        );
        it(`a connection with ${options.join(' ') || 'no option'} to ${host} is ${row[index]}`, async () => {
          expect(await outcome(host, extra)).to.equal(row[index]);
        });
      }

      if (!on) return;
      it('a connection with require and the certificate of another authority is refused, as with verify-ca', async () => {
        const sslrootcert = fileURLToPath(new URL('../../fixtures/tls/other.crt', import.meta.url));
        expect(await outcome('localhost', { sslmode: 'require', sslrootcert })).to.equal('refused');
      });

      it('a connection takes sslmode and sslrootcert from PG* variables', async () => {
        const variables = { ...HOME, PGSSLMODE: 'verify-full', PGSSLROOTCERT: CERTIFICATE };
        expect(await outcome('localhost', {}, variables)).to.equal('tls');
        expect(await outcome('127.0.0.1', {}, variables)).to.equal('refused');
      });

      it('a connection to PGHOSTADDR verifies the name of PGHOST', async () => {
        const variables = { ...HOME, PGHOST: 'localhost', PGHOSTADDR: '127.0.0.1', PGSSLMODE: 'verify-full' };
        expect(await outcome('', {}, { ...variables, PGSSLROOTCERT: CERTIFICATE })).to.equal('tls');
      });

      const certificates = fileURLToPath(new URL('../../fixtures/tls/', import.meta.url));
      const verified = { sslmode: 'verify-full', ...NAMED };
      for (const [extra, host, expected] of listTlsCases(certificates)) {
        const text = Object.entries(extra).map(
          ([name, value]) => `${name}=${String(value).split('/').at(-1)}`,
        );
        it(`a connection to ${host} with ${text.join(' ')} is ${expected}`, async () => {
          expect(await outcome(host, extra)).to.equal(expected);
        });
      }

      it('a connection reads the revocation lists of a directory, and refuses one without a list', async () => {
        const folder = await mkdtemp(join(tmpdir(), 'etl-crl-'));
        try {
          const extra = { ...verified, sslcrldir: folder };
          const error: unknown = await outcome('localhost', extra).catch((reason: unknown) => reason);
          expect(error).to.be.instanceOf(EtlError).with.property('code', 'ETL-2208');
          const text = await readFile(join(certificates, 'empty.crl'), 'utf8');
          const revoked = await readFile(join(certificates, 'revoked.crl'), 'utf8');
          // `openssl crl -hash` prints the hash of the issuer.
          await writeFile(join(folder, 'ce275665.r0'), text);
          expect(await outcome('localhost', extra)).to.equal('tls');
          await writeFile(join(folder, 'ce275665.r0'), revoked);
          expect(await outcome('localhost', extra)).to.equal('refused');
        } finally {
          await rm(folder, { recursive: true });
        }
      });

      it('an untrusted certificate is reported with its server and the reason', async () => {
        const error = await failure({ host: '127.0.0.1', extra: { sslmode: 'verify-full', ...NAMED } });
        expect(error.message).to.match(/does not trust the certificate .*ERR_TLS_CERT_ALTNAME_INVALID/);
      });

      it('a running statement ends on close', async () => {
        const opened = await open({ extra: { sslmode: 'require' } });
        await started(opened.database.knex.raw('select pg_sleep(601)'), 'select pg_sleep(601)');
        await opened.database.close();
        expect(await db.leftSessions()).to.deep.equal([]);
      });

      it('a connection with allow uses TLS if the server refuses sessions without TLS', async () => {
        const [hba] = await db.query<{ hba_file: string }>('show hba_file');
        const file = hba?.hba_file ?? '';
        const text = await readFile(file, 'utf8');
        try {
          await writeFile(file, `hostnossl ${db.name} all all reject\n${text}`);
          await db.query('select pg_reload_conf()');
          await until(async () => (await outcome('127.0.0.1', { sslmode: 'disable' })) === 'refused');
          expect(await outcome('127.0.0.1', { sslmode: 'allow' })).to.equal('tls');
        } finally {
          await writeFile(file, text);
          await db.query('select pg_reload_conf()');
        }
      });
    });
  }
});
