const TOKEN = /[\p{ID_Continue}$]+|[^\s\p{ID_Continue}$]/gu;
/** Comparing longer lines with each other would take too long: nobody writes them, and columns matter less there. */
const MOST_PAIRS = 4_000_000;

/**
 * The column in the line `from` of what is at `column` in `line`, which was made of it: by the longest sequence of words
 * and signs that both have. What is only in `line` is taken for what is before it. Columns count from 0.
 */
export function alignedColumn(line: string, from: string, column: number): number {
  if (line === from) return column;
  const [made, original] = [readTokens(line), readTokens(from)];
  if (made.length * original.length > MOST_PAIRS) return column;
  const pairs = commonTokens(made, original);
  return pairs.findLast(([token]) => token.at <= column)?.[1].at ?? 0;
}

interface Token {
  readonly text: string;
  readonly at: number;
}

function readTokens(line: string): readonly Token[] {
  return Array.from(line.matchAll(TOKEN), ({ 0: text, index: at }) => ({ text, at }));
}

/** The longest sequence of tokens that both have: each as it is in `a`, and as it is in `b`. */
function commonTokens(a: readonly Token[], b: readonly Token[]): readonly (readonly [Token, Token])[] {
  const lengths = commonLengths(a, b);
  const lengthAt = (i: number, j: number): number => lengths[i]?.[j] ?? 0;
  const pairs: (readonly [Token, Token])[] = [];
  let j = 0;
  for (const [i, token] of a.entries()) {
    // Tokens of `b` that the rest of the sequence does without.
    while (b[j]?.text !== token.text && lengthAt(i, j + 1) > lengthAt(i + 1, j)) j += 1;
    const same = b[j];
    if (same?.text !== token.text) continue;
    pairs.push([token, same]);
    j += 1;
  }
  return pairs;
}

/** For each pair of places, how many tokens both lines have in common from there on. */
function commonLengths(a: readonly Token[], b: readonly Token[]): readonly Uint16Array[] {
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    const [row, next] = [lengths[i] ?? new Uint16Array(), lengths[i + 1] ?? new Uint16Array()];
    for (let j = b.length - 1; j >= 0; j--) {
      const isSame = a[i]?.text === b[j]?.text;
      row[j] = isSame ? (next[j + 1] ?? 0) + 1 : Math.max(next[j] ?? 0, row[j + 1] ?? 0);
    }
  }
  return lengths;
}
