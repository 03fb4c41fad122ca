/** A property of a JSON object, as the parts of the text. */
export interface JsonProperty {
  /** The name with its quotes and escapes: `"a\u00e9"`. */
  readonly key: string;
  readonly name: string;
  /** The value with its quotes and escapes, without spaces around it. */
  readonly value: string;
}

/** Splits the text of a JSON object into its properties, in the order of the text. The text must be valid JSON. */
export function splitProperties(text: string): readonly JsonProperty[] {
  const properties: JsonProperty[] = [];
  let at = skipSpace(text, text.indexOf('{') + 1);
  while (text[at] === '"') {
    const keyEnd = findStringEnd(text, at);
    const key = text.slice(at, keyEnd);
    const start = skipSpace(text, text.indexOf(':', keyEnd) + 1);
    const end = findValueEnd(text, start);
    const name = key.includes('\\') ? (JSON.parse(key) as string) : key.slice(1, -1);
    properties.push({ key, name, value: text.slice(start, end) });
    at = skipSpace(text, end);
    // A comma, or the brace that ends the object.
    at = skipSpace(text, at + 1);
  }
  return properties;
}

const QUOTE = 34;
const BACKSLASH = 92;

/**
 * Returns the index after the string that begins with the quote at `at`, or -1 if the string does not end in the text. A
 * quote after an odd number of backslashes does not end the string.
 */
export function findStringEnd(text: string, at: number): number {
  for (let end = text.indexOf('"', at + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return end + 1;
  }
  return -1;
}

/** Returns the index after the array or object that begins at `at`, or -1 if it does not end in the text. */
export function findContainerEnd(text: string, at: number): number {
  let depth = 0;
  for (let end = at; end < text.length; end++) {
    const code = text.charCodeAt(end);
    if (code === QUOTE) {
      end = findStringEnd(text, end) - 1;
      if (end < 0) return -1;
    } else if (code === OPEN_BRACE || code === OPEN_BRACKET) depth++;
    else if ((code === CLOSE_BRACE || code === CLOSE_BRACKET) && --depth === 0) return end + 1;
  }
  return -1;
}

const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;
const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;

/** Returns the index after the value that begins at `at`. The text must be valid JSON. */
function findValueEnd(text: string, at: number): number {
  const code = text.charCodeAt(at);
  if (code === QUOTE) return findStringEnd(text, at);
  if (code === OPEN_BRACE || code === OPEN_BRACKET) return findContainerEnd(text, at);
  SCALAR.lastIndex = at;
  SCALAR.test(text);
  return SCALAR.lastIndex;
}

/** Matches a number, `true`, `false` or `null`. */
const SCALAR = /[\w.+-]+/y;
const SPACE = /[ \t\n\r]*/y;
/** The white space of JSON has no higher code. */
const SPACE_CODE = 32;

/** Returns the index of the first character at or after `at` that is not white space of JSON. */
export function skipSpace(text: string, at: number): number {
  if (text.charCodeAt(at) > SPACE_CODE) return at;
  SPACE.lastIndex = at;
  SPACE.test(text);
  return SPACE.lastIndex;
}
