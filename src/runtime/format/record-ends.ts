const LF = 0x0a;
const CR = 0x0d;

/** The bytes that can make a line break part of a value. */
export interface Quoting {
  readonly quote: number;
  /** Stands inside quotes before a quote or before itself. The quote itself, where a quote inside quotes is doubled. */
  readonly escape: number;
}

/**
 * Finds where the records of a file end, in bytes that come in chunks. The rule is COPY's (`CopyReadLineText` in
 * https://github.com/postgres/postgres/blob/REL_18_0/src/backend/commands/copyfromparse.c): the first line break outside
 * quotes decides whether records end with LF, CR LF or CR. COPY refuses another line break outside quotes; here another
 * line break ends no record. `CsvParser` reads the fields of records, from text, and reports such errors.
 */
export class RecordEnds {
  readonly #quoting: Quoting | undefined;
  #lineBreak: number | undefined;
  #isQuoted = false;
  #isEscaped = false;
  /** The first line break is CR or CR LF: the next byte decides which. */
  #isAfterCr = false;

  /** No `quoting`: each line break ends a record. `lineBreak`: the last byte of a line break, where it is known before. */
  constructor(quoting: Quoting | undefined, lineBreak?: number) {
    this.#quoting = quoting;
    this.#lineBreak = lineBreak;
  }

  /** The last byte of the file's line breaks. LF until the first line break was found. */
  get lineBreak(): number {
    return this.#lineBreak ?? LF;
  }

  /**
   * Returns the index after each line break of the chunk that ends a record. The index is 0 where the next chunk was
   * needed to know that the chunk before ended with a record. Takes the chunks of one file in their order.
   */
  find(chunk: Buffer): number[] {
    const ends: number[] = [];
    if (this.#isAfterCr && chunk.length > 0) {
      this.#isAfterCr = false;
      this.#lineBreak = chunk[0] === LF ? LF : CR;
      if (this.#lineBreak === CR) ends.push(0);
    }
    /** The next line break, which may be behind quotes: it is looked for once. */
    let breakAt = -1;
    for (let at = 0; at < chunk.length;) {
      if (this.#isQuoted) {
        at = this.#skipQuoted(chunk, at);
        continue;
      }
      const quoteAt = this.#quoting === undefined ? chunk.length : findByte(chunk, this.#quoting.quote, at);
      this.#lineBreak ??= this.#firstLineBreak(chunk, at, quoteAt);
      if (this.#lineBreak !== undefined) {
        if (breakAt < at) breakAt = findByte(chunk, this.#lineBreak, at);
        for (; breakAt < quoteAt; breakAt = findByte(chunk, this.#lineBreak, breakAt + 1))
          ends.push(breakAt + 1);
      }
      this.#isQuoted = quoteAt < chunk.length;
      at = quoteAt + 1;
    }
    return ends;
  }

  /** Returns the index after the quote that closes; the length of the chunk where none does. */
  #skipQuoted(chunk: Buffer, from: number): number {
    const { quote, escape } = this.#quoting as Quoting;
    if (quote === escape) {
      // A doubled quote closes and opens again, which comes to the same.
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

  #firstLineBreak(chunk: Buffer, from: number, to: number): number | undefined {
    const offset = chunk.subarray(from, to).findIndex((byte) => byte === LF || byte === CR);
    if (offset === -1) return undefined;
    if (chunk[from + offset] === LF) return LF;
    const next = chunk[from + offset + 1];
    this.#isAfterCr = next === undefined;
    return next === undefined ? undefined : next === LF ? LF : CR;
  }
}

/** A call of `indexOf` takes as long as to look at some ten bytes: where all fields are quoted, most quotes are near. */
const NEAR_BYTES = 8;

/** Returns the index of the byte, or the length of the chunk where there is none. */
function findByte(chunk: Buffer, byte: number, from: number): number {
  const far = Math.min(from + NEAR_BYTES, chunk.length);
  for (let at = from; at < far; at++) if (chunk[at] === byte) return at;
  const index = chunk.indexOf(byte, far);
  return index === -1 ? chunk.length : index;
}
