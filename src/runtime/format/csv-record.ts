/**
 * The special characters of a CSV file. The names are those of COPY's options. `delimiter`, `quote` and `escape` are
 * one character each; `null` is a text of any length.
 */
export interface CsvSyntax {
  readonly delimiter: string;
  readonly quote: string;
  readonly escape: string;
  /** An unquoted field with this text is NULL. */
  readonly null: string;
}

/** The characters that end a line of a file. */
export type LineBreak = '\n' | '\r' | '\r\n';

/** Describes the text in which a record is searched. */
export interface RecordSearch extends CsvSyntax {
  /** The line break that the file uses. Undefined if it is not known yet: then any line break ends the record. */
  readonly eol: LineBreak | undefined;
  /** Whether the text is the end of the file: no more text follows. */
  readonly isLast: boolean;
}

/** One record of a CSV file. */
export interface CsvRecord {
  readonly fields: (string | null)[];
  /** The index in the text at which the next record begins. */
  readonly next: number;
  /** The line break that ends the record. Undefined if the end of the file ends the record. */
  readonly eol: LineBreak | undefined;
  /**
   * The number of line breaks inside quotes. They are counted as COPY counts lines: in a file with CR or CR LF each CR
   * counts, in a file with LF each LF.
   */
  readonly breaks: number;
  /**
   * `open`: the file ends inside quotes. `line break`: an unquoted line break differs from the line break of the first
   * line. Undefined if the record is right.
   */
  readonly problem: 'open' | 'line break' | undefined;
}

/**
 * Reads the record that begins at index `at`, with all of its fields, also quoted ones. Returns undefined if the record
 * does not end in `text` and more text follows. `CsvParser` has a faster way for records without quotes.
 *
 * `RecordEnds` finds the ends of records in bytes and reads no fields. The two are separate, because a parser needs
 * text and assembles the values of the fields on the way to the end of the record.
 */
export function recordAt(text: string, at: number, search: RecordSearch): CsvRecord | undefined {
  return new Scan(text, at, search).record();
}

const LF = 10;
const CR = 13;

/** One search for the end of a record. The fields that were read so far are in `#fields`; `#at` is the next index. */
class Scan {
  readonly #text: string;
  readonly #search: RecordSearch;
  readonly #delimiter: number;
  readonly #quote: number;
  readonly #fields: (string | null)[] = [];
  #at: number;
  #breaks = 0;

  constructor(text: string, at: number, search: RecordSearch) {
    this.#text = text;
    this.#at = at;
    this.#search = search;
    this.#delimiter = search.delimiter.charCodeAt(0);
    this.#quote = search.quote.charCodeAt(0);
  }

  /**
   * Reads fields until the record ends. Returns undefined if the record does not end in the text and more text follows.
   * If the file ends inside quotes, the record has the problem `open`.
   */
  record(): CsvRecord | undefined {
    for (;;) {
      const closed = this.#readField();
      if (!closed) return this.#search.isLast ? this.#endRecord(undefined, 'open') : undefined;
      if (this.#at >= this.#text.length) return this.#search.isLast ? this.#endRecord(undefined) : undefined;
      if (this.#text.charCodeAt(this.#at) !== this.#delimiter) return this.#readLineEnd();
      this.#at++;
    }
  }

  /**
   * Reads a field up to a delimiter or an unquoted line break, and adds the field to `#fields`. Quotes may begin
   * anywhere in a field: `a"b,c"d` is the value `ab,cd`. Returns false if the text ends inside quotes.
   */
  #readField(): boolean {
    const text = this.#text;
    let value = '';
    /** The index at which the part begins that is not yet in `value`. */
    let start = this.#at;
    let isQuoted = false;
    for (; this.#at < text.length; this.#at++) {
      const code = text.charCodeAt(this.#at);
      if (code === this.#delimiter || code === LF || code === CR) break;
      if (code !== this.#quote) continue;
      isQuoted = true;
      value += text.slice(start, this.#at);
      const inside = this.#readQuoted();
      if (inside === undefined) return false;
      value += inside;
      start = this.#at + 1;
    }
    value += text.slice(start, this.#at);
    this.#fields.push(!isQuoted && value === this.#search.null ? null : value);
    return true;
  }

  /**
   * Reads the text between the quote at `#at` and the closing quote, and moves `#at` to the closing quote: `"a""b"`
   * gives `a"b`. Returns undefined if the text ends before the closing quote is certain.
   */
  #readQuoted(): string | undefined {
    const { quote, escape, isLast } = this.#search;
    let value = '';
    let from = this.#at + 1;
    for (;;) {
      const end = this.#findSign(from);
      const next = this.#text[end + 1];
      // A quote at the end of the text may be the first of a doubled quote: only more text can tell.
      if (end === -1 || (next === undefined && !isLast)) return undefined;
      const sign = this.#text[end];
      if (sign === escape && (next === escape || next === quote)) {
        value += this.#text.slice(from, end) + next;
        from = end + 2;
      } else if (sign === quote) {
        value += this.#text.slice(from, end);
        this.#countBreaks(this.#at + 1, end);
        this.#at = end;
        return value;
      } else {
        // An escape character before any other character is data.
        value += this.#text.slice(from, end + 1);
        from = end + 1;
      }
    }
  }

  /** Returns the index of the next quote or escape character at or after `from`, or -1. */
  #findSign(from: number): number {
    const { quote, escape } = this.#search;
    const end = this.#text.indexOf(quote, from);
    if (escape === quote) return end;
    const escaped = this.#text.indexOf(escape, from);
    return escaped !== -1 && (end === -1 || escaped < end) ? escaped : end;
  }

  /**
   * Adds the line breaks in the quoted text from index `from` to `to` to `#breaks`, by the rule of `CsvRecord.breaks`.
   */
  #countBreaks(from: number, to: number): void {
    const sign = this.#search.eol === '\r' || this.#search.eol === '\r\n' ? '\r' : '\n';
    for (let at = this.#text.indexOf(sign, from); at !== -1 && at < to; at = this.#text.indexOf(sign, at + 1))
      this.#breaks++;
  }

  /**
   * Ends the record with the line break at `#at`. Returns undefined if only more text can tell whether the line break
   * is CR or CR LF. If the file's lines end with CR alone, an LF after a CR does not belong to the line break. It
   * begins the next record, which gets the problem `line break`: a line break of another kind than that of the file.
   */
  #readLineEnd(): CsvRecord | undefined {
    const { eol, isLast } = this.#search;
    const isCr = this.#text.charCodeAt(this.#at) === CR;
    const next = this.#text[this.#at + 1];
    // A CR at the end of the text may be the first half of a CR LF: only more text can tell.
    if (isCr && next === undefined && !isLast && eol !== '\r') return undefined;
    const found = !isCr ? '\n' : next === '\n' && eol !== '\r' ? '\r\n' : '\r';
    this.#at += found.length;
    return this.#endRecord(found, eol === undefined || eol === found ? undefined : 'line break');
  }

  /** Returns the record of all fields that were read. `#at` is the index after the record. */
  #endRecord(eol: CsvRecord['eol'], problem?: CsvRecord['problem']): CsvRecord {
    return { fields: this.#fields, next: this.#at, eol, breaks: this.#breaks, problem };
  }
}
