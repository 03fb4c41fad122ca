import { readTokens } from './scan.js';

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
