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
   * What it holds, decompressed and without a byte order mark. To be read once. `bytes`: as much as is to be read from
   * the disk at a time; default `CHUNK_BYTES`.
   */
  chunks(bytes?: number): AsyncIterable<Buffer>;
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

/** As much as is read at a time of what goes on as it is. */
export const CHUNK_BYTES = 256 * 1024;

/**
 * As much as is read at a time to make rows of it: the rows of four times as much live long enough to be kept by the
 * garbage collector, which takes a third more memory and no less time.
 */
export const ROW_CHUNK_BYTES = 64 * 1024;
