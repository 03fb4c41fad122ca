import { EtlError } from '../../errors.js';
import { recordAt, type CsvSyntax, type LineBreak } from './csv-record.js';

/** Some consecutive records of a CSV file. */
export interface CsvBatch {
  /** The fields of each record. NULL is `null`. */
  readonly records: (string | null)[][];
  /** Returns the line of the file on which the record at `index` begins. Lines count from 1. */
  lineOf(index: number): number;
}

/** A part of the text that contains no quote. */
interface PlainPart {
  /** The index at which the part begins. */
  readonly at: number;
  /** The index at which the part ends, exclusive. */
  readonly before: number;
  readonly eol: LineBreak;
  /** Whether the text contains no other line break than `eol`. */
  readonly isClean: boolean;
}

/** The longest record in UTF-16 units. A record is held in memory. */
const LONGEST_RECORD = 64 * 1024 * 1024;

/**
 * Parses CSV as COPY of PostgreSQL 18 does:
 *
 * - An unquoted field that equals `null` is NULL. A quoted field is never NULL.
 * - A quote may begin anywhere in a field.
 * - The first line decides whether lines end with LF, CR or CR LF. An unquoted line break of another kind is an error.
 * - `\.` is data.
 *
 * Call `push` with the pieces of the text of one file, in order, then call `end`.
 *
 * Throws `EtlError` ETL-3555, with the line, for text that COPY refuses. The parser does not check the number of
 * fields.
 */
export class CsvParser {
  readonly #name: string;
  readonly #syntax: CsvSyntax;
  #rest = '';
  /** `push` only collects text until there is this much, so that a long record is not parsed again with every piece. */
  #minLength = 0;
  #line = 1;
  /**
   * The index of the next delimiter after the last plain line, so that no text is searched twice. -1 before the first.
   */
  #delimiterAt = -1;
  #eol: LineBreak | undefined;
  #records: (string | null)[][] = [];
  /** The line of each record. Undefined while every record of the batch takes one line. */
  #lines: number[] | undefined;

  /** `name` is the name of the file, for messages. `line` is the line of the file on which the text begins. */
  constructor(name: string, syntax: CsvSyntax, line = 1) {
    this.#name = name;
    this.#syntax = syntax;
    this.#line = line;
  }

  /** Returns the records that end in this piece. */
  push(text: string): CsvBatch {
    this.#rest = this.#rest === '' ? text : this.#rest + text;
    if (this.#rest.length < this.#minLength) return EMPTY;
    return this.#createBatch(() => this.#parse(this.#rest, false));
  }

  /** Returns the last record, if the file does not end with a line break. */
  end(): CsvBatch {
    return this.#createBatch(() => this.#parse(this.#rest, true));
  }

  /**
   * Runs `parse`, which adds records and returns the index at which the rest of the text begins. Returns the records as
   * a batch. Throws ETL-3555 if the rest, which is one incomplete record, is longer than a record may be.
   */
  #createBatch(parse: () => number): CsvBatch {
    this.#records = [];
    this.#lines = undefined;
    const first = this.#line;
    this.#rest = this.#rest.slice(parse());
    // Without a record the text must double before it is parsed again, so parsing a long record takes linear time.
    this.#minLength = this.#records.length === 0 ? this.#rest.length * 2 : 0;
    if (this.#rest.length > LONGEST_RECORD)
      throw this.#createError('the record is longer than 64 MiB', QUOTE_HINT);
    const [records, lines] = [this.#records, this.#lines as number[] | undefined];
    return { records, lineOf: (index) => lines?.[index] ?? first + index };
  }

  /**
   * Adds all complete records of the text to `#records`. Returns the index at which the first incomplete record begins.
   *
   * Lines before the next quote are split by the fast way, `#addPlainLines`. The record with the quote is read by
   * `recordAt`.
   */
  #parse(text: string, isLast: boolean): number {
    this.#delimiterAt = -1;
    this.#eol ??= this.#findFirstEol(text, isLast);
    if (this.#eol === undefined && !isLast) return 0;
    const eol = this.#eol ?? '\n';
    // One search for other line breaks in the whole text replaces one search in each line. For CR LF the text is never
    // clean, because both characters occur in it.
    const isClean = eol === '\n' ? !text.includes('\r') : eol === '\r' && !text.includes('\n');
    let at = 0;
    while (at < text.length) {
      const quote = text.indexOf(this.#syntax.quote, at);
      at = this.#addPlainLines(text, { at, before: quote === -1 ? text.length : quote, eol, isClean });
      if (quote !== -1) {
        const next = this.#addQuotedRecord(text, at, isLast);
        if (next === undefined) return at;
        at = next;
      } else if (isLast && at < text.length) {
        if (!isClean) this.#assertOneLine(text.slice(at));
        this.#addPlainLine(text, at, text.length);
        at = text.length;
      } else return at;
    }
    return at;
  }

  /**
   * Returns the line break that ends the first record. Returns undefined if the first record does not end in this text,
   * or ends with the file.
   */
  #findFirstEol(text: string, isLast: boolean): LineBreak | undefined {
    const first = recordAt(text, 0, { ...this.#syntax, eol: undefined, isLast });
    if (first === undefined || first.problem !== undefined) return undefined;
    return first.eol;
  }

  /**
   * Adds the lines that end at or before `before`, where the first quote is. Returns the index at which the next line
   * begins: this line contains the quote, or is incomplete.
   */
  #addPlainLines(text: string, { at, before, eol, isClean }: PlainPart): number {
    // The index of the last line break that is completely before the quote.
    const last = before < eol.length ? -1 : text.lastIndexOf(eol, before - eol.length);
    if (last < at) return at;
    for (let start = at; start <= last;) {
      const end = text.indexOf(eol, start);
      if (!isClean) this.#assertOneLine(text.slice(start, end));
      this.#addPlainLine(text, start, end);
      start = end + eol.length;
    }
    return last + eol.length;
  }

  /** Throws ETL-3555 if a line contains a line break that differs from the line break of the first line. */
  #assertOneLine(line: string): void {
    if (line.includes('\r') || line.includes('\n')) throw this.#createLineBreakError();
  }

  /**
   * Splits the line from index `start` to `end` into fields, in half the time of `split`. A delimiter that is found
   * after the end of the line is remembered in `#delimiterAt` for the next lines, so each delimiter of the text is
   * searched once.
   */
  #addPlainLine(text: string, start: number, end: number): void {
    const { delimiter, null: nullText } = this.#syntax;
    const fields: (string | null)[] = [];
    let from = start;
    let to = this.#delimiterAt < start ? findFrom(text, delimiter, start) : this.#delimiterAt;
    while (to < end) {
      const field = text.slice(from, to);
      fields.push(field === nullText ? null : field);
      from = to + 1;
      to = findFrom(text, delimiter, from);
    }
    const field = text.slice(from, end);
    fields.push(field === nullText ? null : field);
    this.#lines?.push(this.#line);
    this.#records.push(fields);
    this.#line++;
    this.#delimiterAt = to;
  }

  /**
   * Adds the record with quotes that begins at `at`. Returns the index after the record, or undefined if the record is
   * not complete and more text follows. Throws ETL-3555 for a wrong line break, and if the file ends inside quotes.
   */
  #addQuotedRecord(text: string, at: number, isLast: boolean): number | undefined {
    const record = recordAt(text, at, { ...this.#syntax, eol: this.#eol, isLast });
    if (record === undefined) return undefined;
    if (record.problem === 'line break') throw this.#createLineBreakError();
    if (record.problem === 'open') throw this.#createError('a quote is not closed', QUOTE_HINT);
    // From the first record with line breaks on, the line of each record is stored. The earlier records of the batch
    // take one line each.
    if (record.breaks > 0) this.#lines ??= this.#records.map((_, i) => this.#line - this.#records.length + i);
    this.#lines?.push(this.#line);
    this.#records.push(record.fields);
    this.#line += 1 + record.breaks;
    return record.next;
  }

  #createLineBreakError(): EtlError {
    const used = { '\n': 'LF', '\r': 'CR', '\r\n': 'CR LF' }[this.#eol ?? '\n'];
    return this.#createError(
      `an unquoted line break differs from the line break of the first line, which is ${used}`,
      'put quotes around a field that holds a line break',
    );
  }

  /** Creates the error ETL-3555 with the line at which the current record begins. */
  #createError(why: string, fix: string): EtlError {
    return new EtlError('ETL-3555', {
      what: `"${this.#name}" is not valid CSV`,
      where: `${this.#name}, line ${this.#line}`,
      why,
      fix,
    });
  }
}

/** Returns the next index of `sign` at or after `from`, or the length of the text if there is none. */
function findFrom(text: string, sign: string, from: number): number {
  const index = text.indexOf(sign, from);
  return index === -1 ? text.length : index;
}

const QUOTE_HINT =
  'look for a quote that is not closed, or set `csv.quote` to the character that the file uses';
const EMPTY: CsvBatch = { records: [], lineOf: () => 0 };
