import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A fault that hits a COMMIT on its way to the server. */
export type CommitFault =
  /** The server executes the COMMIT, and the client gets no answer. */
  | 'answer lost'
  /** The server never gets the COMMIT. */
  | 'never sent'
  /** The client loses its connection, and the server gets the COMMIT later. */
  | 'delivered late'
  /** The client loses its connection, and the server does not notice: its session stays open in the transaction. */
  | 'session left open';

/** A TCP proxy before a server that cuts connections at a COMMIT. */
export interface CommitProxy extends AsyncDisposable {
  readonly port: number;
  /** The number of connections that were cut. */
  readonly cuts: number;
}

/** Options of `commitProxy`. */
export interface CommitProxyOptions {
  /** Returns true if the fault hits the n-th COMMIT, counted from 1. Default: only the first. */
  readonly isHit?: (commit: number) => boolean;
  /** The delay of a COMMIT with the fault `delivered late`, in milliseconds. */
  readonly lateByMs?: () => number;
  readonly onCut?: () => void;
}

const COMMIT = Buffer.from('commit\0');

/** Starts a proxy to `port` on the loopback interface that hits COMMITs with `fault`. */
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
      socket.on('error', () => undefined); // This proxy cuts connections on purpose.
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
  /** The bytes with the COMMIT. */
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
      // The answer shows that the server has executed the COMMIT. The client does not get the answer.
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
