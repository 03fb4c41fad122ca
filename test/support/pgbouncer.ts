import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findServerUser } from './binaries.js';
import { cluster } from './cluster.js';
import type { Pooler } from './transaction-pooler.js';

/** Starts PgBouncer with 6 server connections for up to 200 clients. */
export async function startPgBouncer(): Promise<Pooler> {
  const { port: serverPort, user, password } = await cluster();
  const account = await findServerUser();
  const folder = await mkdtemp(join(tmpdir(), 'etl-pgb-'));
  const port = await findFreePort();
  const users = join(folder, 'users.txt');
  const settings = join(folder, 'pgbouncer.ini');
  await writeFile(users, `"${user}" "${password}"\n`);
  await writeFile(
    settings,
    `[databases]
* = host=127.0.0.1 port=${serverPort}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = plain
auth_file = ${users}
pool_mode = transaction
default_pool_size = 6
max_client_conn = 200
`,
  );
  if (account) for (const path of [folder, users, settings]) await chown(path, account.uid, account.gid);
  const child = spawn('pgbouncer', [settings], { ...account, cwd: '/', stdio: 'ignore' });
  await once(child, 'spawn');
  await waitForListener(port);
  return {
    url: (direct) => direct.replace(`:${serverPort}/`, `:${port}/`),
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
      await rm(folder, { recursive: true });
    },
  };
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function waitForListener(port: number): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const socket = connect(port, '127.0.0.1');
    const isOpen = await Promise.race([
      once(socket, 'connect').then(
        () => true,
        () => false,
      ),
      new Promise<boolean>((resolve) => setTimeout(resolve, 1000, false)),
    ]);
    socket.destroy();
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('PgBouncer did not start within 5 s.');
}
