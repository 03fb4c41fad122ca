import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import Module, { createRequire, isBuiltin } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Script } from 'node:vm';
import { keep, readCached } from './cache.js';
import { compile, loadJiti, WRAPPER } from './compile.js';
import { interopDefault } from './interop.js';
import { resolveImport, resolveRequire, type ResolvedModule } from './resolve.js';
import type { SharedModules } from './shared-packages.js';
import type { ConfigFile } from './source-text.js';
import { compiledCode } from './stack.js';

/** A file of the user that is being executed or was executed. */
interface Loaded {
  readonly file: string;
  /** The file that imported this file first. Undefined for the config. */
  readonly importer: Loaded | undefined;
  readonly module: { exports: unknown };
  /** Resolves when the file was executed. Rejects if the file throws. */
  done: Promise<void> | undefined;
}

/** Options for executing the modules of a config. */
export interface ModulesOptions {
  readonly shared: SharedModules;
  /** The directory for compiled code. Undefined if compiled code is not cached. */
  readonly cache: string | undefined;
  /**
   * The version of this program. Another version does not use the cached code, because it may compile in another way.
   */
  readonly version: string;
}

/** Error codes of Node.js that mean that nothing of a file was executed. */
const NOT_STARTED: ReadonlySet<unknown> = new Set([
  'ERR_MODULE_NOT_FOUND',
  'ERR_REQUIRE_ESM',
  'ERR_UNKNOWN_FILE_EXTENSION',
  'ERR_UNSUPPORTED_DIR_IMPORT',
  'MODULE_NOT_FOUND',
]);

/**
 * Executes a config and the files that it imports, each file once and in order, as jiti does. Node.js runs every file
 * that it can run without compiling. Compiled code is cached by the content of its file.
 */
export class ConfigModules {
  readonly #options: ModulesOptions;
  readonly #loaded = new Map<string, Loaded>();

  constructor(options: ModulesOptions) {
    this.#options = options;
  }

  /** Executes the config, and resolves to its exports. */
  run({ file, text }: ConfigFile): Promise<unknown> {
    return this.#load(file, undefined, text);
  }

  async #load(file: string, importer: Loaded | undefined, text?: string): Promise<unknown> {
    const known = this.#loaded.get(file);
    if (known !== undefined) {
      // If two files import each other, the second file gets the exports that the first file has so far, as in
      // CommonJS. Otherwise both files would wait for ever.
      if (!isWaiting(known, importer)) await known.done;
      return known.module.exports;
    }
    const loaded: Loaded = { file, importer, module: { exports: {} }, done: undefined };
    this.#loaded.set(file, loaded);
    loaded.done = this.#execute(loaded, text ?? readFileSync(file, 'utf8'));
    await loaded.done;
    return loaded.module.exports;
  }

  async #execute(loaded: Loaded, text: string): Promise<void> {
    const { file, module } = loaded;
    const run = this.#getScript(file, text).runInThisContext() as (
      ...args: readonly unknown[]
    ) => Promise<void>;
    const load = (specifier: unknown): Promise<unknown> => this.#import(String(specifier), loaded);
    const resolve = (specifier: string): string => loadJiti(file).esmResolve(specifier);
    const url = pathToFileURL(file).href;
    const meta = { url, filename: file, dirname: dirname(file), resolve };
    const { exports } = module;
    const require = this.#createRequire(file);
    await run.call(exports, exports, require, module, file, dirname(file), load, resolve, meta);
  }

  /** Returns the script of a file. It comes from the cache if the cache has the same text. */
  #getScript(file: string, text: string): Script {
    const cachedFile = this.#nameCachedFile(file, text);
    const script = cachedFile && this.#readCachedScript(file, cachedFile);
    if (script) return script;
    const code = compile(text, file);
    // Also if V8 refuses the code, because errors need the source map of this code.
    compiledCode.set(file, code);
    const compiled = compileScript(code, file);
    if (cachedFile) keep(cachedFile, code);
    return compiled;
  }

  /**
   * Returns undefined if nothing is cached, or if the cached file is not code, for example after a failure of the disk.
   */
  #readCachedScript(file: string, cachedFile: string): Script | undefined {
    const code = readCached(cachedFile);
    if (code === undefined) return undefined;
    try {
      const script = compileScript(code, file);
      compiledCode.set(file, code);
      return script;
    } catch {
      return undefined;
    }
  }

  #nameCachedFile(file: string, text: string): string | undefined {
    const { cache, version } = this.#options;
    const hash = createHash('sha256').update([version, WRAPPER, file, text].join('\0')).digest('hex');
    return cache && join(cache, `${hash.slice(0, 32)}.js`);
  }

  async #import(specifier: string, importer: Loaded): Promise<unknown> {
    const { shared } = this.#options;
    if (shared.has(specifier)) return interopDefault(shared.load(specifier));
    const resolved = resolveImport(specifier, importer.file);
    // `require` throws the error of Node.js for a module that does not exist.
    if (resolved === undefined) return interopDefault(createRequire(importer.file)(specifier));
    if (resolved.kind === 'compile') return this.#load(resolved.file, importer);
    const own = getOwnFile(resolved);
    try {
      return interopDefault(await this.#runAsItIs(resolved, importer.file));
    } catch (error) {
      if (own === undefined || !NOT_STARTED.has((error as NodeJS.ErrnoException).code)) throw error;
      return this.#load(own, importer);
    }
  }

  #runAsItIs(resolved: NativeModule, importer: string): unknown {
    this.#prepareShared(resolved);
    if (resolved.kind === 'require') return createRequire(importer)(resolved.id);
    return importFrom(
      importer,
      resolved.kind === 'import' ? pathToFileURL(resolved.file).href : resolved.specifier,
    );
  }

  /** Prepares the shared packages for a module that Node.js is about to run. */
  #prepareShared(resolved: NativeModule): void {
    const { shared } = this.#options;
    if (getOwnFile(resolved) !== undefined) shared.registerWithNode();
    else if (resolved.kind !== 'require' || !isBuiltin(resolved.id)) shared.fillRequireCache();
  }

  /** Creates the `require` of a compiled file. It also loads TypeScript. */
  #createRequire(file: string): NodeJS.Require {
    const { shared } = this.#options;
    const native = createRequire(file);
    const require = (specifier: string): unknown => {
      if (shared.has(specifier)) return shared.load(specifier);
      const resolved = resolveRequire(specifier, file) ?? resolveImport(specifier, file);
      if (resolved !== undefined && resolved.kind !== 'require')
        return loadJiti(file, shared.loadAll())(specifier);
      if (resolved !== undefined) this.#prepareShared(resolved);
      return native(specifier);
    };
    return Object.assign(require, native);
  }
}

type NativeModule = Exclude<ResolvedModule, { kind: 'compile' }>;

function compileScript(code: string, file: string): Script {
  return new Script(`${WRAPPER}${code}\n})`, { filename: file });
}

/**
 * The code of a module that exports `import`. The blank before `(` hides the call from the bundler, which replaces
 * `import(`.
 */
const IMPORT = 'module.exports = (specifier) => import (specifier);';

/**
 * Imports `specifier` as Node.js resolves it from `file`. For this, Node.js runs a line of code under the name of
 * `file`.
 */
function importFrom(file: string, specifier: string): Promise<unknown> {
  const module = new Module(file) as Module & { _compile(code: string, file: string): void };
  module._compile(IMPORT, file);
  return (module.exports as (specifier: string) => Promise<unknown>)(specifier);
}

/**
 * Says whether `importer` is `known`, or was imported by `known` directly or through other files. Then `known` waits
 * for `importer`, so `importer` must not wait for `known`.
 */
function isWaiting(known: Loaded, importer: Loaded | undefined): boolean {
  return importer !== undefined && (importer === known || isWaiting(known, importer.importer));
}

/**
 * Returns the file of a module if it is JavaScript of the user. Returns undefined if the module is in a package, or is
 * a module of Node.js.
 */
function getOwnFile(resolved: NativeModule): string | undefined {
  if (resolved.kind === 'package') return undefined;
  const file = resolved.kind === 'import' ? resolved.file : resolved.id;
  const isOwn = /[\\/]/.test(file) && !/[\\/]node_modules[\\/]/.test(file) && /\.[cm]?js$/.test(file);
  return isOwn ? file : undefined;
}
