import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** What happens to the first COMMIT that passes. */
export type CommitFault =
  /** The server gets it, and the client never hears of it. */
  | 'answer lost'
  /** The server never gets it. */
  | 'never sent';

/** A TCP proxy before a server, which cuts the connection around one COMMIT. */
export interface CommitProxy extends AsyncDisposable {
  readonly port: number;
  /** Connections that were cut. */
  readonly cuts: number;
}

const COMMIT = Buffer.from('commit\0');

/** Starts a proxy to `port` on the loopback interface that meets the next COMMIT with `fault`. */
export async function commitProxy(port: number, fault: CommitFault): Promise<CommitProxy> {
  let cuts = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined); // Cut connections are what this is for.
      socket.on('close', () => sockets.delete(socket));
    }
    client.on('data', (chunk: Buffer) => {
      const isHit = cuts === 0 && chunk.includes(COMMIT);
      if (isHit) cuts++;
      if (!isHit) upstream.write(chunk);
      else if (fault === 'never sent') destroyBoth(client, upstream);
      else {
        upstream.removeAllListeners('data');
        // The answer has come, so the COMMIT took place: now the client loses it.
        upstream.once('data', () => destroyBoth(client, upstream));
        upstream.write(chunk);
      }
    });
    upstream.on('data', (chunk) => client.write(chunk));
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    get cuts() {
      return cuts;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function destroyBoth(...sockets: readonly Socket[]): void {
  for (const socket of sockets) socket.destroy();
}
