import type { Socket } from 'node:net';
import { createSocket } from '../socket.js';

/** The socket that was used to ask a server for TLS, for the first session: it saves a connection. */
export class SpareSocket {
  #spare: Socket | undefined;

  /** Takes a socket that is open and paused. */
  keep(socket: Socket): void {
    socket.on('error', ignore); // The server may close it while it waits, and the next session opens its own.
    this.#spare = socket;
  }

  /** What the driver's option `stream` takes: a socket that it can connect. */
  readonly take = (): Socket => {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare === undefined || spare.destroyed || spare.readableEnded) return createSocket();
    spare.off('error', ignore);
    return Object.assign(spare, { connect: () => connected(spare) });
  };

  close(): void {
    this.#spare?.destroy();
  }
}

/** The driver listens once it has asked for the connection. */
function connected(socket: Socket): Socket {
  queueMicrotask(() => {
    socket.emit('connect');
    socket.resume();
  });
  return socket;
}

function ignore(): void {}
