import { EtlError } from '../../errors.js';
import { recordAt, type CsvSyntax, type LineBreak } from './csv-record.js';

/** Records of a CSV file: their fields, NULL as `null`. */
export interface CsvBatch {
  readonly records: (string | null)[][];
  /** The line of the file on which a record begins, from 1. */
  lineOf(index: number): number;
}

/** A part of the text without a quote. */
interface PlainPart {
  readonly at: number;
  readonly before: number;
  readonly eol: LineBreak;
  /** It holds no other line break than `eol`. */
  readonly isClean: boolean;
}

/** A record can't be longer: it is held in memory. */
const LONGEST_RECORD = 64 * 1024 * 1024;

/**
 * Parses CSV as COPY of PostgreSQL 18 does: an unquoted field that equals `null` is NULL and a quoted one never is; a
 * quote may begin anywhere in a field; the first line decides whether lines end with LF, CR or CR LF, and another
 * unquoted one is an error; `\.` is data. Give it the text of one file in pieces, in their order, then call `end`.
 *
 * Throws `EtlError` ETL-3555, with the line, for text that COPY refuses. The number of fields is not looked at.
 */
export class CsvParser {
  readonly #name: string;
  readonly #syntax: CsvSyntax;
  #rest = '';
  /** Less text than this holds no whole record: a long one is not looked at again with every piece. */
  #minLength = 0;
  #line = 1;
  /** The delimiter that was found last: none is between it and what was taken. */
  #delimiterAt = -1;
  #eol: LineBreak | undefined;
  #records: (string | null)[][] = [];
  /** The lines of the records, where one of them has more than one. */
  #lines: number[] | undefined;

  /** `name` is the file's, for messages. */
  constructor(name: string, syntax: CsvSyntax) {
    this.#name = name;
    this.#syntax = syntax;
  }

  /** The records that end in this piece. */
  push(text: string): CsvBatch {
    this.#rest = this.#rest === '' ? text : this.#rest + text;
    if (this.#rest.length < this.#minLength) return EMPTY;
    return this.#createBatch(() => this.#parse(this.#rest, false));
  }

  /** The last record, which needs no line break. */
  end(): CsvBatch {
    return this.#createBatch(() => this.#parse(this.#rest, true));
  }

  #createBatch(parse: () => number): CsvBatch {
    this.#records = [];
    this.#lines = undefined;
    const first = this.#line;
    this.#rest = this.#rest.slice(parse());
    this.#minLength = this.#records.length === 0 ? this.#rest.length * 2 : 0;
    if (this.#rest.length > LONGEST_RECORD)
      throw this.#createError('the record is longer than 64 MiB', QUOTE_HINT);
    const [records, lines] = [this.#records, this.#lines as number[] | undefined];
    return { records, lineOf: (index) => lines?.[index] ?? first + index };
  }

  /** Takes all whole records of the text, and returns where the first begins that is not. */
  #parse(text: string, isLast: boolean): number {
    this.#delimiterAt = -1;
    this.#eol ??= this.#findFirstEol(text, isLast);
    if (this.#eol === undefined && !isLast) return 0;
    const eol = this.#eol ?? '\n';
    // One look at all of the text instead of one at each line.
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

  /** Which line break ends the first line; undefined when it does not end in this text. */
  #findFirstEol(text: string, isLast: boolean): LineBreak | undefined {
    const first = recordAt(text, 0, { ...this.#syntax, eol: undefined, isLast });
    if (first === undefined || first.problem !== undefined) return undefined;
    return first.eol;
  }

  /** Takes the lines that end before `before`, and returns where the next one begins. */
  #addPlainLines(text: string, { at, before, eol, isClean }: PlainPart): number {
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

  #assertOneLine(line: string): void {
    if (line.includes('\r') || line.includes('\n')) throw this.#createLineBreakError();
  }

  /** Half the time of `split`. Each delimiter is looked for once, also where lines have none. */
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

  #addQuotedRecord(text: string, at: number, isLast: boolean): number | undefined {
    const record = recordAt(text, at, { ...this.#syntax, eol: this.#eol, isLast });
    if (record === undefined) return undefined;
    if (record.problem === 'stray') throw this.#createLineBreakError();
    if (record.problem === 'open') throw this.#createError('a quote is opened and not closed', QUOTE_HINT);
    if (record.breaks > 0) this.#lines ??= this.#records.map((_, i) => this.#line - this.#records.length + i);
    this.#lines?.push(this.#line);
    this.#records.push(record.fields);
    this.#line += 1 + record.breaks;
    return record.next;
  }

  #createLineBreakError(): EtlError {
    const used = { '\n': 'LF', '\r': 'CR', '\r\n': 'CR LF' }[this.#eol ?? '\n'];
    return this.#createError(
      `there is an unquoted line break of another kind: the first line ends with ${used}`,
      'put quotes around a field that holds a line break',
    );
  }

  #createError(why: string, fix: string): EtlError {
    return new EtlError('ETL-3555', {
      what: `"${this.#name}" is not the CSV that it should be`,
      where: `${this.#name}, line ${this.#line}`,
      why,
      fix,
    });
  }
}

/** Where the sign is found next; after all of the text where it is not. */
function findFrom(text: string, sign: string, from: number): number {
  const index = text.indexOf(sign, from);
  return index === -1 ? text.length : index;
}

const QUOTE_HINT =
  'look for a quote that is not closed, or set `csv.quote` to the character that the file uses';
const EMPTY: CsvBatch = { records: [], lineOf: () => 0 };
