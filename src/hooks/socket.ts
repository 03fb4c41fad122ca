import { Socket, type OnReadOpts, type SocketConstructorOpts } from 'node:net';
import { copyBytes, takeChunk } from './chunks.js';

/** As much as Node reads at a time. */
const READ_BYTES = 64 * 1024;
/** Less than this is copied, so that an answer of a few bytes does not keep all that memory. */
const COPIED_BYTES = 8 * 1024;

/** A socket that reads into chunks: whoever moves the bytes on can give them back. */
export function createSocket(): Socket {
  const onread: OnReadOpts = {
    buffer: () => takeChunk(READ_BYTES),
    callback: (bytes, memory) => {
      const read = Buffer.from(memory.buffer, memory.byteOffset, bytes);
      return socket.push(bytes < COPIED_BYTES ? copyBytes(read) : read);
    },
  };
  // https://nodejs.org/api/net.html#new-netsocketoptions, which the types do not know of.
  const socket = new Socket({ onread } as SocketConstructorOpts);
  return socket;
}
