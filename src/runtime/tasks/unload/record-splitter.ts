import { parseKey } from './unload-query.js';
import type { Part, Partition } from './layout.js';

const NEWLINE = 10;

/** How records look on the wire. */
export interface Framing {
  /** The byte between fields. */
  readonly delimiter: number;
  /** The byte around fields that may hold line breaks; undefined where none can. */
  readonly quote: number | undefined;
  readonly hasHeader: boolean;
}

/** Whole records, for the file that is open or for a new one. */
export interface PartRecords {
  /** The file that these records begin. */
  readonly part: Part | undefined;
  readonly bytes: Buffer;
}

/** Deals out the records of a COPY to files, and counts them. Only ends of records and the first field are looked at. */
export class RecordSplitter {
  readonly #framing: Framing;
  readonly #partition: Partition | undefined;
  #pending: Buffer[] = [];
  #isQuoted = false;
  #hasBegun = false;
  #part = 0;
  #rowsOfPart = 0;
  #bytesOfPart = 0;
  #key: string | undefined;

  /** The first line of every file. */
  header: Buffer = Buffer.alloc(0);
  rows = 0;

  constructor(framing: Framing, partition: Partition | undefined) {
    this.#framing = framing;
    this.#partition = partition;
  }

  /** What a chunk of the COPY completes. */
  *take(chunk: Buffer): Generator<PartRecords> {
    const ends = this.#findEnds(chunk);
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

  /** Where records end. A doubled quote inside quotes ends them and begins them again, which comes to the same. */
  #findEnds(chunk: Buffer): number[] {
    const { quote } = this.#framing;
    const ends: number[] = [];
    let nextQuote = quote === undefined ? -1 : chunk.indexOf(quote);
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, at + 1)) {
      while (nextQuote !== -1 && nextQuote < at) {
        this.#isQuoted = !this.#isQuoted;
        nextQuote = chunk.indexOf(quote ?? 0, nextQuote + 1);
      }
      if (!this.#isQuoted) ends.push(at + 1);
    }
    for (; nextQuote !== -1; nextQuote = chunk.indexOf(quote ?? 0, nextQuote + 1))
      this.#isQuoted = !this.#isQuoted;
    return ends;
  }

  *#split(whole: Buffer, ends: readonly number[]): Generator<PartRecords> {
    let start = 0;
    let rest = ends;
    if (this.#framing.hasHeader && !this.#hasBegun) {
      [start = 0, ...rest] = ends;
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

  *#splitBySize(whole: Buffer, from: number, ends: readonly number[]): Generator<PartRecords> {
    let start = from;
    let previous = from;
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

  #isFull(next: number): boolean {
    const limit = this.#partition;
    if (limit === undefined || this.#rowsOfPart === 0) return false;
    if ('rows' in limit) return this.#rowsOfPart >= limit.rows;
    return 'bytes' in limit && this.#bytesOfPart + next > limit.bytes;
  }

  /** Takes the keys out, so that the records are put together anew. */
  *#splitByKey(whole: Buffer, from: number, ends: readonly number[]): Generator<PartRecords> {
    const out = Buffer.allocUnsafe(whole.length);
    let [start, written] = [0, 0];
    let part: Part | undefined;
    let at = from;
    for (const end of ends) {
      const keyEnd = this.#findKeyEnd(whole, at);
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

  /** After the delimiter. */
  #findKeyEnd(whole: Buffer, start: number): number {
    return whole.indexOf(this.#framing.delimiter, start) + 1;
  }

  /** A key has only letters and digits, and is quoted where every field is. */
  #unquote(key: string): string {
    return key.charCodeAt(0) === this.#framing.quote ? key.slice(1, -1) : key;
  }

  #nextPart(value: string | null): Part {
    this.#rowsOfPart = this.#bytesOfPart = 0;
    return { number: ++this.#part, value };
  }

  get #isKeyed(): boolean {
    return this.#partition !== undefined && 'by' in this.#partition;
  }
}
