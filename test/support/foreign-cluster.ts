import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Client } from 'pg';
import type { Cluster } from './cluster.js';

/** PostgreSQL 14, the oldest server that the program supports. */
const OLDEST = 140_000;

/**
 * Opens the server of ETL_TEST_DATABASE_URL. The URL may have every form that `pg` understands: with a Unix socket, with a
 * user name only, without a password, with `PG*` variables for the missing parts. The tests put proxies in front of the
 * server and pass its URL to other programs, so the tests get one plain form: `postgres://user:password@127.0.0.1:port/name`.
 * This process listens on that port and forwards connections to the server.
 *
 * Rejects if the user is no superuser, or if the server is older than PostgreSQL 14.
 */
export async function openForeignCluster(url: string): Promise<Cluster> {
  const client = await connectTo(url);
  const { rows } = await client.query<Facts>(FACTS);
  await client.end();
  const facts = rows[0];
  if (!facts?.superuser) throw new Error(`${FOREIGN} ${client.user} is no superuser`);
  if (facts.version < OLDEST) throw new Error(`${FOREIGN} the server is older than PostgreSQL 14`);
  const host = '127.0.0.1';
  const port = await forward(client);
  const user = client.user ?? '';
  // A server that asks for no password ignores this one. Tests search the program's output for the password.
  const password = client.password || 'nobody-asks-for-it';
  const login = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`;
  return {
    host,
    port,
    user,
    password,
    url: (database) => `postgres://${login}@${host}:${port}/${database}`,
    adminDatabase: facts.database,
    buildCreateStatements: (database) => buildCreateStatements(database, facts.version),
  };
}

async function connectTo(url: string): Promise<Client> {
  // psql understands `postgres://user@`, but `pg` does not.
  const client = new Client({ connectionString: url.replace(/@(?=$|\?)/, '@/') });
  await client.connect();
  return client;
}

const FOREIGN = 'the tests cannot use ETL_TEST_DATABASE_URL:';

interface Facts {
  readonly version: number;
  readonly superuser: boolean;
  readonly database: string;
}

const FACTS = `select current_setting('server_version_num')::int as version, rolsuper as superuser,
  current_database() as database from pg_roles where rolname = current_user`;

function buildCreateStatements(database: string, version: number): readonly string[] {
  const provider = version >= 150_000 ? 'locale_provider libc' : '';
  return [
    `create database ${database} template template0 encoding 'UTF8' ${provider} lc_collate 'C' lc_ctype 'C'`,
    `alter database ${database} set timezone = 'UTC'`,
  ];
}

/**
 * Listens on a free port of 127.0.0.1, and forwards each connection to the server that `client` was connected to. Returns
 * the port.
 */
async function forward(client: Client): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined); // `joinSockets` ends the other side.
    socket.pause();
    openUpstream(client).then(
      (upstream) => joinSockets(socket, upstream),
      () => socket.destroy(),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.unref();
  return (server.address() as AddressInfo).port;
}

/**
 * Joins two sockets. The end of a socket ends the other socket after all bytes are sent; an error ends the other socket at
 * once. A client that ends its session sees the end of its connection after the server has ended the session and released
 * its locks.
 */
function joinSockets(socket: Socket, upstream: Socket): void {
  socket.pipe(upstream).pipe(socket);
  socket.on('close', (hasFailed) => hasFailed && upstream.destroy());
  upstream.on('close', (hasFailed) => hasFailed && socket.destroy());
  if (socket.destroyed) upstream.destroy();
}

async function openUpstream({ host, port, ssl }: Client): Promise<Socket> {
  const place = host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port };
  const socket = connect({ ...place, allowHalfOpen: true });
  socket.on('error', () => undefined); // `once` below rejects.
  await once(socket, 'connect');
  socket.setNoDelay(true);
  if (!ssl) return socket;
  socket.write(SSL_REQUEST);
  await once(socket, 'data');
  const secure = connectTls({ ...(typeof ssl === 'object' ? ssl : {}), socket, host });
  await once(secure, 'secureConnect');
  return secure;
}

/** PostgreSQL's message that asks for TLS: its length, then the code 80877103. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);

/** The key of the advisory lock. Nothing else uses this key. */
const TURN_LOCK = 5_460_914_127_318_422n;

/**
 * Waits until no other process runs a test file on the server of ETL_TEST_DATABASE_URL. A snapshot contains the open
 * transactions of all databases of a server, so the result of some watermark tests depends on other test files.
 */
export async function takeTurn(url: string): Promise<AsyncDisposable> {
  const client = await connectTo(url);
  await client.query(`select pg_advisory_lock(${TURN_LOCK})`);
  return { [Symbol.asyncDispose]: () => client.end() };
}
