import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, chown, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { findBinaries, findServerUser, type ServerUser, OTHER_SERVER_HINT } from './binaries.js';
import { openForeignCluster } from './foreign-cluster.js';

const run = promisify(execFile);
const FIXTURES = fileURLToPath(new URL('../fixtures/tls/', import.meta.url));
const GUARD = fileURLToPath(new URL('./guard.js', import.meta.url));

/** A PostgreSQL server that tests use. */
export interface Cluster {
  readonly host: string;
  readonly port: number;
  /** A superuser. */
  readonly user: string;
  /** Never empty; the server of ETL_TEST_DATABASE_URL may not ask for it. */
  readonly password: string;
  /** Returns `postgres://user:password@host:port/database` for a database of this server. */
  url(database: string): string;
  /** A database that always exists. The tests connect to it to create and drop other databases. */
  readonly adminDatabase: string;
  /** Returns the statements that create an empty database: UTF-8, locale C, time zone UTC. */
  buildCreateStatements(database: string): readonly string[];
}

/** A server that the tests start. It ends with this process or when it is disposed of. The end removes its files. */
export interface OwnCluster extends Cluster, AsyncDisposable {
  /** The folder of the server's Unix socket. TCP and the socket both ask for the password (SCRAM). */
  readonly socketDirectory: string;
  /** Restarts the server, which ends every session. Resolves when the server answers again. */
  restart(mode: 'fast' | 'immediate'): Promise<void>;
  /** Switches TLS on or off for new connections, with the certificate in test/fixtures/tls. */
  setSsl(on: boolean): Promise<void>;
}

let foreign: Promise<Cluster> | undefined;
let started: Promise<OwnCluster> | undefined;

/** Returns the server that most tests use: the server of ETL_TEST_DATABASE_URL, otherwise `ownCluster`. */
export async function cluster(): Promise<Cluster> {
  const url = process.env['ETL_TEST_DATABASE_URL'];
  return url ? (foreign ??= openForeignCluster(url)) : ownCluster();
}

/**
 * Returns a server of this process, also with ETL_TEST_DATABASE_URL: for tests that restart the server, change its
 * settings or use its socket. The first call starts the server. The server ends with this process or by `stopCluster`.
 */
export async function ownCluster(): Promise<OwnCluster> {
  return (started ??= openCluster());
}

/** Ends the server and removes its files. Does nothing if no server was started. */
export async function stopCluster(): Promise<void> {
  // If the server could not start, each call of `cluster` has thrown the error already.
  const own = await started?.catch(() => undefined);
  await own?.[Symbol.asyncDispose]();
}

async function endGuard(guard: ChildProcess): Promise<void> {
  if (guard.exitCode !== null) return;
  guard.ref();
  const exit = once(guard, 'exit', { signal: AbortSignal.timeout(30_000) });
  guard.stdin?.end();
  await exit;
}

/** Starts a server for one test that crashes the server or changes its settings. */
export async function openCluster(): Promise<OwnCluster> {
  if (process.platform === 'win32')
    throw new Error(`The tests start no server on Windows. ${OTHER_SERVER_HINT}`);
  const user = await findServerUser();
  const folder = await createServerFolder(user);
  let guard: ChildProcess | undefined;
  try {
    const bin = join(await findBinaries(user, join(folder, 'native')), 'bin');
    guard = await startGuard(join(bin, 'pg_ctl'), folder, user);
    const password = randomBytes(12).toString('hex');
    const server: Server = { bin, folder, user, password, guard };
    await initialise(server);
    return createOwnCluster(server, await startOnFreePort(server));
  } catch (error) {
    if (guard) await endGuard(guard);
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

interface Server {
  readonly bin: string;
  readonly folder: string;
  readonly user: ServerUser | undefined;
  readonly password: string;
  readonly guard: ChildProcess;
}

/**
 * Creates a folder that the server's user owns and can enter. The path is short, because the path of a socket has at
 * most 107 bytes (103 on macOS).
 */
async function createServerFolder(user: ServerUser | undefined): Promise<string> {
  for (const parent of [tmpdir(), '/tmp']) {
    if (Buffer.byteLength(parent) > 60) continue;
    const folder = await mkdtemp(join(parent, 'etl-test-'));
    if (user) await chown(folder, user.uid, user.gid);
    const entered = run('/bin/sh', ['-c', 'cd "$0" && mkdir s', folder], { ...user, cwd: '/' });
    if (await entered.catch(() => undefined)) return folder;
    await rm(folder, { recursive: true });
  }
  throw new Error(`PostgreSQL's user can use neither ${tmpdir()} nor /tmp. ${OTHER_SERVER_HINT}`);
}

async function startGuard(
  pgCtl: string,
  folder: string,
  user: ServerUser | undefined,
): Promise<ChildProcess> {
  const child = spawn(process.execPath, [GUARD, pgCtl, folder, JSON.stringify(user ?? {})], {
    cwd: '/',
    detached: true, // Ctrl-C must not reach the guard before the tests have ended.
    env: {},
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  await once(child, 'spawn');
  child.unref();
  (child.stdin as Socket).unref();
  return child;
}

async function initialise(server: Server): Promise<void> {
  const { folder, user } = server;
  const passwordFile = join(folder, 'password');
  await writeFile(passwordFile, server.password, { mode: 0o600 });
  if (user) await chown(passwordFile, user.uid, user.gid);
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: join(folder, 's'),
    max_connections: '100',
    fsync: 'off',
    full_page_writes: 'off',
    wal_level: 'minimal',
    max_wal_senders: '0',
    max_prepared_transactions: '4',
    log_min_messages: 'fatal',
    TimeZone: 'UTC',
  };
  await execute(server, 'initdb', [
    `--pgdata=${join(folder, 'data')}`,
    '--username=etl_test',
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--no-sync',
    '--no-instructions',
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ]);
  await rm(passwordFile);
}

async function startOnFreePort(server: Server): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    const port = await findFreePort();
    try {
      await runPgCtl(server, ['start', '-o', `-p ${port}`]);
      return port;
    } catch (error) {
      if (attempt === 3) throw error; // Another process may take the port before the server does.
    }
  }
}

async function findFreePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  listener.close();
  await once(listener, 'close');
  if (address === null || typeof address === 'string') throw new Error('A listener on TCP has no port.');
  return address.port;
}

function runPgCtl(server: Server, args: readonly string[]): Promise<void> {
  const { folder } = server;
  const common = ['-D', join(folder, 'data'), '-l', join(folder, 'log'), '-w', '-t', '30', '-s'];
  return execute(server, 'pg_ctl', [...args, ...common]);
}

/** Runs one of PostgreSQL's programs. An error contains the program's output and the end of the server's log. */
async function execute(server: Server, program: string, args: readonly string[]): Promise<void> {
  const { bin, folder, user } = server;
  const path = process.env['PATH'] ?? '/usr/bin:/bin';
  const options = { ...user, cwd: folder, env: { PATH: path, LC_ALL: 'C', TZ: 'UTC' }, timeout: 60_000 };
  try {
    await run(join(bin, program), args, options);
  } catch (cause) {
    const log = await readFile(join(folder, 'log'), 'utf8').catch(() => '');
    const said = (cause as { stderr?: string }).stderr ?? '';
    const lines = `${said}\n${log}`.trim().split('\n').slice(-20).join('\n');
    throw new Error(`${program} of the test server failed. ${OTHER_SERVER_HINT}\n${lines}`, { cause });
  }
}

function createOwnCluster(server: Server, port: number): OwnCluster {
  const facts = { host: '127.0.0.1', port, user: 'etl_test', password: server.password };
  const url = (database: string): string =>
    `postgres://${facts.user}:${facts.password}@${facts.host}:${port}/${database}`;
  return {
    ...facts,
    socketDirectory: join(server.folder, 's'),
    url,
    adminDatabase: 'postgres',
    buildCreateStatements: (database) => [`create database ${database} template template0`],
    restart: (mode) => runPgCtl(server, ['restart', '-m', mode]),
    [Symbol.asyncDispose]: () => endGuard(server.guard),
    setSsl: async (on) => {
      await installCertificate(server);
      const client = new Client(url('postgres'));
      await client.connect();
      await client.query(`alter system set ssl = ${on ? 'on' : 'off'}`);
      await client.query('select pg_reload_conf()');
      await client.end();
      await waitForSslAnswer(port, on ? 'S' : 'N');
    },
  };
}

/** Copies the certificate and its key. PostgreSQL takes a key only if no other user can read the file. */
async function installCertificate({ folder, user }: Server): Promise<void> {
  await mkdir(join(folder, 'data'), { recursive: true });
  for (const name of ['server.crt', 'server.key']) {
    const copy = join(folder, 'data', name);
    await copyFile(join(FIXTURES, name), copy);
    await chmod(copy, 0o600);
    if (user) await chown(copy, user.uid, user.gid);
  }
}

/**
 * Waits until a new connection gets this answer to an SSLRequest, because a reload takes effect some time after its
 * call.
 */
async function waitForSslAnswer(port: number, wanted: 'S' | 'N'): Promise<void> {
  const request = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
  for (const end = Date.now() + 10_000; Date.now() < end; await delay(10)) {
    const socket = connect(port, '127.0.0.1');
    socket.end(request);
    const [answer] = (await once(socket, 'data', { signal: AbortSignal.timeout(5_000) })) as [Buffer];
    socket.destroy();
    if (answer.toString('latin1', 0, 1) === wanted) return;
  }
  throw new Error(`The test server did not turn TLS ${wanted === 'S' ? 'on' : 'off'} within 10 s.`);
}
