import { pipeline, Readable, type Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { EtlError } from '../../errors.js';
import { CHUNK_BYTES, type Compression } from './input.js';

const BY_EXTENSION: Readonly<Record<string, Compression>> = { gz: 'gzip', br: 'brotli', zst: 'zstd' };
/** The size of a decompressed chunk. Node.js allocates new memory for each chunk. */
const INFLATED_BYTES = 64 * 1024;
const EXTENSION = /\.(gz|br|zst)$/i;

/** Returns the compression of a file by the extension of its name: `.gz`, `.br` or `.zst`. */
export function getCompression(name: string): Compression {
  return BY_EXTENSION[EXTENSION.exec(name)?.[1]?.toLowerCase() ?? ''] ?? 'none';
}

/** Removes the extension of the compression: `a.csv.gz` becomes `a.csv`. */
export function removeCompressionExtension(name: string): string {
  return name.replace(EXTENSION, '');
}

/**
 * Decompresses the chunks of a file. `name` is the name of the file, for messages. Throws `EtlError` ETL-3552 in these
 * cases:
 *
 * - The bytes end too early, or are not compressed with `compression`.
 * - More bytes follow after the end of the compressed data. Only gzip allows several members in one file.
 * - `compression` is `zstd`, and this version of Node.js has no zstd.
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
  // Counts the bytes of the file, to find out at the end whether some of them were not decompressed.
  const counted = async function* (): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      read += chunk.length;
      yield chunk;
    }
  };
  const compressed = Readable.from(counted(), { objectMode: false, highWaterMark: CHUNK_BYTES });
  // `pipeline` passes an error of `compressed` on to `inflate`, so the loop below throws the error.
  pipeline(compressed, inflate, () => undefined);
  try {
    for await (const chunk of inflate) yield chunk as Buffer;
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    // Other errors are from reading the file. They are not about the compression.
    if (!/^(?:Z_|ERR_|ZSTD_)/.test(code)) throw error;
    throw new EtlError('ETL-3552', {
      what: `"${name}" can't be decompressed as ${compression}`,
      why: code === 'Z_BUF_ERROR' ? 'the file ends too early: it is not complete' : message,
      fix: 'get the file again, or set `compression` to the way in which the file is compressed',
      cause: error,
    });
  }
  // Node.js silently ignores a second brotli stream or zstd frame in the same file.
  if (inflate.bytesWritten < read) {
    throw new EtlError('ETL-3552', {
      what: `"${name}" can't be decompressed completely as ${compression}`,
      why: 'more bytes follow after the end of the compressed data, as in files that were joined',
      fix: 'compress the data as one piece, or with gzip',
    });
  }
}

type Inflater = Transform & { readonly bytesWritten: number };

/**
 * Creates the stream of Node.js that decompresses. Throws ETL-3552 if this version of Node.js has no zstd. `name` is
 * the name of the file, for messages.
 */
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
        what: `"${name}" is compressed with zstd, which this version of Node.js can't read`,
        fix: 'use Node.js 22.15 or later, or compress the file with gzip',
      });
    }
    default:
      return compression satisfies never;
  }
}
