/** The maximum number of columns of an excerpt. */
const WIDTH = 100;

/**
 * Returns the line of `sql` that contains a position, with a caret below the position. `position` counts characters
 * from 1, like PostgreSQL's error positions. The position after the last character is the end of the text. A long line
 * is cut to 100 columns around the position.
 */
export function formatCaretExcerpt(sql: string, position: number): string {
  // Shows the end of the text on the last line that is not empty.
  const at = Math.min(toIndex(sql, position), sql.trimEnd().length);
  const start = Math.max(sql.lastIndexOf('\n', at - 1), sql.lastIndexOf('\r', at - 1)) + 1;
  const before = splitCharacters(sql.slice(Math.max(start, at - 2 * WIDTH), at));
  const [rest = ''] = sql.slice(at, at + 2 * WIDTH).split(/[\r\n]/, 1);
  const left = before.slice(-Math.max(WIDTH / 2, WIDTH - splitCharacters(rest).length));
  const line = [...left, ...splitCharacters(rest)].slice(0, WIDTH).join('');
  return `${line}\n${' '.repeat(left.length)}^`;
}

/** Converts a position in characters to an index in UTF-16 units. */
function toIndex(sql: string, position: number): number {
  let index = 0;
  for (let character = 1; character < position && index < sql.length; character++) {
    index += (sql.codePointAt(index) ?? 0) > 0xff_ff ? 2 : 1;
  }
  return index;
}

/** Splits a text into characters of one column. A character that a terminal does not show becomes a space. */
function splitCharacters(text: string): string[] {
  return Array.from(text, (character) => (/[\p{Cc}\p{Cf}\p{Surrogate}]/u.test(character) ? ' ' : character));
}
