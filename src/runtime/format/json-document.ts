import { EtlError, type ErrorParts } from '../../errors.js';
import type { Row } from '../copy/encode.js';
import { describeInvalidJson } from './invalid-json.js';
import { type JsonRowForm, JsonRowReader } from './json-row.js';
import { skipSpace } from './json-scan.js';
import type { RowBatch, RowTexts } from './row-reader.js';

/** The longest object in UTF-16 units. An object is held in memory. */
const LONGEST_OBJECT = 64 * 1024 * 1024;

/** The part of a JSON file that must come next. */
type Expected =
  /** The beginning of the file. */
  | 'start'
  /** An object, or the end of the array. */
  | 'first'
  /** An object, after a comma. */
  | 'object'
  /** A comma, or the end of the array. */
  | 'comma'
  /** Another object, or the end of the file, which is not an array. */
  | 'another'
  /** The end of the file. */
  | 'end';

/**
 * Parses a JSON file: an array of objects, one object, or several objects one after the other. Each object is a row. The
 * parser holds one object in memory, not the file.
 *
 * Call `push` with the pieces of the text of one file, in order, then call `end`. Throws `EtlError` ETL-3556, with the
 * line, if the file is not such JSON.
 */
export class JsonDocumentParser {
  readonly #name: string;
  readonly #reader: JsonRowReader;
  #expected: Expected = 'start';
  /** The text that is not read yet. It begins with the object that has not ended. */
  #rest = '';
  /** The index in `#rest` up to which the object was searched for its end. */
  #searched = 0;
  #depth = 0;
  #isInString = false;
  /** The line on which `#rest` begins. */
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

  /** Returns the rows whose objects end in this piece. */
  push(text: string): RowBatch {
    this.#rest += text;
    const rows: Row[] = [];
    const lines: number[] = [];
    let texts: (RowTexts | undefined)[] | undefined;
    while (this.#skipSigns()) {
      const end = this.#findObjectEnd();
      if (end === -1) break;
      lines.push(this.#line);
      rows.push(this.#readRow(this.#rest.slice(0, end)));
      if (this.#reader.texts !== undefined) (texts ??= [])[rows.length - 1] = this.#reader.texts;
      this.#take(end);
      this.#expected = this.#expected === 'another' ? 'another' : 'comma';
    }
    if (this.#rest.length > LONGEST_OBJECT)
      throw this.#createError({ why: 'an object is longer than 64 MiB' });
    return {
      rows,
      ...(texts && { texts }),
      locateRow: (index) => `${this.#name}, line ${lines[index] ?? 1}`,
    };
  }

  /** Ends the file. Throws ETL-3556 if the array or the last object has not ended. */
  end(): void {
    if (this.#depth === 0 && /^(?:start|another|end)$/.test(this.#expected)) return;
    throw this.#createError({ why: 'the file ends inside the JSON: it is not complete' });
  }

  /**
   * Takes the white space, brackets and commas before the next object. Returns true if `#rest` begins with an object.
   * Returns false if it has no more text.
   */
  #skipSigns(): boolean {
    if (this.#depth > 0) return true;
    for (;;) {
      this.#take(skipSpace(this.#rest, 0));
      const sign = this.#rest[0];
      if (sign === undefined) return false;
      if (sign === '{' && this.#expected !== 'comma' && this.#expected !== 'end') {
        if (this.#expected === 'start') this.#expected = 'another';
        return true;
      }
      const next = NEXT.get(`${this.#expected} ${sign}`);
      if (next === undefined) throw this.#createError(this.#describe());
      this.#expected = next;
      this.#take(1);
    }
  }

  /** Returns the index after the object at the beginning of `#rest`, or -1 if it has not ended. Searches no text twice. */
  #findObjectEnd(): number {
    for (;;) {
      const pattern = this.#isInString ? IN_STRING : OUTSIDE;
      pattern.lastIndex = this.#searched;
      const [sign] = pattern.exec(this.#rest) ?? [];
      // A backslash at the end of the text needs the next character.
      if (sign === undefined || (sign === '\\' && pattern.lastIndex === this.#rest.length)) return -1;
      this.#searched = pattern.lastIndex + (sign === '\\' ? 1 : 0);
      if (sign === '"') this.#isInString = !this.#isInString;
      else if (sign === '{' || sign === '[') this.#depth++;
      else if (sign !== '\\' && --this.#depth === 0) return this.#searched;
    }
  }

  /** Reads one object. Throws ETL-3556 if it is not valid JSON. */
  #readRow(text: string): Row {
    try {
      return this.#reader.read(text) as Row;
    } catch (error) {
      throw this.#createError(describeInvalidJson(error));
    }
  }

  /** Removes the first characters of `#rest`, and counts their lines. */
  #take(length: number): void {
    if (length === 0) return;
    for (let at = this.#rest.indexOf('\n'); at !== -1 && at < length; at = this.#rest.indexOf('\n', at + 1))
      this.#line++;
    this.#rest = this.#rest.slice(length);
    this.#searched = 0;
  }

  #describe(): Pick<ErrorParts, 'why' | 'rowData'> {
    const rowData = this.#rest.slice(0, 20);
    if (this.#expected === 'end') return { why: 'text follows after the end of the array', rowData };
    if (this.#expected === 'comma') return { why: 'a comma or ] is expected after an object', rowData };
    return { why: 'an object is expected', rowData };
  }

  #createError(parts: Pick<ErrorParts, 'why' | 'rowData'>): EtlError {
    return new EtlError('ETL-3556', {
      what: `"${this.#name}" is not valid JSON`,
      where: `${this.#name}, line ${this.#line}`,
      fix: 'write an array of objects, with the columns of a row by name, or one object',
      ...parts,
    });
  }
}

/** The part that must come after a sign. The key is the part that was expected, and the sign that came. */
const NEXT: ReadonlyMap<string, Expected> = new Map([
  ['start [', 'first'],
  ['first ]', 'end'],
  ['comma ]', 'end'],
  ['comma ,', 'object'],
]);

/** Matches the signs that end or nest an object, outside and inside a string. */
const OUTSIDE = /[{}[\]"]/g;
const IN_STRING = /["\\]/g;
