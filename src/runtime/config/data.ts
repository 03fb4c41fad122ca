import { basename, extname } from 'node:path';
import { EtlError } from '../../errors.js';
import { isRecord } from '../json.js';
import { computePosition, type Position } from './position.js';
import type { ConfigFile } from '../modules/source-text.js';

/** The first mistake in a JSON text. */
interface JsonProblem {
  /** The index of the wrong character, or the length of the text if the text ends too early. */
  readonly offset: number;
  /** The tokens that are allowed there, for messages: `"," or "}"`. */
  readonly expected: string;
}

/** The error of js-yaml for a text that is not YAML. Lines and columns count from 0. */
interface YamlProblem {
  readonly reason: string;
  readonly mark?: { readonly line: number; readonly column: number };
}

/**
 * Matches one token of JSON at `lastIndex`: a punctuation character (group 1), a string (group 2), or a number, `true`,
 * `false` or `null`. The flag `y` allows no characters before the match.
 */
const TOKEN =
  /([{}[\],:])|("(?:[ !#-[\]-\uffff]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.])/y;
const BLANKS = /[ \t\r\n]*/y;

/**
 * Parses a JSON or YAML config. Returns the value of the key `etl` if the file is a package.json. Throws `EtlError`
 * ETL-2103 with line and column if the file can't be parsed, and ETL-2105 if a package.json has no key `etl`.
 */
export async function parseData(configFile: ConfigFile): Promise<unknown> {
  if (extname(configFile.file) !== '.json') return await parseYaml(configFile);
  const value = parseJson(configFile);
  if (basename(configFile.file) !== 'package.json') return value;
  if (isRecord(value) && 'etl' in value) return value['etl'];
  throw new EtlError('ETL-2105', {
    what: `${configFile.name} has no config`,
    where: `${configFile.name}:1:1`,
    fix: 'put the config under the key "etl", or name another file',
  });
}

/**
 * Parses JSON. Throws `EtlError` ETL-2103 with line and column. The message quotes nothing of the text, because the
 * text may contain a password.
 */
export function parseJson(configFile: ConfigFile): unknown {
  const text = configFile.text.replace(/^\uFEFF/, '');
  const problem = findJsonProblem(text);
  if (problem === undefined) return JSON.parse(text);
  throw createUnreadableError(
    configFile,
    computePosition(text, problem.offset),
    `expected ${problem.expected}`,
  );
}

/** Parses YAML. Throws ETL-2103 with line and column, and any other error of the parser unchanged. */
async function parseYaml(configFile: ConfigFile): Promise<unknown> {
  const { defaultLoaders } = await import('cosmiconfig');
  try {
    return defaultLoaders['.yaml'](configFile.file, configFile.text) as unknown;
  } catch (error) {
    if (!isYamlProblem(error)) throw error;
    const { line, column } = error.mark ?? { line: 0, column: 0 };
    throw createUnreadableError(configFile, { line: line + 1, column: column + 1 }, error.reason);
  }
}

/**
 * Finds the first mistake in a JSON text. Returns undefined if the text is JSON. The message of `JSON.parse` can't be
 * used: it does not always contain a position, and quotes the text. The function does not recurse, because a text can
 * be nested deeper than the stack.
 */
function findJsonProblem(text: string): JsonProblem | undefined {
  /** The brackets and braces that are open, the innermost last. */
  const open: string[] = [];
  let expected = 'a value';
  for (let offset = skipBlanks(text, 0); offset < text.length; offset = skipBlanks(text, TOKEN.lastIndex)) {
    TOKEN.lastIndex = offset;
    const match = TOKEN.exec(text);
    // A punctuation character is its own kind.
    const kind = match === null ? undefined : (match[1] ?? (match[2] === undefined ? 'a value' : 'a string'));
    if (kind === undefined || !isAllowed(kind, expected)) return { offset, expected };
    if (kind === '{' || kind === '[') open.push(kind);
    if (kind === '}' || kind === ']') open.pop();
    expected = describeExpected(kind, expected, open.at(-1));
  }
  return expected === 'the end of the file' ? undefined : { offset: text.length, expected };
}

/** Returns the index of the first character at or after `from` that is not a blank. */
function skipBlanks(text: string, from: number): number {
  BLANKS.lastIndex = from;
  BLANKS.exec(text);
  return BLANKS.lastIndex;
}

/**
 * Says whether a token of this kind is allowed where `expected` is expected. `expected` is a text of
 * `describeExpected`, such as `a value or "]"`, so the text that messages show is also the state of the parser.
 */
function isAllowed(kind: string, expected: string): boolean {
  if (expected.startsWith('a value')) {
    return ['a value', 'a string', '{', '['].includes(kind) || (kind === ']' && expected.endsWith('"]"'));
  }
  if (expected.startsWith('a key')) return kind === 'a string' || (kind === '}' && expected.endsWith('"}"'));
  return expected.includes(`"${kind}"`);
}

/**
 * Says what may follow a token of the kind `kind`. `expected` is what was expected before the token: it tells a key
 * from a value. `open` is the innermost open bracket after the token. Examples: after `[` it is `a value or "]"`, after
 * a value in an object `"," or "}"`.
 */
function describeExpected(kind: string, expected: string, open: string | undefined): string {
  if (kind === '{') return 'a key in double quotes or "}"';
  if (kind === '[') return 'a value or "]"';
  if (kind === ':') return 'a value';
  if (kind === ',') return open === '{' ? 'a key in double quotes' : 'a value';
  if (expected.startsWith('a key') && kind === 'a string') return '":"';
  if (open === undefined) return 'the end of the file';
  return open === '{' ? '"," or "}"' : '"," or "]"';
}

/** Says whether an error is a syntax error of js-yaml. */
function isYamlProblem(error: unknown): error is YamlProblem {
  return error instanceof Error && error.name === 'YAMLException' && 'reason' in error;
}

/** Creates the error ETL-2103 for a syntax error. The position counts from 1. */
function createUnreadableError(configFile: ConfigFile, { line, column }: Position, why: string): EtlError {
  return new EtlError('ETL-2103', {
    what: `${configFile.name} has a syntax error`,
    where: `${configFile.name}:${line}:${column}`,
    why,
    fix: 'correct the file at this location or just before it',
  });
}
