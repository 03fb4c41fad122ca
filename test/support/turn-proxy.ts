import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A TCP proxy before a server on the loopback interface that counts round trips. */
export interface TurnProxy extends AsyncDisposable {
  /** The same database, through the proxy. */
  url(direct: string): string;
  /** For each task's transaction that was committed: how often its client waited for the server. */
  readonly turns: readonly number[];
}

const CLAIM = Buffer.from('insert into etl.task (');
const COMMIT = Buffer.from('commit\0');

/** Starts a proxy to `port`. */
export async function turnProxy(port: number): Promise<TurnProxy> {
  const turns: number[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    const count = counter(turns);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined); // The other side ends as well, and the test sees that.
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

/** Counts what goes out after an answer, from the claim of a task to its COMMIT. */
function counter(turns: number[]): { sent(chunk: Buffer): void; answered(): void } {
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
