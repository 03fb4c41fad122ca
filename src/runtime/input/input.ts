import type { BigIntStats } from 'node:fs';
import type { Readable } from 'node:stream';
import type { Row } from '../copy/encode.js';

/** A file on the disk, as it was when the load found it. */
export interface DiskFile {
  /** The name for messages. */
  readonly name: string;
  /** The absolute path. */
  readonly path: string;
  readonly state: BigIntStats;
}

/** A file, or another input of bytes that is read like a file: the answer of a web server, or a stream of bytes. */
export interface InputFile {
  /** The name for messages. It never contains a credential. */
  readonly name: string;
  /** True for a stream: its name says nothing about its format. */
  readonly isUnnamed?: boolean;
  /** The file on the disk, for a reader that jumps in it. Undefined if the input is compressed or not on the disk. */
  readonly stored?: DiskFile;
  /**
   * Returns the content, decompressed and without a byte order mark. The chunks can be given back. Can be read once.
   */
  chunks(): AsyncIterable<Buffer>;
}

/** Rows that the user's code returns. */
export interface InputRows {
  /** The name for messages. */
  readonly name: string;
  /** Returns the rows in batches. Can be read once. */
  rows(): AsyncIterable<readonly Row[]>;
}

/**
 * The input of a load: a path, a glob, an http(s) URL, a list of these, a stream, or an iterable of rows or bytes.
 */
export type Input =
  string | URL | readonly (string | URL)[] | Readable | AsyncIterable<unknown> | Iterable<object>;

/** The compression of a file. `none` reads the file as it is, whatever the extension of its name says. */
export type Compression = 'gzip' | 'brotli' | 'zstd' | 'none';

/** Options for opening an input. */
export interface InputOptions {
  /** The directory that relative paths start from. */
  readonly root: string;
  /** Ends every wait and every read of the input. */
  readonly signal: AbortSignal;
  /** The compression. Default: the compression that the extension `.gz`, `.br` or `.zst` says, otherwise `none`. */
  readonly compression?: Compression;
}

/** The number of bytes that are read at a time. */
export const CHUNK_BYTES = 256 * 1024;
