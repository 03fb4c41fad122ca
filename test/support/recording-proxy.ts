import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Frames } from './wire-frames.js';

/** A TCP proxy before a server on the loopback interface that records the SQL that clients send. */
export interface RecordingProxy extends AsyncDisposable {
  /** Returns the URL of the same database through the proxy. */
  url(direct: string): string;
  /** The texts of all statements. A message with several statements is one text. */
  readonly statements: ReadonlySet<string>;
}

/** Starts a proxy to `port` on the loopback interface. */
export async function recordingProxy(port: number): Promise<RecordingProxy> {
  const statements = new Set<string>();
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    const frames = new Frames({ hasStartup: true });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined); // The close ends the other side.
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    let isSession = false;
    client.on('data', (chunk: Buffer) => {
      for (const frame of frames.add(chunk)) {
        if (isSession) readStatement(frame, statements);
        // After an SSLRequest, which has 8 bytes, the client sends its startup message.
        else if (frame.length === 8) frames.expectStartup();
        else isSession = true;
      }
      upstream.write(chunk);
    });
    upstream.on('data', (chunk: Buffer) => client.write(chunk));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: (direct) => direct.replace(`:${port}/`, `:${(server.address() as AddressInfo).port}/`),
    statements,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Adds the text of a Query or a Parse message. A Parse has the name of the statement before the text. */
function readStatement(frame: Buffer, statements: Set<string>): void {
  const type = String.fromCharCode(frame[0] ?? 0);
  if (type !== 'Q' && type !== 'P') return;
  const [first = '', second = ''] = frame.toString('utf8', 5).split('\0');
  statements.add(type === 'Q' ? first : second);
}
