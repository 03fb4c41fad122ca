import type { Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { EtlError } from '../../../errors.js';
import type { UnloadCompression } from './output-target.js';

/** What compresses a stream, and what compresses bytes that are there as a whole. */
export interface Compressor {
  readonly stream: () => Transform;
  readonly bytes: (input: Uint8Array) => Uint8Array;
}

/** The highest level takes minutes for a little. */
const BROTLI = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } };

/** Throws `EtlError` ETL-3603 for what this version of Node.js does not have. */
export function createCompressor(compression: Exclude<UnloadCompression, 'none'>): Compressor {
  switch (compression) {
    case 'gzip':
      return { stream: () => zlib.createGzip(), bytes: (input) => zlib.gzipSync(input) };
    case 'brotli':
      return {
        stream: () => zlib.createBrotliCompress(BROTLI),
        bytes: (input) => zlib.brotliCompressSync(input, BROTLI),
      };
    case 'zstd':
      return createZstd();
    default:
      return compression satisfies never;
  }
}

/** Node has it from 22.15 on, and its published types for older versions say nothing of it. */
function createZstd(): Compressor {
  const { createZstdCompress, zstdCompressSync } = zlib as {
    readonly createZstdCompress?: () => Transform;
    readonly zstdCompressSync?: (input: Uint8Array) => Uint8Array;
  };
  if (createZstdCompress !== undefined && zstdCompressSync !== undefined)
    return { stream: createZstdCompress, bytes: zstdCompressSync };
  throw new EtlError('ETL-3603', {
    what: 'this version of Node.js can not compress by zstd',
    fix: 'use Node.js 22.15 or later, or gzip or brotli',
    data: 'no file was written',
  });
}
