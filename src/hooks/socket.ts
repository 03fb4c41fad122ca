import { Socket, type OnReadOpts, type SocketConstructorOpts } from 'node:net';
import { copyBytes, takeChunk } from './chunks.js';

/** The size of a read buffer, in bytes: the same as Node's own. */
const READ_BYTES = 64 * 1024;
/** A read of fewer bytes is copied, so a short answer does not keep a whole chunk in use. */
const COPIED_BYTES = 8 * 1024;

/**
 * Creates a socket that reads into chunks (see chunks.ts). The code that consumes the bytes can give the chunks back.
 */
export function createSocket(): Socket {
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
  return socket;
}
