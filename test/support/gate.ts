import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';

/** A task that stands at the gate: the test says how it goes on. */
export interface Arrival {
  /** What the task said. */
  readonly name: string;
  /** Lets it go on, with a word that `gate()` returns. */
  open(word?: string): void;
}

/**
 * Lets a test decide when the tasks of another process go on: a task calls `await gate('here')`, the test
 * `await gate.next()`. So order, parallelism and crashes are exact, and nobody sleeps.
 */
export class Gate implements AsyncDisposable {
  readonly #server: Server;
  readonly #arrived: Arrival[] = [];
  readonly #sockets = new Set<Socket>();
  #onArrival: (() => void) | undefined;

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => this.#accept(socket));
  }

  static async open(): Promise<Gate> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Gate(server);
  }

  /** On the loopback interface, for a task that connects by itself: it sends a line, and waits for the word. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The source of a module for a config: it exports `gate(name)`. */
  get source(): string {
    return `
      import { connect } from 'node:net';
      import { once } from 'node:events';
      export async function gate(name: string): Promise<string> {
        const socket = connect(${this.port}, '127.0.0.1');
        socket.write(name + '\\n');
        const [word] = await once(socket, 'data');
        socket.destroy();
        return String(word);
      }`;
  }

  /** The next task that comes to the gate. */
  async next(): Promise<Arrival> {
    const first = this.#arrived.shift();
    if (first !== undefined) return first;
    await new Promise<void>((resolve) => (this.#onArrival = resolve));
    return this.next();
  }

  /** How many stand there now. */
  get waiting(): number {
    return this.#arrived.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined); // The process at the other end may be killed: that is what tests do.
    socket.on('close', () => this.#sockets.delete(socket));
    createInterface(socket).on('line', (name) => {
      this.#arrived.push({ name, open: (word = 'go') => void socket.write(word) });
      this.#onArrival?.();
    });
  }
}
