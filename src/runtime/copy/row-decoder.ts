/** The name and the type of a column of a result. */
export interface Field {
  readonly name: string;
  readonly dataTypeID: number;
}

/** Converts the text of the server to a value. */
export type Parse = (text: string) => unknown;

/** Converts the text of the server to a value, from the `size` bytes that begin at `at`. Creates no string. */
export type ReadInPlace = (bytes: Buffer, at: number, size: number) => unknown;

/** How to read the values of one column. Without `parse` and `readInPlace` a value is the text of the server. */
export interface Column {
  readonly parse?: Parse;
  readonly readInPlace?: ReadInPlace;
}

/** Converts the content of DataRow messages, one after the other, to rows. */
export type DecodeRows = (bytes: Buffer) => unknown[];

/** The maximum length of a substring that V8 copies. A longer substring would keep the whole text in memory. */
const SHORT = 12;

/**
 * Returns a function that decodes the rows of one result. `columns` has one item for each field. The function is
 * compiled for the fields, so that one object literal creates each row. This takes half the time of adding the fields
 * one by one. https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-DATAROW
 */
export function createRowDecoder(fields: readonly Field[], columns: readonly Column[]): DecodeRows {
  // The last of several columns with the same name counts, like in pg.
  const last = new Map(fields.map(({ name }, index) => [name, index]));
  // Each value begins with its size in four bytes. The size -1 means NULL.
  const reads = columns.map(
    (column, i) => `size = bytes.readInt32BE(at); at += 4;
      const v${i} = size < 0 ? null : ${getValue(column, i)}; if (size > 0) at += size;`,
  );
  const row = [...last].map(([name, i]) => `${quoteKey(name)}: v${i}`);
  // Each row begins with the number of its columns in two bytes, which is known already.
  const body = `const rows = [], all = bytes.latin1Slice();
    let at = 0, size;
    while (at < bytes.length) { at += 2; ${reads.join('\n')} rows.push({ ${row.join(', ')} }); }
    return rows;`;
  const [parse, readInPlace] = [columns.map((each) => each.parse), columns.map((each) => each.readInPlace)];
  // oxlint-disable-next-line typescript/no-implied-eval -- the text contains only numbers, and names as JSON
  const make = new Function('parse', 'readInPlace', 'textAt', `return (bytes) => { ${body} }`);
  return make(parse, readInPlace, readText) as DecodeRows;
}

/** Returns the code that reads one value: `readInPlace[2](bytes, at, size)` for the third column, for example. */
function getValue({ parse, readInPlace }: Column, index: number): string {
  if (readInPlace) return `readInPlace[${index}](bytes, at, size)`;
  return parse ? `parse[${index}](${TEXT})` : TEXT;
}

const TEXT = 'textAt(bytes, all, at, size)';

/** Returns a name as the key of an object literal. The plain key `"__proto__"` would set the prototype. */
export function quoteKey(name: string): string {
  return name === '__proto__' ? '["__proto__"]' : JSON.stringify(name);
}

/** A method of Buffer that its types do not declare. Faster than `toString`, because the method checks no arguments. */
interface TextBytes extends Buffer {
  utf8Slice(start: number, end: number): string;
}

/**
 * Reads a text of `size` bytes in UTF-8. `all` is the whole buffer as latin1. A short ASCII text is a substring of
 * `all`, because latin1 and UTF-8 are equal for ASCII, and a substring is faster than decoding.
 */
function readText(bytes: TextBytes, all: string, start: number, size: number): string {
  const end = start + size;
  if (size > SHORT) return bytes.utf8Slice(start, end);
  for (let at = start; at < end; at++) if ((bytes[at] ?? 0) > 127) return bytes.utf8Slice(start, end);
  return all.substring(start, end);
}
