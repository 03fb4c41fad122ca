import { EtlError, type ErrorParts } from '../../errors.js';
import type { Row } from '../copy/encode.js';
import { describeInvalidJson } from './invalid-json.js';
import { type JsonRowForm, JsonRowReader } from './json-row.js';
import type { RowBatch, RowTexts } from './row-reader.js';

/** The longest line in UTF-16 units. A line is held in memory. */
const LONGEST_LINE = 64 * 1024 * 1024;

/**
 * Parses NDJSON: one JSON object a line. The parser skips empty lines. `JsonRowReader` says what a row holds.
 *
 * Call `push` with the pieces of the text of one file, in order, then call `end`.
 *
 * Throws `EtlError` ETL-3556, with the line, if a line is not a JSON object or is longer than 64 MiB.
 */
export class NdjsonParser {
  readonly #name: string;
  readonly #reader: JsonRowReader;
  /** The pieces of the line that has not ended yet. */
  #rest: string[] = [];
  #restLength = 0;
  /** The line on which the next batch begins. */
  #line = 1;

  /** `name` is the name of the file, for messages. */
  constructor(name: string, form: JsonRowForm) {
    this.#name = name;
    this.#reader = new JsonRowReader(form);
  }

  /** The names in the first rows, in the order of the file. */
  get names(): readonly string[] {
    return this.#reader.names;
  }

  /** Returns the rows whose lines end in this piece. */
  push(text: string): RowBatch {
    const last = text.lastIndexOf('\n');
    if (last === -1) {
      this.#addRest(text);
      return this.#createBatch([]);
    }
    const lines = (this.#rest.join('') + text.slice(0, last)).split('\n');
    this.#rest = [];
    this.#restLength = 0;
    this.#addRest(text.slice(last + 1));
    return this.#createBatch(lines);
  }

  /** Returns the row of the last line, if the file does not end with a line break. */
  end(): RowBatch {
    return this.#createBatch([this.#rest.join('')]);
  }

  /** Adds a piece to the line that has not ended yet. Throws ETL-3556 if the line is too long. */
  #addRest(text: string): void {
    this.#rest.push(text);
    this.#restLength += text.length;
    if (this.#restLength > LONGEST_LINE)
      throw this.#createError(this.#line, { why: 'the line is longer than 64 MiB' });
  }

  /**
   * Parses lines without their LF, and returns their rows. Leaves out lines of blanks only, and counts them:
   * `locateRow` names the line of the file.
   */
  #createBatch(lines: readonly string[]): RowBatch {
    const first = this.#line;
    const rows: Row[] = [];
    const empty: number[] = [];
    let texts: (RowTexts | undefined)[] | undefined;
    for (let i = 0; i < lines.length; i++) {
      const line = lines[i] as string;
      if (line === '' || line === '\r' || line.trim() === '') empty.push(i);
      else {
        rows.push(this.#parseRow(line.endsWith('\r') ? line.slice(0, -1) : line, first + i));
        if (this.#reader.texts !== undefined) (texts ??= [])[rows.length - 1] = this.#reader.texts;
      }
    }
    this.#line += lines.length;
    return {
      rows,
      ...(texts && { texts }),
      locateRow: (index) => `${this.#name}, line ${first + skipEmptyLines(empty, index)}`,
    };
  }

  /** Parses one line. `number` is its number in the file. Throws ETL-3556 if the line is not a JSON object. */
  #parseRow(line: string, number: number): Row {
    let row: Row | undefined;
    try {
      row = this.#reader.read(line);
    } catch (error) {
      throw this.#createError(number, describeInvalidJson(error));
    }
    if (row !== undefined) return row;
    throw this.#createError(number, { why: 'the line is not a JSON object', rowData: line.slice(0, 60) });
  }

  #createError(line: number, parts: Pick<ErrorParts, 'why' | 'rowData'>): EtlError {
    return new EtlError('ETL-3556', {
      what: `"${this.#name}" is not valid NDJSON`,
      where: `${this.#name}, line ${line}`,
      fix: 'write one JSON object on each line: the columns of a row by name',
      ...parts,
    });
  }
}

/**
 * Returns the index of a row among all lines of the batch. `empty` holds the indexes of the empty lines, in order: with
 * `[0, 2]`, row 0 has index 1 and row 1 has index 3.
 */
function skipEmptyLines(empty: readonly number[], index: number): number {
  let line = index;
  for (const each of empty) if (each <= line) line++;
  return line;
}
