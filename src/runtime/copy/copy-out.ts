import { to as copyTo, type CopyToStreamQuery } from 'pg-copy-streams';
import { addAbortSignal } from 'node:stream';
import type { Wire } from '../wire.js';

/** stub */
export interface CopyOutput extends AsyncIterable<Buffer> {
  readonly rows: number;
}

/** stub */
export function copyOut(
  wire: Wire,
  text: string,
  { signal, moved }: { readonly signal: AbortSignal; readonly moved?: (bytes: number) => void },
): CopyOutput {
  const stream = wire.query(copyTo(text)) as CopyToStreamQuery;
  addAbortSignal(signal, stream);
  return {
    get rows() {
      return stream.rowCount;
    },
    async *[Symbol.asyncIterator]() {
      for await (const chunk of stream) {
        moved?.((chunk as Buffer).length);
        yield chunk as Buffer;
      }
    },
  };
}
