import { accessSync, constants, readFileSync, statSync, type Stats } from 'node:fs';
import { platform } from 'node:os';
import { join } from 'node:path';
import { describeThrown, EtlError } from '../errors.js';
import { assertTrusted } from '../runtime/trust/trusted-file.js';
import { parseEnvironment } from './environment-file.js';
import type { Variables } from './hook.js';

/** The variables that a run sees, and what sets each variable. */
export interface Environment {
  readonly variables: Variables;
  /** For each variable: `environment`, or the name of the file that sets the variable. */
  readonly sources: ReadonlyMap<string, string>;
  /** Lines for the user to read. They never have a variable's value. */
  readonly notices: readonly string[];
}

/** The real environment, and the directory of the `.env` files. */
export interface EnvironmentOptions {
  /** The real environment. A file never overrides a variable that is set here, not even an empty string. */
  readonly variables: Variables;
  /** The directory of the config file, which has the `.env` files. */
  readonly directory: string;
}

/**
 * Reads the variables that the real environment does not set from `.env.<ETL_ENV>`, then `.env.local`, then `.env`. The
 * first file that sets a variable wins. Values are not expanded or executed. `ETL_ENV` counts only in the real
 * environment. A missing file is fine. So is a `.env.local` or `.env` that belongs to another user and that this user may
 * not read, as in an image that one user has built and another user runs: a notice names the file. Throws ETL-2010 if
 * `ETL_ENV` is not valid, ETL-2102 if another user could have written a file, and ETL-2107 if a file or a line of it
 * can't be read otherwise. The file that `ETL_ENV` names must be readable, because the other files may name other
 * databases.
 */
export function loadEnvironment({ variables, directory }: EnvironmentOptions): Environment {
  const merged = new Map<string, string>();
  const sources = new Map<string, string>();
  const notices: string[] = [];
  // Keeps a variable that an earlier call has set.
  const add = (values: Variables, setBy: string): void => {
    for (const [name, value] of Object.entries(values)) {
      if (value === undefined || merged.has(name)) continue;
      merged.set(name, value);
      sources.set(name, setBy);
    }
  };
  add(variables, 'environment');
  const stage = variables['ETL_ENV'];
  for (const name of listFileNames(stage)) {
    const path = join(directory, name);
    if (name !== `.env.${stage}` && isForbidden(path)) {
      notices.push(`${name} is ignored: this user may not read it`);
      continue;
    }
    const file = readFile(path, name);
    if (file === undefined) continue;
    add(file.values, name);
    notices.push(...describeExposure(file));
  }
  return { variables: Object.fromEntries(merged), sources, notices };
}

/** A `.env` file that was read. `mode` has the permission bits of the file. */
interface EnvironmentFile {
  readonly name: string;
  readonly mode: number;
  readonly values: Variables;
}

/**
 * Lists the names of the files that can set variables, the most important first. `stage` is the value of `ETL_ENV`. The
 * Set removes a name that comes twice, for `ETL_ENV=local`. Throws ETL-2010 if `stage` could lead to another directory.
 */
function listFileNames(stage: string | undefined): readonly string[] {
  if (stage === undefined) return ['.env.local', '.env'];
  if (/^[A-Za-z0-9_.-]+$/.test(stage)) return [...new Set([`.env.${stage}`, '.env.local', '.env'])];
  throw new EtlError('ETL-2010', {
    what: 'ETL_ENV is not the name of an environment',
    where: 'ETL_ENV',
    why: 'the name must have one or more letters, digits and characters of _ . -',
    fix: 'set for example ETL_ENV=production, or unset ETL_ENV',
  });
}

/** Reads one `.env` file. Returns undefined if there is no such file. Throws ETL-2107 if it can't be read. */
function readFile(path: string, name: string): EnvironmentFile | undefined {
  const stats = readStat(path);
  if (stats === undefined) return undefined;
  // This check comes before the file is opened, because opening a named pipe would wait for its writer.
  if (!stats.isFile()) throw createUnreadableError(path, { why: 'it is not a regular file' });
  assertTrusted(path, { noun: 'the file', name });
  return { name, mode: stats.mode, values: parseFile(path, name) };
}

/** Says whether the system forbids this user to read a file. */
function isForbidden(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return false;
  } catch (error) {
    return ['EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '');
  }
}

/** Parses a file. Throws ETL-2107 for the first line that can't be read. The error never quotes the line. */
function parseFile(path: string, name: string): Variables {
  const parsed = parseEnvironment(readText(path));
  if (!('line' in parsed)) return Object.fromEntries(parsed);
  throw new EtlError('ETL-2107', {
    what: `line ${parsed.line} of ${name} can't be read`,
    where: `${path}:${parsed.line}`,
    why: parsed.why,
    fix: parsed.fix,
  });
}

/** Reads the kind and the mode of a file. Returns undefined if there is no such file. Throws ETL-2107 otherwise. */
function readStat(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw createUnreadableError(path, { why: describeReason(error), cause: error });
  }
}

/** Reads UTF-8 text without its byte order mark. With the mark, the first variable would have a wrong name. */
function readText(path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    throw createUnreadableError(path, { why: describeReason(error), cause: error });
  }
}

/** Says why a file can't be read. A `TypeError` comes from the strict `TextDecoder`, for bytes that are not UTF-8. */
function describeReason(error: unknown): string {
  if (error instanceof TypeError) return 'it is not UTF-8 text';
  return describeThrown(error);
}

function createUnreadableError(path: string, { why, cause }: { why: string; cause?: unknown }): EtlError {
  return new EtlError('ETL-2107', {
    what: `the file ${path} can't be read`,
    where: path,
    why,
    fix: 'make the file a text file that this user can read, or remove the file',
    cause,
  });
}

/** Matches the name of a variable that usually has a secret. */
const SECRET_NAME = /^(?:ETL_CONN_|AIRFLOW_CONN_|DATABASE_URL$)|PASSWORD|PASSWD|SECRET|TOKEN|_KEY$/i;

/**
 * Returns a line for the user if other users can access a file that seems to hold a secret, else an empty array.
 * Windows has no such mode bits, so there the array is always empty.
 */
function describeExposure({ name, mode, values }: EnvironmentFile): readonly string[] {
  const secret = Object.keys(values).find((variable) => SECRET_NAME.test(variable));
  const isPrivate = (mode & 0o077) === 0; // No permission for the group and for others.
  if (secret === undefined || isPrivate || platform() === 'win32') return [];
  return [`${name} sets ${secret}, and other users can access the file: run chmod 600 ${name}`];
}
