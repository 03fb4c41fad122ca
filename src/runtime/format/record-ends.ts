import type { LineBreak } from './csv-record.js';

const LF = 0x0a;
const CR = 0x0d;

/** The bytes that quote fields. A line break inside quotes is a part of the value. */
export interface Quoting {
  readonly quote: number;
  /** The byte before a quote or before itself inside quotes. Equal to `quote` if quotes inside quotes are doubled. */
  readonly escape: number;
}

/**
 * Finds the ends of the records of a file, in bytes that come in chunks. The rule is COPY's (`CopyReadLineText` in
 * https://github.com/postgres/postgres/blob/REL_18_0/src/backend/commands/copyfromparse.c): the first line break
 * outside quotes decides whether records end with LF, CR LF or CR. COPY refuses a line break of another kind outside
 * quotes. Here such a line break ends no record: it is a part of the record that COPY refuses.
 */
export class RecordEnds {
  readonly #quoting: Quoting | undefined;
  #eol: LineBreak | undefined;
  /** Whether the next byte is inside quotes. */
  #isQuoted = false;
  /** Whether an escape byte precedes the next byte, which is inside quotes: then a quote is data. */
  #isEscaped = false;
  /** Whether the last byte of the chunk before was a CR outside quotes. */
  #isAfterCr = false;

  /**
   * If `quoting` is undefined, every line break ends a record. `eol` is the line break that ends records. If it is
   * undefined, the first line break decides.
   */
  constructor(quoting: Quoting | undefined, eol?: LineBreak) {
    this.#quoting = quoting;
    this.#eol = eol;
  }

  /** The line break that ends records. Undefined until the first line break is found. */
  get eol(): LineBreak | undefined {
    return this.#eol;
  }

  /**
   * Returns the index after each line break of the chunk that ends a record. The index 0 means that a record ended with
   * the chunk before, which only this chunk could tell. Call the method with the chunks of one file, in order.
   */
  find(chunk: Buffer): number[] {
    if (chunk.length === 0) return [];
    const ends = this.#settleFirstCr(chunk);
    /** The index of the next line break, also if quotes come before it, so that each line break is searched once. */
    let breakAt = -1;
    for (let at = 0; at < chunk.length;) {
      if (this.#isQuoted) {
        at = this.#skipQuoted(chunk, at);
        continue;
      }
      const quoteAt = this.#quoting === undefined ? chunk.length : findByte(chunk, this.#quoting.quote, at);
      this.#eol ??= findFirstLineBreak(chunk, at, quoteAt);
      if (this.#eol !== undefined) {
        const sign = this.#eol === '\r' ? CR : LF;
        if (breakAt < at) breakAt = findByte(chunk, sign, at);
        for (; breakAt < quoteAt; breakAt = findByte(chunk, sign, breakAt + 1))
          if (this.#eol !== '\r\n' || this.#isCrBefore(chunk, breakAt)) ends.push(breakAt + 1);
      }
      // A quote opens quotes. Without one, `at` goes beyond the chunk and the loop ends.
      this.#isQuoted = quoteAt < chunk.length;
      at = quoteAt + 1;
    }
    this.#isAfterCr = !this.#isQuoted && chunk.at(-1) === CR;
    return ends;
  }

  /** If the chunk before ended with the CR of the first line break, decides between CR and CR LF. Returns the end at 0. */
  #settleFirstCr(chunk: Buffer): number[] {
    if (this.#eol !== undefined || !this.#isAfterCr) return [];
    this.#eol = chunk[0] === LF ? '\r\n' : '\r';
    return this.#eol === '\r' ? [0] : [];
  }

  /** Says whether the byte before the LF at `index`, which is outside quotes, is a CR. */
  #isCrBefore(chunk: Buffer, index: number): boolean {
    return index === 0 ? this.#isAfterCr : chunk[index - 1] === CR;
  }

  /**
   * Skips the bytes inside quotes from `from` on. Returns the index after the closing quote, and clears `#isQuoted`.
   * Returns the length of the chunk if the chunk has no closing quote: then the next chunk begins inside the quotes.
   */
  #skipQuoted(chunk: Buffer, from: number): number {
    const { quote, escape } = this.#quoting as Quoting;
    if (quote === escape) {
      // A doubled quote closes the quotes and opens them again, which gives the same record ends.
      const at = findByte(chunk, quote, from);
      this.#isQuoted = at === chunk.length;
      return this.#isQuoted ? at : at + 1;
    }
    for (let at = from; at < chunk.length; at++) {
      if (chunk[at] === escape) this.#isEscaped = !this.#isEscaped;
      else if (chunk[at] === quote && !this.#isEscaped) {
        this.#isQuoted = false;
        return at + 1;
      } else this.#isEscaped = false;
    }
    return chunk.length;
  }
}

/**
 * Returns the first line break between `from` and `to`. Returns undefined if there is no line break, or if its CR is the
 * last byte of the chunk: then the next chunk decides.
 */
function findFirstLineBreak(chunk: Buffer, from: number, to: number): LineBreak | undefined {
  const offset = chunk.subarray(from, to).findIndex((byte) => byte === LF || byte === CR);
  if (offset === -1) return undefined;
  if (chunk[from + offset] === LF) return '\n';
  const next = chunk[from + offset + 1];
  return next === undefined ? undefined : next === LF ? '\r\n' : '\r';
}

/**
 * The number of bytes that are compared one by one before `indexOf` is called. A call of `indexOf` takes as long as about
 * ten comparisons, and if all fields are quoted, most quotes are near.
 */
const NEAR_BYTES = 8;

/** Returns the index of the next `byte`, or the length of the chunk if there is none. */
function findByte(chunk: Buffer, byte: number, from: number): number {
  const far = Math.min(from + NEAR_BYTES, chunk.length);
  for (let at = from; at < far; at++) if (chunk[at] === byte) return at;
  const index = chunk.indexOf(byte, far);
  return index === -1 ? chunk.length : index;
}
