import { basename, extname } from 'node:path';
import { EtlError } from '../../errors.js';
import { computePosition, type Position } from './position.js';
import type { ConfigFile } from '../modules/source-text.js';

interface JsonProblem {
  readonly offset: number;
  readonly expected: string;
}

/** What js-yaml says about a text that it cannot read; lines and columns count from 0. */
interface YamlProblem {
  readonly reason: string;
  readonly mark?: { readonly line: number; readonly column: number };
}

const TOKEN =
  /([{}[\],:])|("(?:[ !#-[\]-\uffff]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.])/y;
const BLANKS = /[ \t\r\n]*/y;

/** The value in a JSON or YAML config; of a package.json, its key `etl`. Throws `EtlError` ETL-2103 with the place. */
export async function parseData(configFile: ConfigFile): Promise<unknown> {
  if (extname(configFile.file) !== '.json') return await parseYaml(configFile);
  const value = parseJson(configFile);
  return basename(configFile.file) === 'package.json' ? getEtlKey(configFile, value) : value;
}

/** Throws `EtlError` ETL-2103 with line and column, and with nothing of the text: it may hold a password. */
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
 * Where a text stops being JSON. The message of `JSON.parse` does not always hold a position, and quotes the text.
 * No recursion: a text can be nested deeper than the stack.
 */
function findJsonProblem(text: string): JsonProblem | undefined {
  const open: string[] = [];
  let expected = 'a value';
  for (let offset = skipBlanks(text, 0); offset < text.length; offset = skipBlanks(text, TOKEN.lastIndex)) {
    TOKEN.lastIndex = offset;
    const match = TOKEN.exec(text);
    const kind = match === null ? undefined : (match[1] ?? (match[2] === undefined ? 'a value' : 'a string'));
    if (kind === undefined || !isAllowed(kind, expected)) return { offset, expected };
    if (kind === '{' || kind === '[') open.push(kind);
    if (kind === '}' || kind === ']') open.pop();
    expected = describeExpected(kind, expected, open.at(-1));
  }
  return expected === 'the end of the file' ? undefined : { offset: text.length, expected };
}

function skipBlanks(text: string, from: number): number {
  BLANKS.lastIndex = from;
  BLANKS.exec(text);
  return BLANKS.lastIndex;
}

function isAllowed(kind: string, expected: string): boolean {
  if (expected.startsWith('a value')) {
    return ['a value', 'a string', '{', '['].includes(kind) || (kind === ']' && expected.endsWith('"]"'));
  }
  if (expected.startsWith('a key')) return kind === 'a string' || (kind === '}' && expected.endsWith('"}"'));
  return expected.includes(`"${kind}"`);
}

function describeExpected(kind: string, expected: string, open: string | undefined): string {
  if (kind === '{') return 'a key in double quotes or "}"';
  if (kind === '[') return 'a value or "]"';
  if (kind === ':') return 'a value';
  if (kind === ',') return open === '{' ? 'a key in double quotes' : 'a value';
  if (expected.startsWith('a key') && kind === 'a string') return '":"';
  if (open === undefined) return 'the end of the file';
  return open === '{' ? '"," or "}"' : '"," or "]"';
}

function getEtlKey(configFile: ConfigFile, manifest: unknown): unknown {
  if (typeof manifest === 'object' && manifest !== null && 'etl' in manifest) return manifest.etl;
  throw new EtlError('ETL-2105', {
    what: `${configFile.name} has no config`,
    where: `${configFile.name}:1:1`,
    fix: 'Put the config under the key "etl", or name another file.',
  });
}

function isYamlProblem(error: unknown): error is YamlProblem {
  return error instanceof Error && error.name === 'YAMLException' && 'reason' in error;
}

function createUnreadableError(configFile: ConfigFile, { line, column }: Position, why: string): EtlError {
  return new EtlError('ETL-2103', {
    what: `The config ${configFile.name} could not be read`,
    where: `${configFile.name}:${line}:${column}`,
    why: `Syntax error: ${why}`,
    fix: 'Correct the file at this place.',
  });
}
