import { pipeline, Readable, type Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { EtlError } from '../../errors.js';
import { CHUNK_BYTES, type Compression } from './input.js';
import { ZstdFrames } from './zstd-frames.js';

const BY_EXTENSION: Readonly<Record<string, Compression>> = { gz: 'gzip', br: 'brotli', zst: 'zstd' };
/** The size of a decompressed chunk. Node.js allocates new memory for each chunk. */
const INFLATED_BYTES = 64 * 1024;
const EXTENSION = /\.(gz|br|zst)$/i;

/** A compression of a file, or `deflate`, in which only web servers send their answers. */
export type Coding = Compression | 'deflate';

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
 * - The bytes end too early, or are not compressed with `coding`. No bytes at all are also too few.
 * - More bytes follow after the end of the compressed data. Only gzip and zstd allow several pieces in one file.
 * - `coding` is `zstd`, and this version of Node.js has no zstd.
 */
export async function* decompress(
  chunks: AsyncIterable<Buffer>,
  coding: Coding,
  name: string,
): AsyncGenerator<Buffer> {
  if (coding === 'none') yield* chunks;
  else if (coding === 'deflate') yield* inflateWebDeflate(chunks, name);
  else if (coding === 'zstd') yield* decompressFrames(chunks, name);
  else yield* inflateAll(chunks, { coding, name, inflate: createInflater(coding) });
}

type Inflater = Transform & { readonly bytesWritten: number };

/** One compressed piece of a file: the stream of Node.js that decompresses it, and the names for messages. */
interface Piece {
  readonly coding: Coding;
  readonly name: string;
  readonly inflate: Inflater;
}

/** Decompresses all chunks as one piece. Throws ETL-3552 if the chunks end too early or too late. */
async function* inflateAll(
  chunks: AsyncIterable<Buffer>,
  { coding, name, inflate }: Piece,
): AsyncGenerator<Buffer> {
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
    if (!/^(?:Z_|ZSTD_|ERR_(?!STREAM_))/.test(code)) throw error;
    throw createWrongBytesError(name, coding, code === 'Z_BUF_ERROR' ? ENDS_EARLY : message, error);
  }
  // Node.js silently ignores bytes after the end of the compressed data.
  if (inflate.bytesWritten < read) {
    throw new EtlError('ETL-3552', {
      what: `"${name}" can't be decompressed completely as ${coding}`,
      why: 'more bytes follow after the end of the compressed data, as in files that were joined',
      fix: 'compress the data as one piece, or with gzip',
    });
  }
}

const ENDS_EARLY = 'the file ends too early: it is not complete';

/** Creates the error ETL-3552 for bytes that can't be decompressed. */
function createWrongBytesError(name: string, coding: Coding, why: string, cause?: unknown): EtlError {
  return new EtlError('ETL-3552', {
    what: `"${name}" can't be decompressed as ${coding}`,
    why,
    fix: 'get the file again, or set `compression` to the way in which the file is compressed',
    cause,
  });
}

/** Creates the stream of Node.js that decompresses. */
function createInflater(coding: 'gzip' | 'brotli'): Inflater {
  const options = { chunkSize: INFLATED_BYTES };
  return coding === 'gzip' ? zlib.createGunzip(options) : zlib.createBrotliDecompress(options);
}

/** Decompresses each frame of a zstd file. Throws ETL-3552 if this version of Node.js has no zstd. */
async function* decompressFrames(chunks: AsyncIterable<Buffer>, name: string): AsyncGenerator<Buffer> {
  const { createZstdDecompress } = zlib as { createZstdDecompress?: (given: object) => Inflater };
  if (createZstdDecompress === undefined) {
    throw new EtlError('ETL-3552', {
      what: `"${name}" is compressed with zstd, which this version of Node.js can't read`,
      fix: 'use Node.js 22.15 or later, or compress the file with gzip',
    });
  }
  const frames = new ZstdFrames(chunks);
  try {
    do {
      const inflate = createZstdDecompress({ chunkSize: INFLATED_BYTES });
      yield* inflateAll(frames.readFrame(), { coding: 'zstd', name, inflate });
      // Some versions of Node.js do not notice that a few bytes of a frame are missing.
      if (!frames.isWhole) throw createWrongBytesError(name, 'zstd', ENDS_EARLY);
    } while (await frames.hasMore());
  } finally {
    await frames.close();
  }
}

/**
 * Decompresses the answer of a web server with the content encoding `deflate`. The encoding is deflate data with a header
 * (zlib), but some servers leave out the header. The low four bits of the first byte of the header are 8.
 * https://www.rfc-editor.org/rfc/rfc9110#name-deflate-coding
 */
async function* inflateWebDeflate(chunks: AsyncIterable<Buffer>, name: string): AsyncGenerator<Buffer> {
  const iterator = chunks[Symbol.asyncIterator]();
  const first = await iterator.next();
  const hasHeader = first.done === true || ((first.value[0] ?? 0) & 0x0f) === 8;
  const options = { chunkSize: INFLATED_BYTES };
  const inflate = hasHeader ? zlib.createInflate(options) : zlib.createInflateRaw(options);
  const all = async function* (): AsyncGenerator<Buffer> {
    try {
      for (let next = first; next.done !== true; next = await iterator.next()) yield next.value;
    } finally {
      await iterator.return?.();
    }
  };
  yield* inflateAll(all(), { coding: 'deflate', name, inflate });
}
