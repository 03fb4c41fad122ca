import { EtlError } from '../../../errors.js';
import { RecordEnds } from '../../format/record-ends.js';
import type { RecordFormat } from './feed.js';

/** A row can't be longer: it is held in memory. */
const LONGEST_RECORD_BYTES = 64 * 1024 * 1024;

/** Whole rows, one after the other. */
export interface Batch {
  readonly bytes: Buffer;
  /** Where each row ends in `bytes`, its line break included. */
  readonly ends: readonly number[];
  /** The line of the file on which the row stands: from 1. */
  lineOf(index: number): number;
}

/** The bytes of some of a batch's rows, from one up to another. */
export function countRows(batch: Batch, from: number, to: number): Buffer {
  return batch.bytes.subarray(batch.ends[from - 1] ?? 0, batch.ends[to - 1]);
}

/** Cuts chunks between rows. */
export async function* cutBatches(
  chunks: AsyncIterable<Buffer>,
  format: RecordFormat,
): AsyncGenerator<Batch> {
  const cutter = new Cutter(format);
  for await (const chunk of chunks) {
    const batch = cutter.cut(chunk);
    if (batch !== undefined) yield batch;
  }
  const last = cutter.takeRest();
  if (last !== undefined) yield last;
}

class Cutter {
  readonly #ends: RecordEnds;
  /** Bytes of the header that are still to come. */
  #skip: number;
  /** The line of the next row. */
  #line: number;
  #rest: Buffer[] = [];
  #restBytes = 0;

  constructor({ quoting, header }: RecordFormat) {
    this.#ends = new RecordEnds(quoting);
    this.#skip = header.bytes;
    this.#line = header.lines + 1;
  }

  cut(chunk: Buffer): Batch | undefined {
    const bytes = chunk.subarray(Math.min(this.#skip, chunk.length));
    this.#skip -= chunk.length - bytes.length;
    const ends = this.#ends.find(bytes);
    const end = ends.at(-1);
    if (end === undefined) {
      this.#keep(bytes);
      return undefined;
    }
    const offset = this.#restBytes;
    const batch = this.#createBatch(
      Buffer.concat([...this.#rest, bytes.subarray(0, end)]),
      offset === 0 ? ends : ends.map((each) => each + offset),
    );
    this.#rest = [];
    this.#restBytes = 0;
    this.#keep(bytes.subarray(end));
    return batch;
  }

  takeRest(): Batch | undefined {
    return this.#restBytes === 0
      ? undefined
      : this.#createBatch(Buffer.concat(this.#rest), [this.#restBytes]);
  }

  #keep(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#rest.push(bytes);
    this.#restBytes += bytes.length;
    if (this.#restBytes > LONGEST_RECORD_BYTES) throw createTooLongError(this.#line);
  }

  #createBatch(bytes: Buffer, ends: readonly number[]): Batch {
    const [first, { lineBreak }] = [this.#line, this.#ends];
    this.#line += countOf(lineBreak, bytes);
    const lineOf = (index: number): number =>
      first + countOf(lineBreak, bytes.subarray(0, ends[index - 1] ?? 0));
    return { bytes, ends, lineOf };
  }
}

function countOf(byte: number, bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(byte); at !== -1; at = bytes.indexOf(byte, at + 1)) count++;
  return count;
}

function createTooLongError(line: number): EtlError {
  return new EtlError('ETL-3502', {
    what: `the row on line ${line} is longer than 64 MiB`,
    why: 'with `rejects` each row is held in memory; a quote that is opened and not closed makes a row of what follows',
  });
}
