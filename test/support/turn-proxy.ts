import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A TCP proxy before a server on the loopback interface that counts round trips. */
export interface TurnProxy extends AsyncDisposable {
  /** Returns the URL of the same database through the proxy. */
  url(direct: string): string;
  /** The number of round trips of each committed task transaction, from the claim to the COMMIT. */
  readonly turns: readonly number[];
}

const CLAIM = Buffer.from('insert into etl.task (');
const COMMIT = Buffer.from('commit\0');

/** Starts a proxy to `port` on the loopback interface. */
export async function turnProxy(port: number): Promise<TurnProxy> {
  const turns: number[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    const count = createCounter(turns);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined); // The close ends the other side, and the test sees the lost connection.
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', (chunk: Buffer) => {
      count.sent(chunk);
      upstream.write(chunk);
    });
    upstream.on('data', (chunk: Buffer) => {
      count.answered();
      client.write(chunk);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    turns,
    url: (direct) => direct.replace(`:${port}/`, `:${(server.address() as AddressInfo).port}/`),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/**
 * Creates a counter of round trips: it counts each first message after an answer, from the claim of a task to its
 * COMMIT.
 */
function createCounter(turns: number[]): { sent(chunk: Buffer): void; answered(): void } {
  let count: number | undefined;
  let isAnswered = true;
  return {
    sent: (chunk) => {
      if (chunk.includes(CLAIM)) [count, isAnswered] = [0, true];
      if (count === undefined) return;
      if (isAnswered) count++;
      isAnswered = false;
      if (!chunk.includes(COMMIT)) return;
      turns.push(count);
      count = undefined;
    },
    answered: () => (isAnswered = true),
  };
}
