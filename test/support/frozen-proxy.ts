import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A TCP proxy before a server on the loopback interface: a network that a test can take away. */
export interface FrozenProxy extends AsyncDisposable {
  /** The same database, through the proxy. */
  url(direct: string): string;
  /**
   * From now on nothing passes either way, and neither side hears that the other is gone. Connections stay open, new
   * ones get no answer; `onConnection` sees each of them.
   */
  freeze(onConnection?: () => void): void;
  /** From now on new connections are refused; `onConnection` sees each of them. Those that are open stay. */
  refuse(onConnection?: () => void): void;
  /** From now on everything passes again. A connection that was frozen has lost what came meanwhile: cut it. */
  restore(): void;
  /** Ends all connections. */
  cut(): void;
  /** The server gets the next COMMIT; `meet` gets its answer, and the client nothing but what `meet` writes. */
  meetCommit(meet: (client: Socket, answer: Buffer) => void): void;
}

const COMMIT = Buffer.from('commit\0');

/** What PgBouncer says, and closes the connection, when it has lost the server that it sent a query to. */
export const SERVER_CRASHED = errorResponse('SFATAL\0VFATAL\0C08P01\0Mserver conn crashed?\0\0');

type Mode = 'open' | 'frozen' | 'refusing';
type Meet = (client: Socket, answer: Buffer) => void;

/** Starts a proxy to `port`. */
export async function frozenProxy(port: number): Promise<FrozenProxy> {
  let mode: Mode = 'open';
  let seeConnection = (): void => undefined;
  let meetNext: Meet | undefined;
  const sockets = new Set<Socket>();
  const become = (next: Mode, onConnection = (): void => undefined): void => {
    mode = next;
    seeConnection = onConnection;
  };
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const server = createServer((client) => {
    seeConnection();
    if (mode === 'refusing') {
      client.destroy();
      return;
    }
    const upstream = connect(port, '127.0.0.1');
    let meet: Meet | undefined;
    watch(sockets, client, upstream);
    client.on('data', (chunk: Buffer) => {
      if (mode === 'frozen') return;
      if (meetNext !== undefined && chunk.includes(COMMIT)) [meet, meetNext] = [meetNext, undefined];
      upstream.write(chunk);
    });
    upstream.on('data', (chunk: Buffer) => {
      if (mode === 'frozen') return;
      if (meet === undefined) client.write(chunk);
      else meet(client, chunk);
    });
    client.on('close', () => mode !== 'frozen' && upstream.destroy());
    upstream.on('close', () => mode !== 'frozen' && client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: (direct) => direct.replace(`:${port}/`, `:${(server.address() as AddressInfo).port}/`),
    freeze: (onConnection) => become('frozen', onConnection),
    refuse: (onConnection) => become('refusing', onConnection),
    restore: () => become('open'),
    meetCommit: (meet) => (meetNext = meet),
    cut,
    async [Symbol.asyncDispose]() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}

function watch(sockets: Set<Socket>, ...pair: readonly Socket[]): void {
  for (const socket of pair) {
    sockets.add(socket);
    socket.on('error', () => undefined); // Connections that break are what this is for.
    socket.on('close', () => sockets.delete(socket));
  }
}

/** https://www.postgresql.org/docs/current/protocol-message-formats.html */
function errorResponse(fields: string): Buffer {
  const head = Buffer.from('E\0\0\0\0');
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, Buffer.from(fields)]);
}
