import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A TCP proxy that can take the lock from a run without the run noticing the loss. */
export interface Partition extends AsyncDisposable {
  readonly port: number;
  /** Closes the server's side of the connection that took the lock. The client's side stays open and silent. */
  partition(): void;
}

const LOCK = Buffer.from('pg_try_advisory_xact_lock');

/** Starts the proxy to `port` on the loopback interface. */
export async function openPartition(port: number): Promise<Partition> {
  const sockets = new Set<Socket>();
  const locks = new Set<() => void>();
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    let isCut = false;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined); // The other end closes when its run ends.
      socket.on('close', () => sockets.delete(socket));
    }
    client.on('data', (chunk: Buffer) => {
      if (isCut) return;
      if (chunk.includes(LOCK)) {
        locks.add(() => {
          isCut = true;
          upstream.destroy();
        });
      }
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => client.write(chunk));
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => {
      if (!isCut) client.destroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    partition() {
      for (const cut of locks) cut();
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
