import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A TCP proxy before a server on the loopback interface. A test can use the proxy to break the network. */
export interface FrozenProxy extends AsyncDisposable {
  /** Returns the URL of the same database through the proxy. */
  url(direct: string): string;
  /**
   * Stops all bytes in both directions. Neither side hears that the other side is gone: open connections stay open, and
   * new connections get no answer. Calls `onConnection` for each new connection.
   */
  freeze(onConnection?: () => void): void;
  /** Refuses new connections, and calls `onConnection` for each of them. Open connections stay open. */
  refuse(onConnection?: () => void): void;
  /** Passes all bytes again. A connection that was frozen has lost the bytes in between, so the test must cut it. */
  restore(): void;
  /** Closes all connections. */
  cut(): void;
  /**
   * Passes the next COMMIT to the server, and the server's answer to `meet` instead of to the client. The client gets
   * only the bytes that `meet` writes.
   */
  meetCommit(meet: (client: Socket, answer: Buffer) => void): void;
  /**
   * Stalls each connection, `times` of them at most, from the moment when it sends `text`: no more bytes pass, and both
   * sides stay open. With `lost` `'statement'`, the server never gets the bytes with the text. With `'answer'`, the server
   * gets them. Calls `onStall` then. Other connections work.
   */
  stallOn(stall: StallOptions): void;
}

/** The options of `FrozenProxy.stallOn`. */
export interface StallOptions {
  readonly text: string;
  readonly lost: 'statement' | 'answer';
  readonly times?: number;
  readonly onStall?: () => void;
}

const COMMIT = Buffer.from('commit\0');

/**
 * The answer of PgBouncer to a query if PgBouncer lost its server connection. PgBouncer then closes the client's
 * connection.
 */
export const SERVER_CRASHED = buildErrorResponse('SFATAL\0VFATAL\0C08P01\0Mserver conn crashed?\0\0');

type Mode = 'open' | 'frozen' | 'refusing';
type Meet = (client: Socket, answer: Buffer) => void;

/** Starts a proxy to `port` on the loopback interface. */
export async function frozenProxy(port: number): Promise<FrozenProxy> {
  let mode: Mode = 'open';
  let seeConnection = (): void => undefined;
  let meetNext: Meet | undefined;
  let stall: StallOptions | undefined;
  let stalls = 0;
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
    let isStalled = false;
    watch(sockets, client, upstream);
    client.on('data', (chunk: Buffer) => {
      if (mode === 'frozen' || isStalled) return;
      if (stall !== undefined && stalls < (stall.times ?? Infinity) && chunk.includes(stall.text)) {
        stalls++;
        isStalled = true;
        if (stall.lost === 'answer') upstream.write(chunk);
        stall.onStall?.();
        return;
      }
      if (meetNext !== undefined && chunk.includes(COMMIT)) [meet, meetNext] = [meetNext, undefined];
      upstream.write(chunk);
    });
    upstream.on('data', (chunk: Buffer) => {
      if (mode === 'frozen' || isStalled) return;
      if (meet === undefined) client.write(chunk);
      else meet(client, chunk);
    });
    client.on('close', () => mode !== 'frozen' && !isStalled && upstream.destroy());
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
    stallOn: (next) => ([stall, stalls] = [next, 0]),
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
    socket.on('error', () => undefined); // This proxy breaks connections on purpose.
    socket.on('close', () => sockets.delete(socket));
  }
}

/** Builds an ErrorResponse message: https://www.postgresql.org/docs/current/protocol-message-formats.html */
function buildErrorResponse(fields: string): Buffer {
  const head = Buffer.from('E\0\0\0\0');
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, Buffer.from(fields)]);
}
