/** A position in a text. Line and column count from 1. Columns count UTF-16 units, as editors do. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/**
 * The patterns match strings, which are kept (group 1), and comments, which are replaced. A comment sign in a string
 * begins no comment.
 */
const JS_NOISE = /("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\/[^\n]*|\/\*[\s\S]*?\*\//g;
const YAML_NOISE = /("(?:\\.|[^"\\\n])*"|'[^'\n]*')|(?<=^|\s)#[^\n]*/gm;
const DEFAULT_EXPORT = /\bexport\s+default\b|\bmodule\.exports\s*=|\bas\s+default\b/;

/** The beginning of a file: the position of a mistake whose position is not known. */
export const START: Position = { line: 1, column: 1 };

/** Computes the position of the character at `offset`. */
export function computePosition(text: string, offset: number): Position {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf('\n') + 1;
  return { line: before.split('\n').length, column: offset - lineStart + 1 };
}

/**
 * Finds the position of the last key of `path` in a config. The text is searched for one key after the other, beginning
 * at the default export. Array indexes in `path` are ignored.
 *
 * The position is a best effort, because a key can come from a variable or another file. In this case the function
 * returns the position of the last key that the text contains, or undefined if the text contains none.
 */
export function findKeyPosition(
  text: string,
  path: readonly string[],
  language: 'js' | 'data',
): Position | undefined {
  const code = removeComments(text, language);
  const start = language === 'js' ? Math.max(0, code.search(DEFAULT_EXPORT)) : 0;
  return findKeyFrom(code, path, start) ?? (start > 0 ? findKeyFrom(code, path, 0) : undefined);
}

/** Finds the default export of a JavaScript or TypeScript file. Returns undefined if there is none. */
export function findExportPosition(text: string): Position | undefined {
  const offset = removeComments(text, 'js').search(DEFAULT_EXPORT);
  return offset < 0 ? undefined : computePosition(text, offset);
}

/**
 * Finds the first top-level `await` of a JavaScript or TypeScript file: the first one outside all brackets. A file that
 * does not finish loading probably waits there. Returns undefined if there is none.
 */
export function findAwaitPosition(text: string): Position | undefined {
  // Strings become blanks, so that a bracket or `await` in a string does not count.
  const code = removeComments(text, 'js').replace(/(["'`])(?:\\.|(?!\1)[^\\])*\1/g, (string) =>
    ' '.repeat(string.length),
  );
  let depth = 0;
  for (const token of code.matchAll(/[({[]|[)}\]]|\bawait\b/g)) {
    if (token[0] === 'await') {
      if (depth === 0) return computePosition(text, token.index);
    } else depth += /[({[]/.test(token[0]) ? 1 : -1;
  }
  return undefined;
}

/**
 * Finds the position of the string `specifier` in a JavaScript or TypeScript file. Looks for the string in single
 * quotes, then in double quotes, then in back quotes, outside of comments. Returns undefined if there is none.
 */
export function findSpecifierPosition(text: string, specifier: string): Position | undefined {
  // Comments are replaced by blanks, so an offset in `code` is the same offset in `text`.
  const code = removeComments(text, 'js');
  const offsets = [`'${specifier}'`, `"${specifier}"`, `\`${specifier}\``].map((quoted) =>
    code.indexOf(quoted),
  );
  const offset = offsets.find((found) => found >= 0);
  return offset === undefined ? undefined : computePosition(text, offset);
}

/**
 * Finds the environment variable from which a JavaScript or TypeScript file takes the connection `id`. Returns `SHOP_URL`
 * for `shop: process.env.SHOP_URL` and for `shop: { url: process.env['SHOP_URL'] }`. Returns undefined if the text has no
 * such key.
 */
export function findConnectionVariable(text: string, id: string): string | undefined {
  const key = `(?<![\\w$.-])(["']?)${escapePattern(id)}\\1\\s*:\\s*(?:\\{\\s*url\\s*:\\s*)?`;
  const variable = `(?:process\\.)?env(?:\\.(\\w+)|\\[["'\`](\\w+)["'\`]\\])`;
  const found = new RegExp(key + variable).exec(removeComments(text, 'js'));
  return found?.[2] ?? found?.[3];
}

/**
 * Finds the position of the last key of `path` after the index `start`: each key is searched after the key before.
 * Returns the position of the last key that was found, or undefined if the first key was not found. A key is a name,
 * perhaps in quotes, before `:`, `,`, `}`, `(` or `]`.
 */
function findKeyFrom(code: string, path: readonly string[], start: number): Position | undefined {
  let [from, found] = [start, -1];
  for (const key of path.filter((part) => !/^\d+$/.test(part))) {
    const pattern = new RegExp(`(?<![\\w$.-])(["']?)${escapePattern(key)}\\1(?=\\s*[:,}(\\]]|\\]\\s*:)`, 'g');
    pattern.lastIndex = from;
    const match = pattern.exec(code);
    if (match === null) break;
    found = match.index;
    from = pattern.lastIndex;
  }
  return found < 0 ? undefined : computePosition(code, found);
}

/** Replaces each comment by blanks of the same length, so that all offsets stay the same. Line breaks stay. */
function removeComments(text: string, language: 'js' | 'data'): string {
  const noise = language === 'js' ? JS_NOISE : YAML_NOISE;
  return text.replace(noise, (found: string, string?: string) => string ?? found.replace(/[^\n]/g, ' '));
}

/** Returns a regular expression that matches exactly this text. */
function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
