import type { Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { EtlError } from '../../../errors.js';
import type { UnloadCompression } from './output-target.js';

/** Compresses in one format: `stream` creates a compressing stream, `bytes` compresses a whole buffer at once. */
export interface Compressor {
  readonly stream: () => Transform;
  readonly bytes: (input: Uint8Array) => Uint8Array;
}

/** Quality 5 of 11: the default, 11, takes minutes and makes the file only a little smaller. */
const BROTLI_QUALITY = 5;

/**
 * Creates the compressor of a format. Throws `EtlError` ETL-3603 for zstd if this version of Node.js does not have it.
 */
export function createCompressor(compression: Exclude<UnloadCompression, 'none'>): Compressor {
  switch (compression) {
    case 'gzip':
      return { stream: () => zlib.createGzip(), bytes: (input) => zlib.gzipSync(input) };
    case 'brotli': {
      const options = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY } };
      return {
        stream: () => zlib.createBrotliCompress(options),
        bytes: (input) => zlib.brotliCompressSync(input, options),
      };
    }
    case 'zstd':
      return createZstd();
    default:
      return compression satisfies never;
  }
}

/**
 * Creates the compressor for zstd, which Node.js has from 22.15 on. The cast makes both functions optional, because an
 * older Node.js does not have them. Throws `EtlError` ETL-3603 if they are missing.
 */
function createZstd(): Compressor {
  const { createZstdCompress, zstdCompressSync } = zlib as {
    readonly createZstdCompress?: () => Transform;
    readonly zstdCompressSync?: (input: Uint8Array) => Uint8Array;
  };
  if (createZstdCompress !== undefined && zstdCompressSync !== undefined)
    return { stream: createZstdCompress, bytes: zstdCompressSync };
  throw new EtlError('ETL-3603', {
    what: "this version of Node.js can't compress with zstd",
    fix: 'use Node.js 22.15 or later, or compress with gzip or brotli',
    data: 'no file was written',
  });
}
