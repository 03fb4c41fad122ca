/** Python's `quote(text, safe='')`, which Airflow writes URIs with: only `A-Z a-z 0-9 _ . - ~` stay as they are. */
export function quote(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, escapeCharacter);
}

/** Python's `quote_plus`, for the names and values of a query: like `quote`, but a space becomes `+`. */
export function quotePlus(text: string): string {
  return quote(text).replaceAll('%20', '+');
}

/**
 * Python's `unquote`: a `%` that starts no escape stays as it is. Undefined where the escaped bytes are not UTF-8:
 * Python puts U+FFFD there, which can't be what somebody meant.
 */
export function unquote(text: string): string | undefined {
  try {
    return text.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => decodeURIComponent(escapes));
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

/** The escape of one ASCII character. */
export function escapeCharacter(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
}
