import { Socket, type OnReadOpts, type SocketConstructorOpts } from 'node:net';
import { copyBytes, takeChunk } from './chunks.js';

/** The size of a read buffer, in bytes: the same as Node's own. */
const READ_BYTES = 64 * 1024;
/** A read of fewer bytes is copied, so a short answer does not keep a whole chunk in use. */
const COPIED_BYTES = 8 * 1024;

/**
 * Returns the path of a server's Unix socket in a directory. In Linux' abstract namespace, where the host is `@` and a
 * name, the path begins with NUL.
 */
export function getSocketPath(host: string, port: number): string {
  return `${host.replace(/^@/, '\0')}/.s.PGSQL.${port}`;
}

/**
 * Creates a socket that reads into chunks (see chunks.ts). The code that consumes the bytes can give the chunks back.
 * `path` is a path that pg would take for a host name.
 */
export function createSocket(path?: string): Socket {
  const onread: OnReadOpts = {
    buffer: () => takeChunk(READ_BYTES),
    callback: (bytes, memory) => {
      const read = Buffer.from(memory.buffer, memory.byteOffset, bytes);
      // `push` returns false if the stream has enough bytes. The socket then stops reading until the bytes are
      // consumed.
      return socket.push(bytes < COPIED_BYTES ? copyBytes(read) : read);
    },
  };
  // The types lack the option `onread`: https://nodejs.org/api/net.html#new-netsocketoptions
  const socket = new Socket({ onread } as SocketConstructorOpts);
  const connect = socket.connect.bind(socket);
  if (path !== undefined) socket.connect = () => connect(path);
  return socket;
}
