import { expect } from 'chai';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { EtlError } from '../../../src/errors.js';
import type { Connection } from '../../../src/hooks/connection.js';
import type { Database } from '../../../src/hooks/hook.js';
import { parseConnection } from '../../../src/hooks/parse-connection.js';
import { listCandidates } from '../../../src/hooks/postgres/choose-server.js';
import { resolveServers } from '../../../src/hooks/postgres/libpq.js';
import { postgresHook } from '../../../src/hooks/postgres/postgres-hook.js';
import { dag } from '../../../src/index.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { ReplicaPair } from '../../support/replica.js';
import { runOn } from '../../support/run.js';

/** A port on which nothing listens. */
const CLOSED = 1;

/** A server that treats each client in one way, and counts the clients. */
class Host implements AsyncDisposable {
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  port = 0;
  count = 0;

  private constructor(treat: (client: Socket) => void) {
    this.#server = createServer((client) => {
      this.count++;
      this.#clients.add(client);
      client.on('error', () => undefined); // The other side ends as well.
      treat(client);
    });
  }

  /** `port` is 0 for a free port. */
  static async listen(treat: (client: Socket) => void, port = 0): Promise<Host> {
    const host = new Host(treat);
    host.#server.listen(port, '127.0.0.1');
    await once(host.#server, 'listening');
    host.port = (host.#server.address() as AddressInfo).port;
    return host;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Passes a client to the server on `port`. */
const passTo =
  (port: number) =>
  (client: Socket): void => {
    const upstream = connect(port, '127.0.0.1');
    client.pipe(upstream).pipe(client);
    upstream.on('error', () => undefined); // The other side ends as well.
    client.on('close', () => upstream.destroy());
  };

/** Answers the first message with an error of the server. The message may ask for TLS, which is not offered. */
const failWith =
  (state: string) =>
  (client: Socket): void => {
    const body = Buffer.from(`SFATAL\0VFATAL\0C${state}\0Mno\0\0`);
    const head = Buffer.from('E\0\0\0\0');
    head.writeInt32BE(body.length + 4, 1);
    client.on('data', (bytes) =>
      bytes.length === 8 ? client.write('N') : client.end(Buffer.concat([head, body])),
    );
  };

describe('a connection with several hosts', () => {
  let db: TestDatabase;
  let real: Host;
  before(async () => {
    db = await createDatabase();
    real = await Host.listen(passTo(Number(new URL(db.url).port)));
  });
  after(async () => {
    await real[Symbol.asyncDispose]();
    await db.drop();
  });
  beforeEach(() => (real.count = 0));

  function connectionTo(ports: readonly number[], extra: Record<string, string> = {}): Connection {
    const { username: login, password } = new URL(db.url);
    const host = ports.map(() => '127.0.0.1').join(',');
    const fields = {
      id: 'shop',
      scheme: 'postgres',
      definedBy: 'ETL_CONN_SHOP',
      host,
      login,
      database: db.name,
    };
    const visible = { ...fields, extra: { sslmode: 'disable', port: ports.join(','), ...extra } };
    return Object.defineProperty(visible, 'password', { value: extra['password'] ?? password });
  }

  async function open(connection: Connection, notices: string[] = []): Promise<Database & AsyncDisposable> {
    const database = await postgresHook.open(connection, {
      poolSize: 3,
      applicationName: 'etl',
      variables: { HOME: '/nowhere' },
      root: '/',
      pid: process.pid,
      notice: (text) => notices.push(text),
    });
    return { ...database, [Symbol.asyncDispose]: () => database.close() };
  }

  /** Returns the error of the first query, or undefined. */
  async function failure(connection: Connection): Promise<EtlError | undefined> {
    await using database = await open(connection);
    const error: unknown = await database.knex.raw('select 1').then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (error !== undefined) expect(error).to.be.instanceOf(EtlError);
    return error as EtlError | undefined;
  }

  // Whether the next host is tried is the behaviour of libpq 18.6 with the same servers.
  const faults: readonly [
    title: string,
    treat: ((client: Socket) => void) | undefined,
    isNextTried: boolean,
  ][] = [
    ['refuses the connection', undefined, true],
    ['does not answer', () => undefined, true],
    ['starts up', failWith('57P03'), true],
    ['has no session left', failWith('53300'), false],
    ['refuses the password', failWith('28P01'), false],
    ['refuses the user', failWith('28000'), false],
    ['does not have the database', failWith('3D000'), false],
    ['closes the connection', (client) => client.on('data', () => client.destroy()), false],
  ];
  for (const [title, treat, isNextTried] of faults) {
    it(`${isNextTried ? 'uses' : 'does not try'} the second host if the first ${title}`, async () => {
      await using fault = treat && (await Host.listen(treat));
      const error = await failure(connectionTo([fault?.port ?? CLOSED, real.port], { connect_timeout: '1' }));
      expect([error === undefined, real.count > 0]).to.deep.equal([isNextTried, isNextTried]);
      if (fault !== undefined) expect(fault.count).to.equal(1);
    });
  }

  it('does not use a second host without TLS if sslmode is require, and the first offers none', async () => {
    const error = await failure(connectionTo([real.port, real.port], { sslmode: 'require' }));
    expect(error?.message).to.match(/requires TLS/);
    expect(real.count).to.equal(1);
  });

  it('names each host that was tried if all fail', async () => {
    await using starting = await Host.listen(failWith('57P03'));
    const error = await failure(connectionTo([CLOSED, starting.port, CLOSED + 1]));
    expect(error).to.include({ code: 'ETL-1001', where: 'ETL_CONN_SHOP' });
    expect(error?.message).to.equal('connection "shop" found no server among its hosts');
    for (const port of [CLOSED, starting.port, CLOSED + 1])
      expect(error?.why).to.include(`127.0.0.1:${port} `);
  });

  it('keeps all sessions on the first server that was chosen, when an earlier host comes back', async () => {
    await using late = await Host.listen(passTo(Number(new URL(db.url).port)));
    const { port } = late;
    await late[Symbol.asyncDispose]();
    await using database = await open(connectionTo([port, real.port]));
    await database.knex.raw('select 1');
    await using back = await Host.listen(passTo(Number(new URL(db.url).port)), port);
    const control = await database.openControl?.();
    await Promise.all([1, 2, 3].map(() => database.knex.raw('select pg_backend_pid()')));
    await control?.end();
    expect(back.count).to.equal(0);
    expect(real.count).to.be.greaterThan(3);
  });

  it('says that a run may reach a standby if target_session_attrs is any', async () => {
    const said: string[] = [];
    for (const extra of [{}, { target_session_attrs: 'read-write' }]) {
      await using database = await open(connectionTo([CLOSED, real.port], extra), said);
      await database.knex.raw('select 1');
    }
    expect(said).to.have.length(1);
    expect(said[0]).to.match(/first of several hosts .* set target_session_attrs=read-write/);
  });

  it('tries its hosts in random order with load_balance_hosts=random', async () => {
    const variables = { PGLOADBALANCEHOSTS: 'random' };
    const settings = { applicationName: 'etl', variables, notice: () => undefined };
    const list = resolveServers(connectionTo([1, 2, 3]), settings);
    const orders = new Set<string>();
    for (let index = 0; index < 200; index++) {
      const servers = await listCandidates(list, () => ((index * 7919) % 200) / 200);
      orders.add(servers.map(({ connection: { port } }) => port).join(' '));
    }
    for (const first of [1, 2, 3])
      expect([...orders].some((order) => order.startsWith(String(first)))).to.equal(true);
    for (const order of orders) expect(order.split(' ').toSorted().join(' ')).to.equal('1 2 3');
  });

  describe('of a primary and its standby', () => {
    let pair: ReplicaPair;
    before(async function () {
      this.timeout(120_000);
      pair = await ReplicaPair.start();
    });
    after(() => pair[Symbol.asyncDispose]());

    const PRIMARY = 5432;
    const STANDBY = 5433;
    const define = (ports: string, attributes: string): string => {
      const hosts = ports
        .split(',')
        .map(() => pair.host)
        .join(',');
      return `host=${hosts} port=${ports} user=etl dbname=postgres target_session_attrs=${attributes}`;
    };

    const rows: readonly [ports: string, attributes: string, expected: number | RegExp][] = [
      ['5433,5432', 'any', STANDBY],
      ['5433,5432', 'read-write', PRIMARY],
      ['5433,5432', 'primary', PRIMARY],
      ['5432,5433', 'read-only', STANDBY],
      ['5432,5433', 'standby', STANDBY],
      ['5432,5433', 'prefer-standby', STANDBY],
      ['5432,5434', 'prefer-standby', PRIMARY],
      ['5432', 'prefer-standby', PRIMARY],
      ['5432', 'read-write', PRIMARY],
      ['5433', 'read-write', /5433: its sessions are read-only/],
      ['5433', 'primary', /5433: it is a standby/],
      ['5432', 'standby', /5432: it is not a standby/],
      ['5432', 'read-only', /5432: its sessions are not read-only/],
      ['5434,5433', 'primary', /5434 .*\n.*5433: it is a standby/],
    ];
    for (const [ports, attributes, expected] of rows) {
      it(`and target_session_attrs=${attributes} on the ports ${ports} ${typeof expected === 'number' ? `uses ${expected}` : 'fails'}`, async () => {
        const connection = parseConnection('shop', define(ports, attributes), 'test');
        if (typeof expected !== 'number') {
          const error = await failure(connection);
          expect(`${error?.message} ${error?.why}`).to.match(expected);
          return;
        }
        await using database = await open(connection);
        const { rows: found } = await database.knex.raw<{ rows: { port: string }[] }>(
          `select current_setting('port') as port`,
        );
        expect(found).to.deep.equal([{ port: String(expected) }]);
      });
    }

    it('and default_transaction_read_only=on is read-only, but a primary', async () => {
      const options = `options='-c default_transaction_read_only=on'`;
      const readWrite = parseConnection('shop', `${define('5432', 'read-write')} ${options}`, 'test');
      expect((await failure(readWrite))?.message).to.match(/its sessions are read-only/);
      expect(
        await failure(parseConnection('shop', `${define('5432', 'primary')} ${options}`, 'test')),
      ).to.equal(undefined);
    });

    it('runs a Dag on the primary with read-write, and fails the run on a standby with any', async () => {
      const graph = dag('d', { defaults: { conn: 'shop' } }, (d) => {
        d.sql('one', { sql: 'create table if not exists written (a int)' });
      });
      const { state } = await runOn({ shop: define('5433,5432', 'read-write') }, graph);
      expect(state).to.equal('success');
      const primary = await pair.connect('primary');
      const { rows: found } = await primary.query(`select to_regclass('written') is not null as ok`);
      expect(found).to.deep.equal([{ ok: true }]);
      const error: unknown = await runOn({ shop: define('5433,5432', 'any') }, graph).then(
        (result) => result.state,
        (reason: unknown) => reason,
      );
      expect(error).not.to.equal('success');
    });
  });
});
