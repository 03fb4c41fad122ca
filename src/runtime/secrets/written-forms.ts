/** The characters of a secret that stand for themselves in every notation. */
const PLAIN = /^[A-Za-z0-9]$/;
/** The backslashes before an escape: each level of escaping doubles them. */
const ESCAPE = '\\\\{1,8}';
/** The other notations of a character, as regular expressions. */
const NOTATIONS: Readonly<Record<string, readonly string[]>> = {
  ' ': ['\\+'],
  '\t': [`${ESCAPE}t`],
  // A report indents the further lines of a text.
  '\n': ['\\r\\n[ \\t]{0,16}', '\\n[ \\t]{0,16}', `(?:${ESCAPE}r)?${ESCAPE}n`],
  '\r': [`${ESCAPE}r`],
  // SQL doubles a quote. A shell ends the text, and writes the quote as \' or "'".
  "'": ["''", "'\\\\'+", `'"'"'`, '&apos;'],
  '"': ['""', '&quot;'],
  '&': ['&amp;'],
  '<': ['&lt;'],
  '>': ['&gt;'],
};
/** A secret is searched in pieces of this length, so that a part of a long key is also found. */
const PIECE_LENGTH = 32;
/** The shortest secret that is also searched in base64 and in hexadecimal digits. */
const MIN_ENCODED_LENGTH = 6;

/**
 * Returns a regular expression that matches the text in every notation, character by character: as it is, percent-encoded
 * in any case and also repeatedly, escaped by backslashes, as `\u` and `\x` escapes of JSON and JavaScript, and quoted for
 * SQL, a shell and HTML. One text may mix notations: libraries encode different characters.
 */
export function createTextPattern(piece: string): string {
  return listCharacterPatterns(piece).join('');
}

/**
 * Returns regular expressions that match a longer text with the secret in base64, also in the alphabet for URLs, and in
 * hexadecimal digits, each with a text that every match contains. The text is encoded as a whole, as `user:password` is for HTTP, so each of the three alignments of
 * base64 has its own expression. Up to three characters before and after a match also depend on the secret.
 */
export function listEncodedPatterns(
  secret: string,
): readonly { readonly seed: string; readonly pattern: string }[] {
  const bytes = Buffer.from(secret);
  if (bytes.length < MIN_ENCODED_LENGTH) return [];
  const hex = bytes.toString('hex');
  const base64 = [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64');
    const core = text.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + bytes.length) * 8) / 6));
    const pattern = core.replaceAll('+', '(?:[+-]|%2[bB])').replaceAll('/', '(?:\\\\{0,8}/|_|%2[fF])');
    return { seed: findLongestWord(core), pattern };
  });
  const digits = [hex, hex.toUpperCase()].map((text) => ({ seed: text.slice(0, 8), pattern: text }));
  return [...base64, ...digits];
}

/** Returns the longest run of letters and digits in a text. */
function findLongestWord(text: string): string {
  return text
    .split(/[^A-Za-z0-9]/)
    .reduce((longest, word) => (word.length > longest.length ? word : longest), '');
}

/**
 * Splits a secret into its lines, and a long line into pieces, because programs cut long texts. A short secret stays whole,
 * also with line breaks.
 */
export function splitSecret(secret: string): readonly string[] {
  const characters = Array.from(secret);
  if (characters.length < 2 * PIECE_LENGTH) return [secret];
  const lines = secret.split(/\r?\n/);
  // A line such as `-----BEGIN PRIVATE KEY-----` and a short last line say nothing alone.
  if (lines.length > 1)
    return lines.filter((line) => line.length >= 16 && !line.startsWith('-----')).flatMap(splitSecret);
  const pieces: string[] = [];
  for (let start = 0; start < characters.length; start += PIECE_LENGTH) {
    // The rest of the text is at least one piece long, so that no piece is short.
    const isLast = characters.length - start < 2 * PIECE_LENGTH;
    pieces.push(characters.slice(start, isLast ? undefined : start + PIECE_LENGTH).join(''));
    if (isLast) break;
  }
  return pieces;
}

/** The shortest beginning of a secret that is matched where a text was cut, in characters. */
const MIN_CUT_LENGTH = 4;
/** A part of a notation, or half a character, that was cut. */
const CUT_ESCAPE = `(?:(?:%(?:25){0,4}[0-9a-fA-F]{0,2}){1,4}|${ESCAPE}(?:[ux][0-9a-fA-F]{0,3})?|&[#\\w]{0,6}|[\\uD800-\\uDBFF])?`;

/**
 * Returns a regular expression for at least `MIN_CUT_LENGTH` characters of a text before `…`, which stands where a text was
 * cut. Undefined for a short text.
 */
export function createCutPattern(piece: string): string | undefined {
  const characters = listCharacterPatterns(piece);
  if (characters.length <= MIN_CUT_LENGTH) return undefined;
  const start = characters.slice(0, MIN_CUT_LENGTH).join('');
  const more = characters.slice(MIN_CUT_LENGTH).reduceRight((rest, each) => `(?:${each}${rest})?`, '');
  return `${start}${more}${CUT_ESCAPE}(?=…)`;
}

/**
 * Returns a regular expression for each character of a text. Every repetition has a limit, so a match takes linear time.
 */
function listCharacterPatterns(text: string): readonly string[] {
  const parts: string[] = [];
  let isAfterRun = false;
  // A run of backslashes is matched as a whole, because each level of escaping doubles the run.
  for (const [part] of text.matchAll(/\\+|\r\n|[^\\]/gsu)) {
    const pattern = part.startsWith('\\')
      ? matchBackslashes(part.length)
      : matchCharacter(part === '\r\n' ? '\n' : part);
    // A run of backslashes before the part includes those of an escape.
    parts.push(isAfterRun ? pattern.replaceAll(ESCAPE, '\\\\{0,8}') : pattern);
    isAfterRun = part.startsWith('\\');
  }
  return parts;
}

/** Returns a regular expression for a run of backslashes in any notation, escaped up to four times. */
function matchBackslashes(count: number): string {
  // A part of plain backslashes ends where the run ends, so a run can be divided in one way only.
  const part = `\\\\{1,${16 * count}}(?!\\\\)|%(?:25){0,4}5[cC]|\\\\{1,8}u005[cC]|&#92;`;
  return `(?:${part}){1,${count}}`;
}

/** Returns a regular expression that matches one character in all notations. */
function matchCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  const escaped = escapeCharacter(character);
  const raw = PLAIN.test(character) ? character : `\\\\{0,8}${escaped}`;
  const percent = [...Buffer.from(character)].map((byte) => `%(?:25){0,4}${matchHex(toHex(byte, 2))}`);
  const units = Array.from({ length: character.length }, (_, i) => toHex(character.charCodeAt(i), 4));
  const alternatives = [
    ...(NOTATIONS[character] ?? []),
    raw,
    percent.join(''),
    units.map((unit) => `${ESCAPE}u${matchHex(unit)}`).join(''),
    `${ESCAPE}u\\{0{0,4}${matchHex(toHex(code, 1))}\\}`,
    ...(code < 256 ? [`${ESCAPE}x${matchHex(toHex(code, 2))}`] : []),
    `&#0{0,4}${code};`,
    `&#[xX]0{0,4}${matchHex(toHex(code, 1))};`,
  ];
  return `(?:${alternatives.join('|')})`;
}

function escapeCharacter(character: string): string {
  return /[\^$\\.*+?()[\]{}|/-]/.test(character) ? `\\${character}` : character;
}

function toHex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0');
}

/** Returns a regular expression for hexadecimal digits in upper and lower case: `2f` -> `2[fF]`. */
function matchHex(digits: string): string {
  return digits.replace(/[a-f]/g, (letter) => `[${letter}${letter.toUpperCase()}]`);
}
