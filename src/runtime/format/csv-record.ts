/** The characters of a CSV file; each of one character, but for `null`. As COPY's options of these names. */
export interface CsvSyntax {
  readonly delimiter: string;
  readonly quote: string;
  readonly escape: string;
  /** The unquoted text that is NULL. */
  readonly null: string;
}

/** How lines end. */
export type LineBreak = '\n' | '\r' | '\r\n';

/** How a record is looked for. */
export interface RecordSearch extends CsvSyntax {
  /** How lines end; undefined: any line break ends the record. */
  readonly eol: LineBreak | undefined;
  /** No text comes after this one. */
  readonly isLast: boolean;
}

/** One record, and what comes after it. */
export interface CsvRecord {
  readonly fields: (string | null)[];
  /** Where the next record begins. */
  readonly next: number;
  /** The line break that ended it; undefined at the end of the file. */
  readonly eol: LineBreak | undefined;
  /** Line breaks inside of quotes, counted as COPY counts lines: by the last character of the file's own. */
  readonly breaks: number;
  /** `open`: the file ends inside of quotes; `stray`: an unquoted line break that is not the file's own. */
  readonly problem: 'open' | 'stray' | undefined;
}

/**
 * Reads one record with all of its fields, quoted ones too. Returns undefined when the record does not end in `text`.
 * `RecordEnds` finds the ends of records in bytes and reads no field. The two stay apart, because a parser needs text and
 * puts the values of the fields together on the way to the end of the record.
 */
export function recordAt(text: string, at: number, search: RecordSearch): CsvRecord | undefined {
  return new Scan(text, at, search).record();
}

const LF = 10;
const CR = 13;

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

  record(): CsvRecord | undefined {
    for (;;) {
      const closed = this.#readField();
      if (!closed) return this.#search.isLast ? this.#endRecord(undefined, 'open') : undefined;
      if (this.#at >= this.#text.length) return this.#search.isLast ? this.#endRecord(undefined) : undefined;
      if (this.#text.charCodeAt(this.#at) !== this.#delimiter) return this.#readLineEnd();
      this.#at++;
    }
  }

  /** Reads up to a delimiter or an unquoted line break; false when the text ends inside of quotes. */
  #readField(): boolean {
    const text = this.#text;
    let value = '';
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

  /** The text between the quote here and the one that closes it, at which it stops. */
  #readQuoted(): string | undefined {
    const { quote, escape, isLast } = this.#search;
    let value = '';
    let from = this.#at + 1;
    for (;;) {
      const end = this.#findSign(from);
      const next = this.#text[end + 1];
      // Whether a quote here is the first of two can't be told before more text is there.
      if (end === -1 || (next === undefined && !isLast)) return undefined;
      const sign = this.#text[end];
      if (sign === escape && (next === escape || next === quote)) {
        value += this.#text.slice(from, end) + next;
        from = end + 2;
      } else if (sign === quote) {
        value += this.#text.slice(from, end);
        this.#count(this.#at + 1, end);
        this.#at = end;
        return value;
      } else {
        value += this.#text.slice(from, end + 1);
        from = end + 1;
      }
    }
  }

  /** Where the next quote or escape is. */
  #findSign(from: number): number {
    const { quote, escape } = this.#search;
    const end = this.#text.indexOf(quote, from);
    if (escape === quote) return end;
    const escaped = this.#text.indexOf(escape, from);
    return escaped !== -1 && (end === -1 || escaped < end) ? escaped : end;
  }

  #count(from: number, to: number): void {
    const sign = this.#search.eol === '\r' || this.#search.eol === '\r\n' ? '\r' : '\n';
    for (let at = this.#text.indexOf(sign, from); at !== -1 && at < to; at = this.#text.indexOf(sign, at + 1))
      this.#breaks++;
  }

  #readLineEnd(): CsvRecord | undefined {
    const { eol, isLast } = this.#search;
    const isCr = this.#text.charCodeAt(this.#at) === CR;
    const next = this.#text[this.#at + 1];
    // Whether it is CR or CR LF can't be told before more text is there.
    if (isCr && next === undefined && !isLast && eol !== '\r') return undefined;
    const found = !isCr ? '\n' : next === '\n' && eol !== '\r' ? '\r\n' : '\r';
    this.#at += found.length;
    return this.#endRecord(found, eol === undefined || eol === found ? undefined : 'stray');
  }

  #endRecord(eol: CsvRecord['eol'], problem?: CsvRecord['problem']): CsvRecord {
    return { fields: this.#fields, next: this.#at, eol, breaks: this.#breaks, problem };
  }
}
