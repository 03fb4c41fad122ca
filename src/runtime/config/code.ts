import { readFileSync } from 'node:fs';
import { dirname, extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileFunction } from 'node:vm';
import type { Jiti } from 'jiti';
import { EtlError } from '../../errors.js';
import { privateCache } from './cache.js';
import { defaultExport } from './export.js';
import { loadError } from './load-error.js';
import { awaitPosition } from './position.js';
import { SharedModules, type Shared } from './share.js';
import type { Source } from './source.js';
import { rememberTransformed, WRAPPER } from './stack.js';
import { positionText } from '../place.js';

export interface CodeOptions {
  /** The working directory. */
  readonly directory: string;
  readonly shared: Shared;
  readonly getuid?: (() => number) | undefined;
  /** How long loading may take. */
  readonly timeoutMs: number;
}

/** The files that jiti has transformed, by path. */
type Modules = Jiti['cache'];

/** True for a config that is executed. */
export function isCode(file: string): boolean {
  return /^\.[cm]?[jt]s$/.test(extname(file));
}

/**
 * Executes a config, once, and returns its default export. Throws an `EtlError` of class 21 with a place in the user's
 * files for whatever goes wrong; one that the config's own Dags throw passes as it is.
 */
export async function evaluate(source: Source, options: CodeOptions): Promise<unknown> {
  const { createJiti } = await import('jiti');
  const modules: Modules = {};
  const shared = new SharedModules(source.file, options.shared);
  shared.tellNode();
  const jiti = createJiti(source.file, {
    fsCache: privateCache(dirname(source.file), options.getuid),
    interopDefault: true,
    tryNative: false,
    sourceMaps: true,
    virtualModules: await shared.all(),
  });
  rememberTransformed((file) => (file in modules ? transformed(jiti, file) : undefined));
  try {
    await inTime(execution(jiti, source, modules), source, options);
  } catch (error) {
    // Where the default export is null, jiti stumbles after it has executed everything.
    if (modules[source.file]?.loaded !== true)
      throw loadError(error, {
        source,
        directory: options.directory,
        ours: fileURLToPath(options.shared.own),
        syntaxError: () => syntaxErrorIn(jiti, modules),
      });
  }
  return defaultExport(source, modules[source.file]?.exports);
}

/**
 * `evalModule` and not `import`: it takes the text that was read and checked, and it transforms a `.mjs` or `.cjs` file
 * as well, which `import` would first run as it is and run again when it throws. jiti puts what it executes, with
 * the plain exports, into `cache`; the value that it returns hides a missing default export.
 */
async function execution(jiti: Jiti, { file, text }: Source, modules: Modules): Promise<void> {
  await jiti.evalModule(text, {
    id: file,
    filename: file,
    ext: extname(file),
    async: true,
    forceTranspile: true,
    cache: modules,
  });
}

async function inTime(work: Promise<void>, source: Source, options: CodeOptions): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(tooSlow(source, options)), options.timeoutMs);
  });
  try {
    await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

function tooSlow({ file, text, name }: Source, { directory, timeoutMs }: CodeOptions): EtlError {
  return new EtlError('ETL-2104', {
    what: `The config ${name} did not finish loading within ${timeoutMs / 1000} s`,
    where: positionText(file, awaitPosition(text), directory),
    why: 'A promise that it awaits at the top level, or one in a file that it imports, is still pending',
    fix: 'Do slow work in a task, not while the config loads.',
  });
}

function transformed(jiti: Jiti, file: string): string {
  const ts = /\.[cm]?ts$/.test(file);
  return jiti.transform({ source: readFileSync(file, 'utf8'), filename: file, ts, async: true, jsx: false });
}

/**
 * A mistake that the parser of jiti allows and V8 does not, such as a wrong regular expression. V8 names the line only
 * where it compiles a script for us.
 */
function syntaxErrorIn(jiti: Jiti, modules: Modules): unknown {
  for (const [filename, { loaded }] of Object.entries(modules)) {
    try {
      if (!loaded) compileFunction(`${WRAPPER}${transformed(jiti, filename)}\n})`, [], { filename });
    } catch (error) {
      return error;
    }
  }
  return undefined;
}
