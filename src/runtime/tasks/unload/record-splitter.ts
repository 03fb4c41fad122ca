import { RecordEnds } from '../../format/record-ends.js';
import { parseKey } from './unload-query.js';
import type { Part, Partition } from './layout.js';

/** How to find records and fields in the output of a COPY. */
export interface Framing {
  /** The byte between two fields. */
  readonly delimiter: number;
  /** The byte around fields that can hold line breaks. Undefined if no field can hold one. */
  readonly quote: number | undefined;
  /** True if the first record is a header. */
  readonly hasHeader: boolean;
}

/** Complete records for one file. */
export interface PartRecords {
  /** The new file that begins with these records. Undefined if they belong to the file that is open. */
  readonly part: Part | undefined;
  readonly bytes: Buffer;
}

/**
 * Splits the output of a COPY into records for files, and counts the rows. It parses only record ends and the first
 * field.
 */
export class RecordSplitter {
  readonly #framing: Framing;
  readonly #partition: Partition | undefined;
  readonly #ends: RecordEnds;
  /** The bytes of the last, incomplete record. */
  #pending: Buffer[] = [];
  /** Whether the first complete records were read. If the COPY has a header, it was the first of them. */
  #hasBegun = false;
  /** The number of the current file, from 1. 0 before the first file. */
  #part = 0;
  #rowsOfPart = 0;
  #bytesOfPart = 0;
  /** The value of the first field, as the COPY wrote it, in a partition by a column. */
  #key: string | undefined;

  /** The header, for the first line of every file. Empty until it was read. */
  header: Buffer = Buffer.alloc(0);
  /** The number of rows so far, without the header. */
  rows = 0;

  constructor(framing: Framing, partition: Partition | undefined) {
    this.#framing = framing;
    this.#partition = partition;
    const { quote } = framing;
    // COPY ends the records that it writes with LF.
    this.#ends = new RecordEnds(quote === undefined ? undefined : { quote, escape: quote }, '\n');
  }

  /** Yields the records that the next chunk of the COPY completes. */
  *take(chunk: Buffer): Generator<PartRecords> {
    const ends = this.#ends.find(chunk);
    const last = ends.at(-1) ?? 0;
    if (last === 0) {
      this.#pending.push(chunk);
      return;
    }
    const before = this.#pending.reduce((sum, { length }) => sum + length, 0);
    const whole = Buffer.concat([...this.#pending, chunk.subarray(0, last)]);
    this.#pending = last === chunk.length ? [] : [chunk.subarray(last)];
    yield* this.#split(
      whole,
      ends.map((end) => end + before),
    );
  }

  /**
   * Yields complete records. Takes the header out of the first records. `ends` has the offset in `whole` after each
   * record.
   */
  *#split(whole: Buffer, ends: readonly number[]): Generator<PartRecords> {
    let start = 0;
    let rest = ends;
    if (this.#framing.hasHeader && !this.#hasBegun) {
      [start = 0, ...rest] = ends;
      // With a key, the first column of the header is the key, which no file has.
      this.header = Buffer.from(
        this.#isKeyed ? whole.subarray(this.#findKeyEnd(whole, 0), start) : whole.subarray(0, start),
      );
    }
    this.#hasBegun = true;
    this.rows += rest.length;
    if (rest.length === 0) return;
    if (this.#partition === undefined) yield { part: undefined, bytes: whole.subarray(start) };
    else if (this.#isKeyed) yield* this.#splitByKey(whole, start, rest);
    else yield* this.#splitBySize(whole, start, rest);
  }

  /**
   * Splits records by the number of rows or bytes of a file. `from` is the offset of the first record. `part` is the new
   * file that begins at `start`; it is undefined while the records still belong to the file that is open.
   */
  *#splitBySize(whole: Buffer, from: number, ends: readonly number[]): Generator<PartRecords> {
    let start = from;
    let previous = from;
    // The very first record begins the first file.
    let part = this.#part === 0 ? this.#nextPart(null) : undefined;
    for (const end of ends) {
      if (this.#isFull(end - previous)) {
        if (previous > start || part !== undefined) yield { part, bytes: whole.subarray(start, previous) };
        start = previous;
        part = this.#nextPart(null);
      }
      this.#rowsOfPart++;
      this.#bytesOfPart += end - previous;
      previous = end;
    }
    yield { part, bytes: whole.subarray(start, previous) };
  }

  /** Says whether the current file has no room for a record of `next` bytes. A file without a row always has room. */
  #isFull(next: number): boolean {
    const limit = this.#partition;
    if (limit === undefined || this.#rowsOfPart === 0) return false;
    if ('rows' in limit) return this.#rowsOfPart >= limit.rows;
    return 'bytes' in limit && this.#bytesOfPart + next > limit.bytes;
  }

  /**
   * Splits records by the value of the first field, which is the key of the partition. A new file begins at each record
   * whose key differs from the key before. Copies the records without the key to a new buffer.
   */
  *#splitByKey(whole: Buffer, from: number, ends: readonly number[]): Generator<PartRecords> {
    const out = Buffer.allocUnsafe(whole.length);
    let [start, written] = [0, 0];
    let part: Part | undefined;
    let at = from;
    for (const end of ends) {
      const keyEnd = this.#findKeyEnd(whole, at);
      // The key has only ASCII letters and digits. Decoding them as Latin-1 is faster than as UTF-8.
      const key = whole.toString('latin1', at, keyEnd - 1);
      if (key !== this.#key) {
        if (written > start || part !== undefined) yield { part, bytes: out.subarray(start, written) };
        start = written;
        this.#key = key;
        part = this.#nextPart(parseKey(this.#unquote(key)));
      }
      written += whole.copy(out, written, keyEnd, end);
      at = end;
    }
    yield { part, bytes: out.subarray(start, written) };
  }

  /** Returns the offset after the delimiter that ends the first field. */
  #findKeyEnd(whole: Buffer, start: number): number {
    return whole.indexOf(this.#framing.delimiter, start) + 1;
  }

  /** Removes the quotes of a key. A key is quoted only if COPY quotes every field; it holds only letters and digits. */
  #unquote(key: string): string {
    return key.charCodeAt(0) === this.#framing.quote ? key.slice(1, -1) : key;
  }

  /** Begins the next file and returns it. `value` is the value of the partition column. */
  #nextPart(value: string | null): Part {
    this.#rowsOfPart = this.#bytesOfPart = 0;
    return { number: ++this.#part, value };
  }

  /** Whether the rows are split by a column. Then the first field of each record is the key. */
  get #isKeyed(): boolean {
    return this.#partition !== undefined && 'by' in this.#partition;
  }
}
