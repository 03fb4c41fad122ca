import type { Readable } from 'node:stream';
import type { Row } from '../copy/encode.js';

/** One file, or what is read like one. */
export interface InputFile {
  /** For messages: never with a credential. */
  readonly name: string;
  /** Its size on the disk. */
  readonly bytes?: number;
  /** Where it is on the disk, when it is there as it is: not compressed. */
  readonly path?: string;
  /**
   * What it holds, decompressed and without a byte order mark, in chunks that can be given back. To be read once.
   */
  chunks(): AsyncIterable<Buffer>;
}

/** Rows that JavaScript code gives. */
export interface InputRows {
  readonly name: string;
  /** Many rows at a time. To be read once. */
  rows(): AsyncIterable<readonly Row[]>;
}

/** Where data comes from: files, or code. */
export type Input =
  string | URL | readonly (string | URL)[] | Readable | AsyncIterable<unknown> | Iterable<object>;

/** How a file is compressed; `none` takes it as it is, whatever its name says. */
export type Compression = 'gzip' | 'brotli' | 'zstd' | 'none';

/** What an input is read with. */
export interface InputOptions {
  /** The directory that relative paths start from. */
  readonly root: string;
  readonly signal: AbortSignal;
  /** Default: by the end of the name, `.gz`, `.br` or `.zst`. */
  readonly compression?: Compression;
}

/** As much as is read at a time. */
export const CHUNK_BYTES = 256 * 1024;
