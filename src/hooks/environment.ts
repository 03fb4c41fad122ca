import { readFileSync, statSync, type Stats } from 'node:fs';
import { platform } from 'node:os';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { describeThrown, EtlError } from '../errors.js';
import type { Variables } from './hook.js';

/** The variables that a run sees, and where each came from. */
export interface Environment {
  readonly variables: Variables;
  /** By name of the variable: `environment`, or the name of the file. */
  readonly sources: ReadonlyMap<string, string>;
  /** Lines that the user should read, without a value of a variable. */
  readonly notices: readonly string[];
}

/** Where variables are read from. */
export interface EnvironmentOptions {
  /** The real environment: a file never overrides what is set here, even to an empty string. */
  readonly variables: Variables;
  /** The directory of the config file, where the `.env` files are. */
  readonly directory: string;
}

/**
 * Fills the variables that are not set from `.env.<ETL_ENV>`, then `.env.local`, then `.env`, the first file that
 * sets one wins. `ETL_ENV` itself counts only in the real environment. A missing file is fine; one that can't be
 * read is ETL-2107. Nothing is expanded or executed.
 */
export function loadEnvironment({ variables, directory }: EnvironmentOptions): Environment {
  const merged = new Map<string, string>();
  const sources = new Map<string, string>();
  const notices: string[] = [];
  const add = (values: Variables, source: string): void => {
    for (const [name, value] of Object.entries(values)) {
      if (value === undefined || merged.has(name)) continue;
      merged.set(name, value);
      sources.set(name, source);
    }
  };
  add(variables, 'environment');
  for (const name of listFileNames(variables['ETL_ENV'])) {
    const file = readFile(directory, name);
    if (file === undefined) continue;
    add(file.values, name);
    notices.push(...describeExposure(file));
  }
  return { variables: Object.fromEntries(merged), sources, notices };
}

interface EnvironmentFile {
  readonly name: string;
  readonly mode: number;
  readonly values: Variables;
}

function listFileNames(stage: string | undefined): readonly string[] {
  if (stage === undefined) return ['.env.local', '.env'];
  if (/^[A-Za-z0-9_.-]+$/.test(stage)) return [...new Set([`.env.${stage}`, '.env.local', '.env'])];
  throw new EtlError('ETL-2010', {
    what: 'ETL_ENV does not name an environment.',
    where: 'ETL_ENV',
    why: 'It may have letters, digits, and the characters _ . - only, and at least one.',
    fix: 'Set for example ETL_ENV=production, or unset it.',
  });
}

function readFile(directory: string, name: string): EnvironmentFile | undefined {
  const path = join(directory, name);
  const stats = readStat(path);
  if (stats === undefined) return undefined;
  // Only then: opening a named pipe would wait for its writer.
  if (!stats.isFile()) throw createUnreadableError(path, { why: 'It is not a regular file.' });
  return { name, mode: stats.mode, values: parseEnv(readText(path)) };
}

function readStat(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw createUnreadableError(path, { why: describeReason(error), cause: error });
  }
}

/** UTF-8 without its byte order mark, which would become a part of the first name. */
function readText(path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    throw createUnreadableError(path, { why: describeReason(error), cause: error });
  }
}

function describeReason(error: unknown): string {
  if (error instanceof TypeError) return 'It is not UTF-8 text.';
  return describeThrown(error);
}

function createUnreadableError(path: string, { why, cause }: { why: string; cause?: unknown }): EtlError {
  return new EtlError('ETL-2107', {
    what: `The file ${path} can't be read.`,
    where: path,
    why,
    fix: 'Make it a text file that this user can read, or remove it.',
    cause,
  });
}

const SECRET_NAME = /^(?:ETL_CONN_|AIRFLOW_CONN_|DATABASE_URL$)|PASSWORD|PASSWD|SECRET|TOKEN|_KEY$/i;

/** A line for a file that others can read and that seems to hold a secret. Windows has no such mode bits. */
function describeExposure({ name, mode, values }: EnvironmentFile): readonly string[] {
  const secret = Object.keys(values).find((variable) => SECRET_NAME.test(variable));
  if (secret === undefined || (mode & 0o077) === 0 || platform() === 'win32') return [];
  return [`${name} sets ${secret} and other users may access the file: chmod 600 ${name}`];
}
