import { EtlError } from '../../../errors.js';
import type { RecordFormat } from './feed.js';

/** A row can't be longer: it is held in memory. */
const LONGEST_RECORD_BYTES = 64 * 1024 * 1024;

const LF = 0x0a;
const CR = 0x0d;

/** Whole rows, one after the other. */
export interface Batch {
  readonly bytes: Buffer;
  /** Where each row ends in `bytes`, its line break included. */
  readonly ends: readonly number[];
  /** The line of the file on which the row stands: from 1. */
  lineOf(index: number): number;
}

/** The bytes of some of a batch's rows, from one up to another. */
export function sliceRows(batch: Batch, from: number, to: number): Buffer {
  return batch.bytes.subarray(batch.ends[from - 1] ?? 0, batch.ends[to - 1]);
}

/** Cuts chunks between rows, by the rules by which COPY does. */
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
  readonly #format: RecordFormat;
  #skip: number;
  #line: number;
  /** The line break of the file, as its first one is. */
  #eol: number | undefined;
  #rest: Buffer[] = [];
  #restBytes = 0;
  #isQuoted = false;
  #isEscaped = false;

  constructor(format: RecordFormat) {
    this.#format = format;
    this.#skip = format.header.bytes;
    this.#line = format.header.lines + 1;
  }

  cut(chunk: Buffer): Batch | undefined {
    const bytes = chunk.subarray(Math.min(this.#skip, chunk.length));
    this.#skip -= chunk.length - bytes.length;
    const ends = this.#findEnds(bytes);
    const end = ends.at(-1);
    if (end === undefined) {
      this.#addRest(bytes);
      return undefined;
    }
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

  takeRest(): Batch | undefined {
    return this.#restBytes === 0
      ? undefined
      : this.#createBatch(Buffer.concat(this.#rest), [this.#restBytes]);
  }

  #addRest(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#rest.push(bytes);
    this.#restBytes += bytes.length;
    if (this.#restBytes > LONGEST_RECORD_BYTES) throw createTooLongError(this.#line);
  }

  #createBatch(bytes: Buffer, ends: readonly number[]): Batch {
    const [first, eol] = [this.#line, this.#eol ?? LF];
    this.#line += countByte(eol, bytes);
    return {
      bytes,
      ends,
      lineOf: (index) => first + countByte(eol, bytes.subarray(0, ends[index - 1] ?? 0)),
    };
  }

  #findEnds(bytes: Buffer): number[] {
    const quote = this.#format.quoting?.quote;
    const isPlain = !this.#isQuoted && (quote === undefined || !bytes.includes(quote));
    if (!isPlain || this.#eol === undefined) return this.#scan(bytes);
    const ends: number[] = [];
    for (let at = bytes.indexOf(this.#eol); at !== -1; at = bytes.indexOf(this.#eol, at + 1))
      ends.push(at + 1);
    return ends;
  }

  #scan(bytes: Buffer): number[] {
    const { quote, escape } = this.#format.quoting ?? {};
    const ends: number[] = [];
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i];
      if (this.#isQuoted && byte === escape && escape !== quote) {
        this.#isEscaped = !this.#isEscaped;
        continue;
      }
      if (byte === quote && !this.#isEscaped) this.#isQuoted = !this.#isQuoted;
      else if (!this.#isQuoted && (byte === LF || byte === CR)) {
        this.#eol ??= findLineBreak(bytes, i);
        if (byte === this.#eol) ends.push(i + 1);
      }
      this.#isEscaped = false;
    }
    return ends;
  }
}

/** A file keeps to the line break that its first line ends with: LF, CR LF or CR. */
function findLineBreak(bytes: Buffer, index: number): number {
  const next = bytes[index + 1];
  return bytes[index] === CR && next !== undefined && next !== LF ? CR : LF;
}

function countByte(byte: number, bytes: Buffer): number {
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
