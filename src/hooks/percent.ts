/**
 * Percent-encodes like Python's `quote(text, safe='')`, which Airflow uses to write URIs: every character except
 * `A-Z a-z 0-9 _ . - ~` is encoded. `encodeURIComponent` leaves `! ' ( ) *`, too, so these are encoded afterwards.
 */
export function quote(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/**
 * Percent-encodes like Python's `quote_plus`, for names and values of a query: like `quote`, but a space becomes `+`.
 */
export function quotePlus(text: string): string {
  return quote(text).replaceAll('%20', '+');
}

/**
 * Decodes like Python's `unquote`: a `%` that starts no escape stays as it is. Returns undefined if the decoded bytes
 * are not UTF-8. Python writes U+FFFD for such bytes, which no user means.
 *
 * - `50%25%20off` -> `50% off`
 * - `50% off` -> `50% off`
 * - `%FF` -> undefined
 */
export function unquote(text: string): string | undefined {
  try {
    return text.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => decodeURIComponent(escapes));
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}
