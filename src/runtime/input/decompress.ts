import { pipeline, Readable, type Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { EtlError } from '../../errors.js';
import { CHUNK_BYTES, type Compression } from './input.js';

const BY_EXTENSION: Readonly<Record<string, Compression>> = { gz: 'gzip', br: 'brotli', zst: 'zstd' };
/** Node makes new memory for each. */
const INFLATED_BYTES = 64 * 1024;
const EXTENSION = /\.(gz|br|zst)$/i;

/** How the file of this name is compressed, by its end. */
export function getCompression(name: string): Compression {
  return BY_EXTENSION[EXTENSION.exec(name)?.[1]?.toLowerCase() ?? ''] ?? 'none';
}

/** The name that says what is inside. */
export function removeCompressionExtension(name: string): string {
  return name.replace(EXTENSION, '');
}

/**
 * What the chunks hold. Throws `EtlError` ETL-3552 for bytes that are broken off or not compressed so, for more of them
 * after the end, which only gzip goes on with, and for `zstd` in a Node that has none. `name` is for messages.
 */
export async function* decompress(
  chunks: AsyncIterable<Buffer>,
  compression: Compression,
  name: string,
): AsyncGenerator<Buffer> {
  if (compression === 'none') {
    yield* chunks;
    return;
  }
  const inflate = createInflater(compression, name);
  let read = 0;
  const counted = async function* (): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      read += chunk.length;
      yield chunk;
    }
  };
  const compressed = Readable.from(counted(), { objectMode: false, highWaterMark: CHUNK_BYTES });
  // An error of the source is one of `inflate`, too.
  pipeline(compressed, inflate, () => undefined);
  try {
    for await (const chunk of inflate) yield chunk as Buffer;
  } catch (error) {
    throw isZlibError(error) ? createBrokenStreamError(name, compression, error) : error;
  }
  // Node says nothing of a second frame, and would leave it out.
  if (inflate.bytesWritten < read) throw createTooLongError(name, compression);
}

type Inflater = Transform & { readonly bytesWritten: number };

function createInflater(compression: Exclude<Compression, 'none'>, name: string): Inflater {
  const options = { chunkSize: INFLATED_BYTES };
  switch (compression) {
    case 'gzip':
      return zlib.createGunzip(options);
    case 'brotli':
      return zlib.createBrotliDecompress(options);
    case 'zstd': {
      const { createZstdDecompress } = zlib as { createZstdDecompress?: (given: object) => Inflater };
      if (createZstdDecompress !== undefined) return createZstdDecompress(options);
      throw new EtlError('ETL-3552', {
        what: `"${name}" is compressed by zstd, which this Node.js can't read`,
        fix: 'use Node.js 22.15 or later, or compress the file by gzip',
      });
    }
    default:
      return compression satisfies never;
  }
}

function isZlibError(error: unknown): boolean {
  return /^(?:Z_|ERR_|ZSTD_)/.test((error as { code?: string } | null)?.code ?? '');
}

function createTooLongError(name: string, compression: Compression): EtlError {
  return new EtlError('ETL-3552', {
    what: `"${name}" can't be decompressed as ${compression} as a whole`,
    why: 'there is more after the end of what was compressed, as in files that were put together',
    fix: 'compress it as one piece, or by gzip',
  });
}

function createBrokenStreamError(name: string, compression: Compression, cause: unknown): EtlError {
  const { code, message } = cause as NodeJS.ErrnoException;
  return new EtlError('ETL-3552', {
    what: `"${name}" can't be decompressed as ${compression}`,
    why: code === 'Z_BUF_ERROR' ? 'it ends too early: the file is not complete' : message,
    fix: 'get the file again, or say how it is compressed by `compression`',
    cause,
  });
}
