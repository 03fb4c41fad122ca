import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type * as loading from '../../src/runtime/config/load.js';
import type { EtlError } from '../../src/errors.js';

/** Files by path, relative to the project. */
export type Files = Readonly<Record<string, string | Buffer>>;

/** A directory of its own outside of every checkout, so that nothing is installed beside the config. */
export interface Project extends Disposable {
  readonly directory: string;
  path(name: string): string;
  load(options?: Partial<loading.LoadOptions>): Promise<loading.LoadedConfig>;
  /** The error that loading ends with. */
  failure(options?: Partial<loading.LoadOptions>): Promise<EtlError>;
}

/** The module that stands for our public one. */
export const api = {
  name: '@oneshot/etl',
  entry: new URL('../fixtures/config/api/index.ts', import.meta.url),
};

/**
 * mocha requires test files, and what they import is then required as well: other instances than those that `import`
 * gives to a config. So the loader is imported from here.
 */
export async function runtime(): Promise<typeof loading> {
  return await import(new URL('../../src/runtime/config/load.ts', import.meta.url).href);
}

export function project(files: Files): Project {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'etl config (1) ')));
  const path = (name: string): string => join(directory, name);
  for (const [name, content] of Object.entries({ 'package.json': '{}', ...files })) {
    mkdirSync(dirname(path(name)), { recursive: true });
    writeFileSync(path(name), content, { mode: 0o644 });
  }
  const load = async (options: Partial<loading.LoadOptions> = {}): Promise<loading.LoadedConfig> => {
    const { loadConfig } = await runtime();
    return await loadConfig({ directory, api, getuid: () => process.getuid?.() ?? 0, ...options });
  };
  return {
    directory,
    path,
    load,
    failure: async (options) => {
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
