import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type * as loading from '../../../src/runtime/config/load.js';
import type { Api, Shared } from '../../../src/runtime/modules/shared-packages.js';
import type { EtlError } from '../../../src/errors.js';

/** The contents of files by path. Paths are relative to the directory of the project. */
export type Files = Readonly<Record<string, string | Buffer>>;

/** A directory outside every checkout, so that no package is installed beside the config. */
export interface Project extends Disposable {
  readonly directory: string;
  path(name: string): string;
  load(options?: Partial<loading.LoadOptions>): Promise<loading.LoadedConfig>;
  /** Loads the config and returns the error. Throws if the config loads without an error. */
  catchError(options?: Partial<loading.LoadOptions>): Promise<EtlError>;
}

const require = createRequire(import.meta.url);

let instance: unknown;

/** The module that stands for the public module of the program. */
export const api: Api = {
  name: '@oneshot/etl',
  entry: new URL('../../fixtures/config/api/index.ts', import.meta.url),
  load: () => instance,
};

/** The modules that the program would share with a config. */
const shared: Shared = {
  api,
  packages: ['knex', 'objection', 'pg'].map((name) => {
    const { version } = require(`${name}/package.json`) as { version: string };
    const loaded: unknown = require(name);
    const entry = pathToFileURL(require.resolve(name));
    return { name, version: () => version, load: () => loaded, entry };
  }),
  own: new URL('../../../src/', import.meta.url),
  version: '0.0.0',
};

/**
 * Imports the loader of configs. mocha loads test files with `require`, and so all modules that they import. These are
 * other instances than those that `import` gives to a config, so a test must not import the loader itself.
 */
export async function importLoader(): Promise<typeof loading> {
  return await import(new URL('../../../src/runtime/config/load.ts', import.meta.url).href);
}

/** Creates a project with these files, and an empty package.json if `files` has none. */
export function project(files: Files): Project {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'etl config (1) ')));
  const path = (name: string): string => join(directory, name);
  for (const [name, content] of Object.entries({ 'package.json': '{}', ...files })) {
    mkdirSync(dirname(path(name)), { recursive: true });
    writeFileSync(path(name), content, { mode: 0o644 });
  }
  const load = async (options: Partial<loading.LoadOptions> = {}): Promise<loading.LoadedConfig> => {
    const { loadConfig } = await importLoader();
    instance = await import(api.entry.href);
    return await loadConfig({
      directory,
      shared,
      isCached: true,
      getuid: () => process.getuid?.() ?? 0,
      ...options,
    });
  };
  return {
    directory,
    path,
    load,
    catchError: async (options) => {
      try {
        await load(options);
      } catch (error) {
        return error as EtlError;
      }
      throw new Error('the config was loaded, and should not have been');
    },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}
