import { cutText } from '../secrets/secrets.js';
import { formatCaretExcerpt, toIndex } from './excerpt.js';
import { readTokens } from './scan.js';

/** The maximum length of a statement in a message, in UTF-16 units. */
const STATEMENT_LIMIT = 200;

/** Writes a statement in one line without its constants, and cuts the line. Example: `select … from t where name = '…'`. */
export function shortenHidden(sql: string): string {
  return cutText(joinHidden(hideLiterals(sql)).trim().replaceAll(/\s+/g, ' '), STATEMENT_LIMIT);
}

/**
 * Returns the line of a statement with a position, without its constants, and a caret below the position. `position` counts
 * characters from 1.
 */
export function formatHiddenExcerpt(sql: string, position: number): string {
  const hidden = hideLiterals(sql);
  const at = toIndex(sql, position);
  const before = joinHidden(hidden.slice(0, at));
  return formatCaretExcerpt(before + joinHidden(hidden.slice(at)), Array.from(before).length + 1);
}

/** Replaces each row of `…` by one `…`, so that a constant shows nothing of its length. */
function joinHidden(hidden: string): string {
  return hidden.replaceAll(/…(?:\s*…)*/g, '…');
}

/**
 * Replaces each letter of the constants in an SQL text by `…`: a text becomes `'…'` of the same length, and a number `…`.
 * Names, comments and parameters stay. Code that builds SQL can write values of rows into it, and this function hides
 * them. Returns a text of the same length. A text that can't be split into tokens is hidden from its first quote on.
 */
export function hideLiterals(sql: string): string {
  try {
    let shown = '';
    for (const { kind, start, end } of readTokens(sql)) {
      const text = sql.slice(start, end);
      const isConstant = kind === 'number' || (kind === 'quoted' && !text.startsWith('"'));
      shown += isConstant ? hideLetters(text) : text;
    }
    return shown;
  } catch {
    // The server's error about the text is reported. The quote that does not end has no error of its own here.
    const quote = Math.max(0, sql.search(/['$]/));
    return sql.slice(0, quote) + hideLetters(sql.slice(quote));
  }
}

/** Replaces the letters and digits of a text, apart from the prefix `E` of a quote. */
function hideLetters(text: string): string {
  return text.replaceAll(/[^\s'$]/g, '…');
}
