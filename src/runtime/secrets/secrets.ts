import type { Credentials } from './credentials.js';
import { maskPositions } from './secret-positions.js';
import { listEncodedPatterns, listTextPatterns } from './written-forms.js';

/** The text that replaces a secret. */
const STARS = '***';
/** A shorter secret is not searched. It would hide parts of most words, and an output can't hide it anyway. */
const MIN_LENGTH = 4;
/** A shorter secret is searched only as a whole word. */
const MIN_PART_LENGTH = 6;
/**
 * Words that etl itself prints. Such a word as a password is hidden where a text says that it is a password, as in a
 * URL, and not everywhere.
 */
const COMMON_WORDS: ReadonlySet<string> = new Set(
  (
    'postgres postgresql public default localhost password user host port name null true false none data where error ' +
    'attempt started success failed skipped running reused resume resumed session load unload transfer task check rows'
  ).split(' '),
);

/** A part of a text: from `start` up to, but not including, `end`. */
interface Range {
  readonly start: number;
  readonly end: number;
}

/** The regular expressions for all secrets. Undefined if there is no secret to search. */
interface Patterns {
  /** Matches a secret in any notation of text. */
  readonly text: RegExp | undefined;
  /** Matches a secret in base64 or in hexadecimal digits. */
  readonly encoded: RegExp | undefined;
}

/** Knows the secrets of this process, and masks them in texts. Secrets can be added at any time. */
export class Secrets {
  readonly #secrets = new Set<string>();
  readonly #known = new Set<string>();
  /** Created at the first use after a secret was added, because most calls of etl print little. */
  #patterns: Patterns | undefined;

  /**
   * Adds the secrets of a definition, and the texts beside them that are no secret: a password that equals the login
   * says nothing that the output does not say anyway.
   */
  add({ secrets, known }: Credentials): void {
    for (const secret of secrets) this.#secrets.add(secret);
    for (const text of known) this.#known.add(text.toLowerCase());
    this.#patterns = undefined;
  }

  /**
   * Returns the text with `***` for each secret in any notation, and for each text in a position where only a secret
   * can be, such as the password of a URL.
   */
  mask(text: string): string {
    const ranges = this.#findRanges(text);
    let masked = '';
    let end = 0;
    for (const range of ranges) {
      masked += text.slice(end, range.start) + STARS;
      end = range.end;
    }
    return maskPositions(masked + text.slice(end));
  }

  /** Returns the text with as many stars as a secret has characters, so that all positions in the text stay valid. */
  cover(text: string): string {
    let covered = text;
    for (const { start, end } of this.#findRanges(text))
      covered = covered.slice(0, start) + '*'.repeat(end - start) + covered.slice(end);
    return covered;
  }

  /** Returns the parts of the text that are secret, in order. Parts that overlap or touch are one part. */
  #findRanges(text: string): readonly Range[] {
    const { text: plain, encoded } = (this.#patterns ??= this.#createPatterns());
    const found = [
      ...findMatches(plain, text),
      ...findMatches(encoded, text).map((range) => widen(text, range)),
    ];
    const merged: Range[] = [];
    for (const { start, end } of found.toSorted((a, b) => a.start - b.start)) {
      const last = merged.at(-1);
      if (last === undefined || start > last.end) merged.push({ start, end });
      else if (end > last.end) merged[merged.length - 1] = { start: last.start, end };
    }
    return merged;
  }

  #createPatterns(): Patterns {
    const searched = [...this.#secrets].filter((secret) => this.#isSearched(secret));
    const text = searched.flatMap((secret) => {
      const isWord = Array.from(secret).length < MIN_PART_LENGTH;
      return listTextPatterns(secret).map((pattern) =>
        isWord ? `(?<![A-Za-z0-9])${pattern}(?![A-Za-z0-9])` : pattern,
      );
    });
    return { text: joinPatterns(text), encoded: joinPatterns(searched.flatMap(listEncodedPatterns)) };
  }

  /** Says whether a secret is searched in texts: it is long enough, and no ordinary word. */
  #isSearched(secret: string): boolean {
    const word = secret.toLowerCase();
    if (Array.from(secret).length < MIN_LENGTH || /^[*.x]+$/i.test(secret)) return false;
    return !COMMON_WORDS.has(word) && !this.#known.has(word);
  }
}

/**
 * The secrets of this process. Every place that learns a secret adds it here, and every output is masked with it. A
 * process has one set, because a secret of one run must not appear in any output of the process.
 */
export const secrets = new Secrets();

/**
 * Returns at most `limit` UTF-16 units of a text, and `…` if the text is longer. Secrets are covered before, because
 * nobody recognises a part of a secret later.
 */
export function cutText(text: string, limit: number): string {
  if (text.length <= limit) return text;
  // Half a character at the end is removed.
  return `${secrets
    .cover(text)
    .slice(0, limit)
    .replace(/[\uD800-\uDBFF]$/, '')}…`;
}

/** Joins regular expressions to one. The longest comes first, because the first that matches counts. */
function joinPatterns(patterns: readonly string[]): RegExp | undefined {
  if (patterns.length === 0) return undefined;
  const unique = [...new Set(patterns)].toSorted((a, b) => b.length - a.length);
  return new RegExp(unique.join('|'), 'g');
}

/** Finds all matches, also those that overlap. */
function findMatches(pattern: RegExp | undefined, text: string): readonly Range[] {
  const found: Range[] = [];
  if (pattern === undefined) return found;
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
