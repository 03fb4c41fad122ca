const TOKEN = /[\p{ID_Continue}$]+|[^\s\p{ID_Continue}$]/gu;
/** Comparing longer lines with each other would take too long: nobody writes them, and columns matter less there. */
const MOST_PAIRS = 4_000_000;

/**
 * The column in the line `from` of what is at `column` in `line`, which was made of it: by the longest sequence of words
 * and signs that both have. What is only in `line` is taken for what is before it. Columns count from 0.
 */
export function alignedColumn(line: string, from: string, column: number): number {
  if (line === from) return column;
  const [made, original] = [tokensOf(line), tokensOf(from)];
  if (made.length * original.length > MOST_PAIRS) return column;
  const lengths = commonLengths(made, original);
  let [i, j, found] = [0, 0, 0];
  while (i < made.length && j < original.length && (made[i]?.at ?? 0) <= column) {
    if (made[i]?.text === original[j]?.text) {
      found = original[j]?.at ?? found;
      [i, j] = [i + 1, j + 1];
    } else if ((lengths[i + 1]?.[j] ?? 0) >= (lengths[i]?.[j + 1] ?? 0)) i += 1;
    else j += 1;
  }
  return found;
}

interface Token {
  readonly text: string;
  readonly at: number;
}

function tokensOf(line: string): readonly Token[] {
  return Array.from(line.matchAll(TOKEN), ({ 0: text, index: at }) => ({ text, at }));
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
