import { describeThrown, EtlError } from '../../errors.js';
import { takeChunk } from '../../hooks/chunks.js';
import { createDateFormat } from '../postgres/date-text.js';
import { ExactNumber } from '../postgres/exact-number.js';
import { type ValueType, findTextForm } from '../postgres/type-form.js';
import {
  type TextOptions,
  type ValueFormat,
  type WellFormed,
  createValueFormat,
  formatExactNumber,
  formatNumber,
} from '../postgres/value-text.js';

/** The values of a row, by the names of the columns. */
export type Row = Readonly<Record<string, unknown>>;

/** A column that rows are written for. */
export interface WrittenColumn {
  readonly name: string;
  /** Undefined if the type of the column is not known. */
  readonly type?: ValueType | undefined;
}

/** How to write values whose JavaScript type does not decide the text. */
export interface EncodeOptions {
  /**
   * How to write a string in a column of `json`. With `text` the string is JSON text, and is written unchanged. With
   * `value` the string is a value, and is written with quotes. Default `text`.
   */
  readonly jsonStrings?: 'text' | 'value';
  /** True if dates are written in UTC, as pg does with `pg.defaults.parseInputDatesAsUTC`. Default: in local time. */
  readonly usesUtcDates?: boolean;
}

/** Writes rows as bytes for COPY in the text format. The bytes may be a chunk of `hooks/chunks.ts`. */
export type Encoder = (rows: readonly Row[]) => Buffer;

/** Writes one value as COPY text. */
export type FormatCell = (value: unknown) => string;

/**
 * Returns a function that writes rows for `COPY … FROM STDIN` in the text format. The values of a row are in the order
 * of `columns`. Properties that are not in `columns` are left out.
 *
 * `null`, `undefined` and an absent property are NULL. Every other value is written by `createValueFormat`: as pg writes
 * it for a column of this type. A `Date` keeps its milliseconds, and a `bigint` keeps its digits.
 *
 * The function throws `EtlError` ETL-3558, with the name of the column, for a value that would be changed or lost.
 */
export function chooseEncoder(columns: readonly WrittenColumn[], options: EncodeOptions = {}): Encoder {
  const { jsonStrings = 'text', usesUtcDates } = options;
  const cells = columns.map(({ type }) =>
    chooseCell({ type, jsonStrings, formatDate: createDateFormat(usesUtcDates) }),
  );
  const names = columns.map(({ name }) => name);
  const formatLine = createLineFormatter(names, cells);
  return (rows) => {
    let text = '';
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i] as Row;
      try {
        text += formatLine(row);
      } catch (error) {
        throw createUnencodableError(row, names, { cells, error });
      }
    }
    // UTF-8 would silently replace half of a surrogate pair by U+FFFD.
    if (!(text as WellFormed).isWellFormed()) throw createIllFormedTextError(rows, names, cells);
    return toBytes(text);
  };
}

/** A longer text gets a buffer of its own. */
const CHUNK_BYTES = 256 * 1024;
/** The maximum size of a UTF-16 code unit in UTF-8. */
const MOST_BYTES = 3;

/**
 * Returns a text in UTF-8. A short text is written into a chunk of `hooks/chunks.ts`, which can be used again; a longer
 * text gets its own memory.
 */
function toBytes(text: string): Buffer {
  if (text.length * MOST_BYTES > CHUNK_BYTES) return Buffer.from(text);
  const chunk = takeChunk(CHUNK_BYTES);
  return chunk.subarray(0, chunk.write(text));
}

/**
 * Returns a function that writes one row with its line break. It is compiled for the columns: for the columns `a` and
 * `b` it is `(row) => cell0(row["a"]) + '\t' + cell1(row["b"]) + '\n'`. A loop over the columns takes a third longer.
 */
function createLineFormatter(columns: readonly string[], cells: readonly FormatCell[]): (row: Row) => string {
  const names = cells.map((_, i) => `cell${i}`).join();
  const texts = columns.map((name, i) => `cell${i}(${buildAccess(name)})`).join(` + '\\t' + `);
  const body = `const [${names}] = cells; return (row) => ${texts || "''"} + '\\n'`;
  // oxlint-disable-next-line typescript/no-implied-eval -- the text contains only numbers, and names as JSON
  return new Function('cells', body)(cells) as (row: Row) => string;
}

/**
 * Returns the code that reads a property of `row`. Every object inherits `constructor`, `toString` and the like: a row
 * without an own property of such a name has no value there.
 */
function buildAccess(name: string): string {
  const key = JSON.stringify(name);
  return isInherited(name) ? `(Object.hasOwn(row, ${key}) ? row[${key}] : undefined)` : `row[${key}]`;
}

/** Says whether every object inherits a property of this name. */
function isInherited(name: string): boolean {
  return name in Object.prototype;
}

/** Returns the value of a row, and undefined for a property that every object inherits. */
export function readValue(row: Row, name: string): unknown {
  return isInherited(name) && !Object.hasOwn(row, name) ? undefined : row[name];
}

/** Chooses how the values of one column are written as COPY text. */
export function chooseCell(options: TextOptions): FormatCell {
  const format = createValueFormat(options);
  return isJson(options.type) ? createJsonCellFormat(format) : createCellFormat(format, options.type);
}

/** Returns the value of a field of COPY's text format, as `chooseCell` writes it. NULL is `null`. */
export function readField(field: string): string | null {
  if (field === '\\N') return null;
  return field.replaceAll(/\\([\\tnr])/g, (_, sign: string) => ESCAPED[sign] ?? sign);
}

const ESCAPED: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r' };

const SPECIAL = /[\\\t\n\r]/;

/** Escapes the characters that have a meaning in COPY's text format: backslash, tab and line breaks. */
function escapeText(text: string): string {
  if (!SPECIAL.test(text)) return text;
  return text
    .replaceAll('\\', '\\\\')
    .replaceAll('\t', '\\t')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r');
}

/**
 * Returns a function that writes the values of a column that is not JSON, escaped for COPY. `format` writes a value
 * without escapes.
 */
function createCellFormat(format: ValueFormat, type: ValueType | undefined): FormatCell {
  return (value) => {
    // The most frequent types come first.
    if (typeof value === 'string') return SPECIAL.test(value) ? escapeText(value) : value;
    if (value === null || value === undefined) return '\\N';
    if (typeof value === 'number') return formatNumber(value);
    if (typeof value === 'boolean') return '' + value;
    // The number of a JSON text, which needs no escapes.
    if (value instanceof ExactNumber) return formatExactNumber(value, type);
    return escapeText(format(value));
  };
}

/** Returns a function that writes the values of a JSON column, escaped for COPY. */
function createJsonCellFormat(format: ValueFormat): FormatCell {
  return (value) => (value === null || value === undefined ? '\\N' : escapeText(format(value)));
}

function isJson(type: ValueType | undefined): boolean {
  return type !== undefined && !type.isArray && findTextForm(type.oid) === 'json';
}

/**
 * Creates the error ETL-3558 for a row that can't be written. `error` is the error of the row. Each column is written
 * again, alone, to find the one that fails.
 */
function createUnencodableError(
  row: Row,
  columns: readonly string[],
  { cells, error }: { readonly cells: readonly FormatCell[]; readonly error: unknown },
): EtlError {
  const column = columns.find((name, i) => {
    try {
      cells[i]?.(readValue(row, name));
      return false;
    } catch {
      return true;
    }
  });
  return new EtlError('ETL-3558', {
    what: `the value of column "${column ?? '?'}" can't be written for PostgreSQL`,
    why: describeThrown(error),
    fix: 'give a string, a number, a boolean, a Date, a Buffer, null, or an array or a plain object of these',
    cause: error,
  });
}

/** Creates the error ETL-3558 for half of a surrogate pair. Searches the column whose text contains it. */
function createIllFormedTextError(
  rows: readonly Row[],
  columns: readonly string[],
  cells: readonly FormatCell[],
): EtlError {
  const column = columns.find((name, i) =>
    rows.some((row) => !((cells[i]?.(readValue(row, name)) ?? '') as WellFormed).isWellFormed()),
  );
  return new EtlError('ETL-3558', {
    what: `a value of column "${column ?? '?'}" holds half of a surrogate pair, which is not a character`,
    fix: 'call toWellFormed() on the text',
  });
}
