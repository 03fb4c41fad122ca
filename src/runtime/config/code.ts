import { dirname, extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EtlError } from '../../errors.js';
import { findPrivateCache } from '../modules/cache.js';
import { getDefaultExport } from './export.js';
import { createLoadError } from './load-error.js';
import { ConfigModules } from '../modules/modules.js';
import { findAwaitPosition } from './position.js';
import { SharedModules, type Shared } from '../modules/shared-packages.js';
import type { ConfigFile } from '../modules/source-text.js';
import { rememberCompiled } from '../modules/stack.js';
import { formatPosition } from '../modules/location.js';

export interface CodeOptions {
  /** The working directory. */
  readonly directory: string;
  readonly shared: Shared;
  readonly getuid?: (() => number) | undefined;
  /** Whether compiled code may be kept beside the config. */
  readonly isCached: boolean;
  /** How long loading may take. */
  readonly timeoutMs: number;
}

/** True for a config that is executed. */
export function isCode(file: string): boolean {
  return /^\.[cm]?[jt]s$/.test(extname(file));
}

/**
 * Executes a config, once, and returns its default export. Throws an `EtlError` of class 21 with a place in the user's
 * files for whatever goes wrong; one that the config's own Dags throw passes as it is.
 */
export async function evaluate(configFile: ConfigFile, options: CodeOptions): Promise<unknown> {
  const modules = new ConfigModules({
    shared: new SharedModules(configFile.file, options.shared),
    cache: options.isCached ? findPrivateCache(dirname(configFile.file), options.getuid) : undefined,
    version: options.shared.version,
  });
  rememberCompiled((file) => modules.getCode(file));
  let exports: unknown;
  try {
    exports = await limitTime(modules.run(configFile), configFile, options);
  } catch (error) {
    const { directory, shared } = options;
    throw createLoadError(error, { configFile, directory, ours: fileURLToPath(shared.own) });
  }
  return getDefaultExport(configFile, exports);
}

async function limitTime<T>(work: Promise<T>, configFile: ConfigFile, options: CodeOptions): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(createTooSlowError(configFile, options)), options.timeoutMs);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

function createTooSlowError(
  { file, text, name }: ConfigFile,
  { directory, timeoutMs }: CodeOptions,
): EtlError {
  return new EtlError('ETL-2104', {
    what: `The config ${name} did not finish loading within ${timeoutMs / 1000} s`,
    where: formatPosition(file, findAwaitPosition(text), directory),
    why: 'A promise that it awaits at the top level, or one in a file that it imports, is still pending',
    fix: 'Do slow work in a task, not while the config loads.',
  });
}
