import { mkdirSync, readFileSync, writeFileSync, appendFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describeThrown, EtlError } from '../../errors.js';
import { isRecord } from '../../runtime/json.js';

/** The change of `etl init` to one file of the project. */
export interface FileResult {
  /** The path from the directory of the project. */
  readonly path: string;
  /** `added`: the file existed, and lines were added to it. */
  readonly action: 'created' | 'kept' | 'added';
  /** The added text, or the reason why the file was kept. */
  readonly note?: string;
}

/**
 * The mode of new files. Other users may not write to them, also under a umask of 002: `etl` refuses a config that other
 * users could have written.
 */
const MODE = 0o644;

/** Creates a file, and the directories that lead to it. Keeps a file that exists. Throws ETL-2019 if it can't. */
export function createFile(directory: string, path: string, text: string): FileResult {
  const file = join(directory, path);
  return write(file, () => {
    mkdirSync(dirname(file), { recursive: true });
    try {
      // `wx` fails if anything has this name, also a link that leads nowhere.
      writeFileSync(file, text, { flag: 'wx', mode: MODE });
      return { path, action: 'created' };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return { path, action: 'kept' };
      throw error;
    }
  });
}

/**
 * Adds the paths that a `.gitignore` does not ignore yet, one line each. Creates the file if it is missing. Throws
 * ETL-2019 if it can't be written.
 */
export async function addToGitignore(directory: string, paths: readonly string[]): Promise<FileResult> {
  const path = '.gitignore';
  const text = readText(join(directory, path));
  if (text === undefined) return createFile(directory, path, `${paths.join('\n')}\n`);
  const { default: ignore } = await import('ignore');
  const ignored = ignore().add(text);
  const missing = paths.filter((each) => !ignored.ignores(each));
  if (missing.length === 0) return { path, action: 'kept' };
  const eol = text.includes('\r\n') ? '\r\n' : '\n';
  const start = text === '' || text.endsWith('\n') ? '' : eol;
  return write(join(directory, path), () => {
    appendFileSync(join(directory, path), start + missing.map((line) => line + eol).join(''));
    return { path, action: 'added', note: missing.join(', ') };
  });
}

/**
 * Makes the modules of a project ES modules: adds `"type": "module"` to its package.json as the first key, and leaves the
 * rest of the text as it is. Throws ETL-2019 if the file can't be written or is no JSON object.
 */
export function addModuleType(directory: string): FileResult {
  const path = 'package.json';
  const file = join(directory, path);
  return write(file, () => {
    const text = readFileSync(file, 'utf8');
    const indent = /^\s*\{\r?\n([ \t]+)/.exec(text)?.[1] ?? '  ';
    const eol = text.includes('\r\n') ? '\r\n' : '\n';
    const isEmpty = Object.keys(parseObject(text)).length === 0;
    const changed = isEmpty
      ? `{${eol}${indent}"type": "module"${eol}}${eol}`
      : text.replace(/\{\s*/, `{${eol}${indent}"type": "module",${eol}${indent}`);
    parseObject(changed);
    writeFileSync(file, changed);
    return { path, action: 'added', note: '"type": "module"' };
  });
}

/** Reads the package.json of a directory. Undefined if there is none. Throws ETL-2019 if it is no JSON object. */
export function readPackageFile(directory: string): Readonly<Record<string, unknown>> | undefined {
  const file = join(directory, 'package.json');
  const text = readText(file);
  return text === undefined ? undefined : write(file, () => parseObject(text));
}

/** Reads a text. Returns undefined if there is no such file. Throws ETL-2019 if it can't be read. */
function readText(file: string): string | undefined {
  return write(file, () => {
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  });
}

/** Parses a JSON object. Throws a `TypeError` for any other JSON, and a `SyntaxError` for a text that is no JSON. */
function parseObject(text: string): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ''));
  if (isRecord(value)) return value;
  throw new TypeError('the file is not a JSON object');
}

/** Calls `work` on a file, and turns its errors into ETL-2019. */
function write<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw new EtlError('ETL-2019', {
      what: `the project can't be set up, because of the file ${file}`,
      where: file,
      why: describeThrown(cause),
      fix: 'correct the file or its permissions, and run `etl init` again: it keeps the files that it has created',
      data: 'no file was overwritten',
      cause,
    });
  }
}
