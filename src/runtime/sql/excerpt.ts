const WIDTH = 100;

/**
 * The line of `sql` that holds a position, and under it a caret. `position` is PostgreSQL's: in characters, from 1;
 * one after the last is the end of the text. Of a long line, 100 columns around the position.
 */
export function formatCaretExcerpt(sql: string, position: number): string {
  // The end of the text is better shown on its last line than below it.
  const at = Math.min(indexOf(sql, position), sql.trimEnd().length);
  const start = Math.max(sql.lastIndexOf('\n', at - 1), sql.lastIndexOf('\r', at - 1)) + 1;
  const before = splitCharacters(sql.slice(Math.max(start, at - 2 * WIDTH), at));
  const [rest = ''] = sql.slice(at, at + 2 * WIDTH).split(/[\r\n]/, 1);
  const left = before.slice(-Math.max(WIDTH / 2, WIDTH - splitCharacters(rest).length));
  const line = [...left, ...splitCharacters(rest)].slice(0, WIDTH).join('');
  return `${line}\n${' '.repeat(left.length)}^`;
}

/** The index in UTF-16 units of a position in characters. */
function indexOf(sql: string, position: number): number {
  let index = 0;
  for (let character = 1; character < position && index < sql.length; character++) {
    index += (sql.codePointAt(index) ?? 0) > 0xff_ff ? 2 : 1;
  }
  return index;
}

/** One column each: what a terminal does not show as such becomes a space. */
function splitCharacters(text: string): string[] {
  return Array.from(text, (character) => (/[\p{Cc}\p{Cf}\p{Surrogate}]/u.test(character) ? ' ' : character));
}
