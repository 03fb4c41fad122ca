import type { Credentials } from './credentials.js';
import { maskPositions } from './secret-positions.js';
import { SecretPattern, type Range } from './secret-pattern.js';
import { splitSecret } from './written-forms.js';

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

/** Knows the secrets of this process, and masks them in texts. Secrets can be added at any time. */
export class Secrets {
  readonly #secrets = new Set<string>();
  readonly #known = new Set<string>();
  /** Created at the first use after a secret was added. */
  #patterns: readonly SecretPattern[] | undefined;

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
    this.#patterns ??= this.#createPatterns();
    const found = this.#patterns.flatMap((pattern) => pattern.findAll(text));
    const merged: Range[] = [];
    for (const { start, end } of found.toSorted((a, b) => a.start - b.start)) {
      const last = merged.at(-1);
      if (last === undefined || start > last.end) merged.push({ start, end });
      else if (end > last.end) merged[merged.length - 1] = { start: last.start, end };
    }
    return merged;
  }

  #createPatterns(): readonly SecretPattern[] {
    const pieces = [...this.#secrets].filter((secret) => this.#isSearched(secret)).flatMap(splitSecret);
    return [...new Set(pieces)].map(
      (piece) => new SecretPattern(piece, Array.from(piece).length < MIN_PART_LENGTH),
    );
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
