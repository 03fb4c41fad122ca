import { describeThrown, EtlError } from '../../errors.js';
import { takeChunk } from '../../hooks/chunks.js';
import { formatDate } from './date-time.js';
import { ExactNumber, buildJson } from './exact-number.js';

/** The values of a row, by the names of the columns. */
export type Row = Readonly<Record<string, unknown>>;

/** How to write values whose JavaScript type does not decide the text. */
export interface EncodeOptions {
  /**
   * The columns of type `json` and `jsonb`. An array in such a column is JSON. In other columns an array is a
   * PostgreSQL array.
   */
  readonly json?: readonly string[];
  /**
   * How to write a string in a column of `json`. With `text` the string is JSON text, and is written unchanged. With
   * `value` the string is a value, and is written with quotes. Default `text`.
   */
  readonly jsonStrings?: 'text' | 'value';
}

/** Writes rows as bytes for COPY in the text format. The bytes may be a chunk of `hooks/chunks.ts`. */
export type Encoder = (rows: readonly Row[]) => Buffer;

/** Writes one value as COPY text. */
type FormatCell = (value: unknown) => string;

/**
 * Returns a function that writes rows for `COPY … FROM STDIN` in the text format. The values of a row are in the order
 * of `columns`. Properties that are not in `columns` are left out.
 *
 * `null`, `undefined` and an absent property are NULL. A `Date` keeps its milliseconds, and a `bigint` keeps its
 * digits. A `Buffer` is `bytea`, an array is a PostgreSQL array, and any other object is JSON. An object with
 * `toPostgres()` is written as the value that this method returns, like in pg.
 *
 * The function throws `EtlError` ETL-3558, with the name of the column, for a value that would be changed or lost.
 */
export function chooseEncoder(columns: readonly string[], options: EncodeOptions = {}): Encoder {
  const json = new Set(options.json);
  const cells = columns.map((name): FormatCell => {
    if (!json.has(name)) return formatCell;
    return options.jsonStrings === 'value' ? formatJsonValueCell : formatJsonCell;
  });
  const formatLine = createLineFormatter(columns, cells);
  return (rows) => {
    let text = '';
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i] as Row;
      try {
        text += formatLine(row);
      } catch (error) {
        throw createUnencodableError(row, columns, { cells, error });
      }
    }
    // UTF-8 would silently replace half of a surrogate pair by U+FFFD.
    if (!(text as WellFormed).isWellFormed()) throw createIllFormedTextError(rows, columns);
    return toBytes(text);
  };
}

/** A string with a method of ECMAScript 2024. Node 20 has the method, but the type library does not declare it. */
type WellFormed = string & { isWellFormed(): boolean };

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
  const texts = columns.map((name, i) => `cell${i}(row[${JSON.stringify(name)}])`).join(` + '\\t' + `);
  const body = `const [${names}] = cells; return (row) => ${texts || "''"} + '\\n'`;
  // oxlint-disable-next-line typescript/no-implied-eval -- the text contains only numbers, and names as JSON
  return new Function('cells', body)(cells) as (row: Row) => string;
}

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

/** Writes the value of a column that is not JSON. Throws a `TypeError` for a function or a symbol. */
function formatCell(value: unknown): string {
  // The most frequent types come first.
  if (typeof value === 'string') return SPECIAL.test(value) ? escapeText(value) : value;
  if (value === null || value === undefined) return '\\N';
  if (typeof value === 'object') return escapeText(formatObject(value));
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return '' + value;
  throw new TypeError(`a ${typeof value} can't be the value of a column`);
}

/** Writes the value of a JSON column in which a string is JSON text already. */
function formatJsonCell(value: unknown): string {
  return typeof value === 'object' && value !== null ? escapeText(buildJson(value)) : formatCell(value);
}

/** Writes the value of a JSON column in which a string is a value and needs quotes. */
function formatJsonValueCell(value: unknown): string {
  return value === null || value === undefined ? '\\N' : escapeText(buildJson(value));
}

/**
 * Returns an object as the text of a PostgreSQL value, not yet escaped for COPY. An object without a type of its own is
 * JSON. The result of `toPostgres()` is formatted in the same way.
 */
function formatObject(value: unknown): string {
  if (value instanceof Date) return formatDate(value);
  if (value instanceof Uint8Array) return formatBytes(value);
  if (Array.isArray(value)) return formatArray(value);
  if (value instanceof ExactNumber) return value.text;
  const { toPostgres } = value as { toPostgres?: (prepare: (part: unknown) => unknown) => unknown };
  if (typeof toPostgres !== 'function') return buildJson(value);
  const prepared = toPostgres.call(value, (part) => part);
  return typeof prepared === 'object' && prepared !== null ? formatObject(prepared) : String(prepared);
}

/** Returns a text in UTF-8. Returns bytes as a `Buffer` that shares their memory. */
export function toBuffer(part: string | Uint8Array): Buffer {
  return typeof part === 'string'
    ? Buffer.from(part)
    : Buffer.from(part.buffer, part.byteOffset, part.byteLength);
}

/** Returns bytes as the text of a `bytea`. */
export function formatBytes(bytes: Uint8Array): string {
  return `\\x${toBuffer(bytes).toString('hex')}`;
}

/** Writes a PostgreSQL array: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO */
function formatArray(items: readonly unknown[]): string {
  return `{${items.map(formatItem).join(',')}}`;
}

/**
 * Writes one item of an array: `NULL`, a number or boolean without quotes, a nested array, or a text in double quotes.
 */
function formatItem(item: unknown): string {
  if (item === null || item === undefined) return 'NULL';
  if (Array.isArray(item)) return formatArray(item);
  if (typeof item === 'number' || typeof item === 'bigint' || typeof item === 'boolean') return String(item);
  const text = typeof item === 'string' ? item : formatObject(item);
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
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
      cells[i]?.(row[name]);
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
function createIllFormedTextError(rows: readonly Row[], columns: readonly string[]): EtlError {
  const column = columns.find((name) =>
    rows.some((row) => !(formatCell(row[name]) as WellFormed).isWellFormed()),
  );
  return new EtlError('ETL-3558', {
    what: `a value of column "${column ?? '?'}" holds half of a surrogate pair, which is not a character`,
    fix: 'call toWellFormed() on the text',
  });
}
