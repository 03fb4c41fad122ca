import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** What happens to a COMMIT that passes. */
export type CommitFault =
  /** The server gets it, and the client never hears of it. */
  | 'answer lost'
  /** The server never gets it. */
  | 'never sent'
  /** The client is cut off, and the server gets it a while later. */
  | 'delivered late'
  /** The client is cut off, and the server never hears of that: its session stays open in the transaction. */
  | 'session left open';

/** A TCP proxy before a server, which cuts the connection around a COMMIT. */
export interface CommitProxy extends AsyncDisposable {
  readonly port: number;
  /** Connections that were cut. */
  readonly cuts: number;
}

export interface CommitProxyOptions {
  /** Says of the n-th COMMIT, from 1, whether it is hit. Default: the first. */
  readonly isHit?: (commit: number) => boolean;
  /** How much later one that is `delivered late` comes, in milliseconds. */
  readonly lateByMs?: () => number;
  readonly onCut?: () => void;
}

const COMMIT = Buffer.from('commit\0');

/** Starts a proxy to `port` on the loopback interface that meets COMMITs with `fault`. */
export async function commitProxy(
  port: number,
  fault: CommitFault,
  { isHit = (commit) => commit === 1, lateByMs = () => 200, onCut }: CommitProxyOptions = {},
): Promise<CommitProxy> {
  let commits = 0;
  let cuts = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    let isCut = false;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined); // Cut connections are what this is for.
      socket.on('close', () => sockets.delete(socket));
    }
    client.on('data', (chunk: Buffer) => {
      if (isCut) return;
      if (!chunk.includes(COMMIT) || !isHit(++commits)) upstream.write(chunk);
      else {
        cuts++;
        isCut = true;
        cut(fault, { client, upstream, chunk, lateByMs: lateByMs() });
        onCut?.();
      }
    });
    upstream.on('data', (chunk) => {
      if (!isCut) client.write(chunk);
    });
    client.on('close', () => {
      if (!isCut) upstream.destroy();
    });
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

interface Cut {
  readonly client: Socket;
  readonly upstream: Socket;
  /** What holds the COMMIT. */
  readonly chunk: Buffer;
  readonly lateByMs: number;
}

function cut(fault: CommitFault, { client, upstream, chunk, lateByMs }: Cut): void {
  const destroyBoth = (): void => {
    client.destroy();
    upstream.destroy();
  };
  switch (fault) {
    case 'never sent':
      destroyBoth();
      break;
    case 'answer lost':
      // The answer has come, so the COMMIT took place: now the client loses it.
      upstream.once('data', destroyBoth);
      upstream.write(chunk);
      break;
    case 'delivered late':
      client.destroy();
      setTimeout(() => {
        upstream.once('data', destroyBoth);
        upstream.write(chunk);
      }, lateByMs);
      break;
    case 'session left open':
      client.destroy();
      break;
    default:
      fault satisfies never;
  }
}
