import { EtlError } from '../../../errors.js';
import type { LineBreak } from '../../format/csv-record.js';
import { RecordEnds } from '../../format/record-ends.js';
import type { RecordFormat } from './feed.js';

/** The longest row that is accepted, because a row is held in memory. */
const LONGEST_RECORD_BYTES = 64 * 1024 * 1024;
const LF = 0x0a;
const CR = 0x0d;

/** Some complete rows of an input. */
export interface Batch {
  /** The line break that ends each row, except possibly the last row of the input. */
  readonly eol: LineBreak;
  /** An empty line that comes before the rows in each COPY of them. Has no bytes if COPY gets the rows alone. */
  readonly firstLine: Buffer;
  /** A letter that is no quote. */
  readonly letter: string;
  readonly bytes: Buffer;
  /** For each row, the offset in `bytes` after the row and its line break. */
  readonly ends: readonly number[];
  /** Returns the line of the file, from 1, on which the row with this index begins. */
  lineOf(index: number): number;
}

/**
 * Returns the parts of a COPY of the rows from index `from` up to but not including `to`.
 *
 * In a file whose lines end with CR, COPY refuses a row that begins with LF. After the empty first line, COPY would take
 * the two line breaks for one CR LF. A letter between them keeps them apart, and COPY refuses the row for the same reason.
 */
export function buildCopyParts(batch: Batch, from: number, to: number): readonly Buffer[] {
  const rows = sliceRows(batch, from, to);
  const isAmbiguous = batch.eol === '\r' && rows[0] === LF;
  return [batch.firstLine, ...(isAmbiguous ? [Buffer.from(batch.letter)] : []), rows];
}

/** Returns the bytes of one row without its line break. */
export function getRow(batch: Batch, index: number): Buffer {
  const row = sliceRows(batch, index, index + 1);
  const { eol } = batch;
  return row.subarray(-eol.length).equals(Buffer.from(eol)) ? row.subarray(0, -eol.length) : row;
}

/** Returns the bytes of the rows from index `from` up to but not including `to`, without copying them. */
function sliceRows(batch: Batch, from: number, to: number): Buffer {
  return batch.bytes.subarray(batch.ends[from - 1] ?? 0, batch.ends[to - 1]);
}

/**
 * Splits the chunks of an input into batches of complete rows, by the rules of COPY. Skips the header. Throws
 * `EtlError` ETL-3502 if a row is longer than 64 MiB.
 */
export async function* cutBatches(
  chunks: AsyncIterable<Buffer>,
  format: RecordFormat,
): AsyncGenerator<Batch> {
  const cutter = new BatchCutter(format);
  for await (const chunk of chunks) {
    const batch = cutter.cut(chunk);
    if (batch !== undefined) yield batch;
  }
  const last = cutter.takeRest();
  if (last !== undefined) yield last;
}

/**
 * Splits chunks into batches. A copy of the bytes of an incomplete row waits for the next chunk, so a chunk can be used
 * again after `cut`. Throws `EtlError` ETL-3502 if a row is longer than 64 MiB.
 */
export class BatchCutter {
  readonly #ends: RecordEnds;
  readonly #hasFirstLine: boolean;
  readonly #letter: string;
  /** The bytes of the header that are still to be skipped. */
  #skip: number;
  /** The line of the file, from 1, on which the next batch begins. */
  #line: number;
  #rest: Buffer[] = [];
  #restBytes = 0;

  constructor({ quoting, header, hasFirstLine }: RecordFormat) {
    this.#ends = new RecordEnds(quoting, header.eol);
    this.#hasFirstLine = hasFirstLine;
    this.#letter = quoting?.quote === 'a'.charCodeAt(0) ? 'b' : 'a';
    this.#skip = header.bytes;
    this.#line = header.lines + 1;
  }

  /** Returns the rows that the chunk completes. Returns undefined if it completes no row. */
  cut(chunk: Buffer): Batch | undefined {
    const bytes = chunk.subarray(Math.min(this.#skip, chunk.length));
    this.#skip -= chunk.length - bytes.length;
    const ends = this.#ends.find(bytes);
    const end = ends.at(-1);
    if (end === undefined) {
      this.#addRest(bytes);
      return undefined;
    }
    // In the batch, the bytes of the incomplete row come before the bytes of this chunk, so each end moves by their number.
    const offset = this.#restBytes;
    const batch = this.#createBatch(
      Buffer.concat([...this.#rest, bytes.subarray(0, end)]),
      offset === 0 ? ends : ends.map((each) => each + offset),
    );
    this.#rest = [];
    this.#restBytes = 0;
    this.#addRest(bytes.subarray(end));
    return batch;
  }

  /** Returns the last row, if no line break ends it. */
  takeRest(): Batch | undefined {
    return this.#restBytes === 0
      ? undefined
      : this.#createBatch(Buffer.concat(this.#rest), [this.#restBytes]);
  }

  /** Keeps the bytes of an incomplete row. Throws `EtlError` ETL-3502 if the row is longer than 64 MiB. */
  #addRest(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#rest.push(Buffer.from(bytes));
    this.#restBytes += bytes.length;
    if (this.#restBytes <= LONGEST_RECORD_BYTES) return;
    throw new EtlError('ETL-3502', {
      what: `the row on line ${this.#line} is longer than 64 MiB`,
      why: 'a load with `rejects`, and one that creates columns, holds each row in memory',
      fix: 'look for a quote that is opened and not closed: it turns all following lines into one row',
    });
  }

  /**
   * Creates a batch, and moves `#line` to the line after it. `lineOf` counts the line breaks before a row, also those
   * inside quotes, and only when it is called: few rows are rejected.
   */
  #createBatch(bytes: Buffer, ends: readonly number[]): Batch {
    // The only row of an input can end with the input. A CR at the end of the input is a line break.
    const eol = this.#ends.eol ?? (bytes.at(-1) === CR ? '\r' : '\n');
    const sign = eol === '\r' ? CR : LF;
    const first = this.#line;
    this.#line += countByte(sign, bytes);
    const lineOf = (index: number): number =>
      first + countByte(sign, bytes.subarray(0, ends[index - 1] ?? 0));
    return {
      eol,
      firstLine: Buffer.from(this.#hasFirstLine ? eol : ''),
      letter: this.#letter,
      bytes,
      ends,
      lineOf,
    };
  }
}

/** Counts how often `byte` occurs in `bytes`. */
function countByte(byte: number, bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(byte); at !== -1; at = bytes.indexOf(byte, at + 1)) count++;
  return count;
}
