import { describeThrown, EtlError } from '../../errors.js';
import type { Row } from '../copy/encode.js';
import { parseExact } from './exact-json.js';

/** The rows of some lines. */
export interface NdjsonBatch {
  readonly rows: Row[];
  /** The line of the file on which a row stands, from 1. */
  lineOf(index: number): number;
}

/** A line can't be longer: it is held in memory. */
const LONGEST_LINE = 64 * 1024 * 1024;

/**
 * Parses one JSON object a line; empty lines are passed over. Numbers keep their digits: a whole one that a double would
 * change is a `bigint`, another an `ExactNumber`. Give it the text of one file in pieces, then call `end`.
 *
 * Throws `EtlError` ETL-3556, with the line, for a line that is no JSON object.
 */
export class NdjsonParser {
  readonly #name: string;
  #rest: string[] = [];
  #restLength = 0;
  #line = 1;

  /** `name` is the file's, for messages. */
  constructor(name: string) {
    this.#name = name;
  }

  /** The rows whose lines end in this piece. */
  push(text: string): NdjsonBatch {
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

  /** The last line, which needs no line break. */
  end(): NdjsonBatch {
    return this.#createBatch([this.#rest.join('')]);
  }

  #addRest(text: string): void {
    this.#rest.push(text);
    this.#restLength += text.length;
    if (this.#restLength > LONGEST_LINE)
      throw this.#createError(this.#line, 'the line is longer than 64 MiB');
  }

  #createBatch(lines: readonly string[]): NdjsonBatch {
    const first = this.#line;
    const rows: Row[] = [];
    const empty: number[] = [];
    for (let i = 0; i < lines.length; i++) {
      const line = lines[i] as string;
      if (line === '' || line === '\r' || line.trim() === '') empty.push(i);
      else rows.push(this.#parseRow(line, first + i));
    }
    this.#line += lines.length;
    return { rows, lineOf: (index) => first + skipEmptyLines(empty, index) };
  }

  #parseRow(line: string, number: number): Row {
    let value: unknown;
    try {
      value = parseExact(line);
    } catch (error) {
      throw this.#createError(number, describeThrown(error), error);
    }
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Row;
    throw this.#createError(number, `${JSON.stringify(line.slice(0, 60))} is no JSON object`);
  }

  #createError(line: number, why: string, cause?: unknown): EtlError {
    return new EtlError('ETL-3556', {
      what: `"${this.#name}" is not the NDJSON that it should be`,
      where: `${this.#name}, line ${line}`,
      why,
      fix: 'each line must be one JSON object: the columns of a row by name',
      cause,
    });
  }
}

/** The index of a row among all lines, those without a row included. */
function skipEmptyLines(empty: readonly number[], index: number): number {
  let line = index;
  for (const each of empty) if (each <= line) line++;
  return line;
}
