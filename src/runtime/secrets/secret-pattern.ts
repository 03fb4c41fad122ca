import { createCutPattern, createTextPattern, listEncodedPatterns } from './written-forms.js';

/** A part of a text: from `start` up to, but not including, `end`. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** The longest text that is searched before a regular expression is compiled, in characters. */
const SEED_LENGTH = 4;
/** Matches a character that can begin another notation of a character. */
const ESCAPE = /[%\\&]/;

/**
 * Finds one secret, or a piece of a long secret, in texts. Compiling a regular expression takes milliseconds, so each one is
 * compiled when a text first contains its seed: a short text that every match contains.
 */
export class SecretPattern {
  readonly #piece: string;
  readonly #isWord: boolean;
  /** The letters and digits that begin the secret. Empty if it begins with another character. */
  readonly #seed: string;
  #text: RegExp | undefined;
  #cut: RegExp | null | undefined;
  #encoded: ReturnType<typeof listEncodedPatterns> | undefined;

  /** With `isWord`, the piece is found only between characters that are no letters and digits. */
  constructor(piece: string, isWord: boolean) {
    this.#piece = piece;
    this.#isWord = isWord;
    this.#seed = /^[A-Za-z0-9]*/.exec(piece)?.[0].slice(0, SEED_LENGTH) ?? '';
  }

  /** Finds the secret in all notations. Matches can overlap. */
  findAll(text: string): readonly Range[] {
    const found: Range[] = [];
    if (text.includes(this.#seed) || ESCAPE.test(text)) {
      this.#text ??= this.#compileText();
      found.push(...findMatches(this.#text, text));
      if (text.includes('…')) found.push(...this.#findCut(text));
    }
    this.#encoded ??= listEncodedPatterns(this.#piece);
    for (const { seed, pattern } of this.#encoded)
      if (text.includes(seed))
        found.push(...findMatches(new RegExp(pattern, 'g'), text).map((range) => widen(text, range)));
    return found;
  }

  #findCut(text: string): readonly Range[] {
    if (this.#cut === undefined) {
      const pattern = createCutPattern(this.#piece);
      this.#cut = pattern === undefined ? null : new RegExp(pattern, 'g');
    }
    return this.#cut === null ? [] : findMatches(this.#cut, text);
  }

  #compileText(): RegExp {
    const pattern = createTextPattern(this.#piece);
    return new RegExp(this.#isWord ? `(?<![A-Za-z0-9])${pattern}(?![A-Za-z0-9])` : pattern, 'g');
  }
}

/** Finds all matches, also those that overlap. */
function findMatches(pattern: RegExp, text: string): readonly Range[] {
  const found: Range[] = [];
  pattern.lastIndex = 0;
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    found.push({ start: match.index, end: match.index + match[0].length });
    pattern.lastIndex = match.index + 1;
  }
  return found;
}

/** Widens the part of an encoded text by the characters that a secret shares with the text beside it. */
function widen(text: string, { start, end }: Range): Range {
  const before = /[A-Za-z0-9+/_-]{0,3}$/.exec(text.slice(Math.max(0, start - 3), start))?.[0] ?? '';
  const after = /^[A-Za-z0-9+/_=-]{0,3}/.exec(text.slice(end, end + 3))?.[0] ?? '';
  return { start: start - before.length, end: end + after.length };
}
