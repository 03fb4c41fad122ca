import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';

/** A task that waits at the gate until the test calls `open`. */
export interface Arrival {
  /** The name that the task gave in its call of `gate(name)`. */
  readonly name: string;
  /** Lets the task continue. `gate()` returns the word in the task. */
  open(word?: string): void;
}

/**
 * Lets a test decide when the tasks of another process continue. A task calls `await gate('here')`, and the test calls
 * `await gate.next()`. So the order of events is exact, and no test sleeps.
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

  /** Starts listening for tasks. */
  static async open(): Promise<Gate> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Gate(server);
  }

  /**
   * The port on the loopback interface, for a task that connects by itself: the task sends a line, and waits for the
   * word.
   */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The text of a module that exports `gate(name)`, for a config. */
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

  /** Waits for the next task at the gate. */
  async next(): Promise<Arrival> {
    const first = this.#arrived.shift();
    if (first !== undefined) return first;
    await new Promise<void>((resolve) => (this.#onArrival = resolve));
    return this.next();
  }

  /** The number of tasks that wait at the gate and that `next` has not returned yet. */
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
    socket.on('error', () => undefined); // A test may kill the process at the other end.
    socket.on('close', () => this.#sockets.delete(socket));
    createInterface(socket).on('line', (name) => {
      this.#arrived.push({ name, open: (word = 'go') => void socket.write(word) });
      this.#onArrival?.();
    });
  }
}
