import { dirname, extname } from 'node:path';
import { EtlError } from '../../errors.js';
import { openCodeCache } from '../modules/cache.js';
import { describeDefinition } from '../dag/dag.js';
import { CodeReader } from '../fingerprint/code-reader.js';
import type { LocalFile } from '../fingerprint/module-graph.js';
import { getDefaultExport } from './export.js';
import { ConfigModules } from '../modules/modules.js';
import { findAwaitPosition } from './position.js';
import { SharedModules, type Shared } from '../modules/shared-packages.js';
import type { ConfigFile, ReadConfigOptions } from '../modules/source-text.js';
import { assertTrusted } from '../trust/trusted-file.js';
import { formatPosition, shortenPath } from '../modules/location.js';

/** Options for executing a config. */
export interface CodeOptions extends ReadConfigOptions {
  readonly shared: Shared;
  /** Whether compiled code may be cached in `.etl` beside the config. */
  readonly isCached: boolean;
  /** The longest time that loading may take. */
  readonly timeoutMs: number;
  /** The environment variables, for the fingerprints of tasks that use some of them. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** The conditions of `exports` that the user has given to Node.js with `--conditions`. Default: none. */
  readonly conditions?: readonly string[] | undefined;
}

/** Says whether a config is executed: a JavaScript or TypeScript file, as opposed to JSON and YAML. */
export function isCode(file: string): boolean {
  return /^\.[cm]?[jt]sx?$/.test(extname(file));
}

/** An executed config. */
export interface Evaluated {
  /** The default export, or the exports of the modules. */
  readonly value: unknown;
  /** Describes the code of the config's tasks. */
  readonly code: CodeReader;
}

/**
 * Executes a config once. Throws `EtlError` ETL-2104 if the config does not finish in
 * time, ETL-2105 for a wrong export, and everything that the config throws.
 */
export async function evaluate(configFile: ConfigFile, options: CodeOptions): Promise<Evaluated> {
  const { modules, createReader } = prepare(configFile, options);
  const value = getDefaultExport(configFile, await limitTime(modules.run(configFile), configFile, options));
  return { value, code: createReader([{ kind: 'compile', file: configFile.file }]) };
}

/**
 * Executes the modules that a config without code names, in order. `value` has the exports of each. Throws ETL-2104 if a
 * module does not exist, or does not finish in time, and everything that a module throws.
 */
export async function importModules(
  configFile: ConfigFile,
  specifiers: readonly string[],
  options: CodeOptions,
): Promise<Evaluated & { readonly value: readonly unknown[] }> {
  const { file } = configFile;
  const { modules, createReader } = prepare(configFile, options);
  const value: unknown[] = [];
  const entries: LocalFile[] = [];
  for (const specifier of specifiers) {
    value.push(await limitTime(modules.importFor(specifier, file), configFile, options));
    const resolved = modules.resolver.resolve(specifier, file, 'import');
    if (resolved !== undefined && resolved.kind !== 'package') entries.push(resolved);
  }
  return { value, code: createReader(entries) };
}

/** Prepares the loading of the modules of a config. */
function prepare(
  { file }: ConfigFile,
  options: CodeOptions,
): { modules: ConfigModules; createReader: (entries: readonly LocalFile[]) => CodeReader } {
  const directory = dirname(file);
  const { shared, variables } = options;
  const { version } = shared;
  const cache = options.isCached ? openCodeCache(directory, options.getuid) : undefined;
  const modules = new ConfigModules({
    shared: new SharedModules(file, shared),
    assertTrusted: (path) =>
      assertTrusted(path, { noun: 'the module', name: shortenPath(path, options.directory) }, options.getuid),
    cache,
    version,
    conditions: options.conditions ?? [],
  });
  const services = { modules, directory, cache, version, variables, describeOwn: describeDefinition };
  return { modules, createReader: (entries) => new CodeReader({ ...services, entries }) };
}

/**
 * Returns the result of `work`. Throws ETL-2104 after `timeoutMs`, with the location of the first top-level `await` of
 * the config. `work` itself can't be stopped, and goes on.
 */
async function limitTime<T>(work: Promise<T>, configFile: ConfigFile, options: CodeOptions): Promise<T> {
  const { directory, timeoutMs } = options;
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const error = new EtlError('ETL-2104', {
        what: `the config ${configFile.name} did not finish loading within ${timeoutMs / 1000} s`,
        where: formatPosition(configFile.file, findAwaitPosition(configFile.text), directory),
        why: 'a top-level await in the config, or in a file that it imports, is still pending',
        fix: 'do slow work in a task, not while the config loads',
      });
      reject(error);
    }, timeoutMs);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
