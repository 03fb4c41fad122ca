import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import Module, { createRequire, isBuiltin } from 'node:module';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Script } from 'node:vm';
import type { CodeCache } from './cache.js';
import { ANCHOR, compile, loadJiti, WRAPPER } from './compile.js';
import { interopDefault } from './interop.js';
import { resolveImport, resolveRequire, type ResolvedModule } from './resolve.js';
import type { SharedModules } from './shared-packages.js';
import type { ConfigFile } from './source-text.js';
import { ModuleTrust } from './module-trust.js';
import { compiledCode } from './stack.js';

/** A file of the user that is being executed or was executed. */
interface Loaded {
  readonly file: string;
  /** The file that imported this file first. Undefined for the config. */
  readonly importer: Loaded | undefined;
  readonly module: { exports: unknown };
  /** Resolves when the file was executed. Rejects if the file throws. */
  done: Promise<void> | undefined;
  /** A function in the scope of the module. Undefined until the file was executed. */
  anchor: (() => void) | undefined;
}

/** Options for executing the modules of a config. */
export interface ModulesOptions {
  readonly shared: SharedModules;
  /** The cache of compiled code. Undefined if compiled code is not cached. */
  readonly cache: CodeCache | undefined;
  /** Throws if another user could have written a file. */
  readonly assertTrusted: (file: string) => void;
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
  readonly #trust: ModuleTrust;
  readonly #loaded = new Map<string, Loaded>();

  constructor(options: ModulesOptions) {
    this.#options = options;
    this.#trust = new ModuleTrust(options.assertTrusted);
  }

  /** Executes the config, and resolves to its exports. */
  run({ file, text }: ConfigFile): Promise<unknown> {
    return this.#load(file, undefined, text);
  }

  /**
   * Executes a file unless it was executed before, and resolves to its exports. `importer` is the file that imports it.
   * `text` is its content if that is known already.
   */
  async #load(file: string, importer: Loaded | undefined, text?: string): Promise<unknown> {
    const known = this.#loaded.get(file);
    if (known !== undefined) {
      // If two files import each other, the second file gets the exports that the first file has so far, as in
      // CommonJS. Otherwise both files would wait for ever.
      if (!isWaiting(known, importer)) await known.done;
      return known.module.exports;
    }
    const loaded: Loaded = { file, importer, module: { exports: {} }, done: undefined, anchor: undefined };
    this.#loaded.set(file, loaded);
    loaded.done = this.#execute(loaded, text ?? this.#trust.readSource(file));
    await loaded.done;
    return loaded.module.exports;
  }

  /**
   * Runs the compiled code of a file. The arguments are the parameters of `WRAPPER`: those of CommonJS, and the
   * functions that jiti's code calls for `import()`, `import.meta.resolve` and `import.meta`.
   */
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
    const anchor = (inner: () => void): void => void (loaded.anchor = inner);
    await run.call(exports, exports, require, module, file, dirname(file), load, resolve, meta, anchor);
  }

  /** Returns the script of a file. It comes from the cache if the cache has the same text. */
  #getScript(file: string, text: string): Script {
    const { code, store } = this.#compile(file, text);
    // Also if V8 refuses the code, because errors need the source map of this code.
    compiledCode.set(file, code);
    const script = compileScript(code, file);
    store();
    return script;
  }

  /** Returns the compiled code of a file, and a function that stores the code in the cache. */
  #compile(file: string, text: string): { readonly code: string; readonly store: () => void } {
    const { cache, version } = this.#options;
    // The name is a hash of everything that the code depends on, so cached code is never out of date.
    const hash = createHash('sha256').update([version, WRAPPER, file, text].join('\0')).digest('hex');
    const cached = cache?.read(hash.slice(0, 32));
    const code = cached ?? compile(text, file);
    return { code, store: () => cached ?? cache?.write(hash.slice(0, 32), code) };
  }

  /** Returns the code of a file as V8 runs it if the file is compiled. Compiles a file that was not executed. */
  readCompiled(file: string): string {
    const known = compiledCode.get(file);
    if (known !== undefined) return known;
    const { code, store } = this.#compile(file, readFileSync(file, 'utf8'));
    store();
    return code;
  }

  /** Says whether a file was compiled and executed. */
  hasCompiled(file: string): boolean {
    return this.#loaded.has(file);
  }

  /** Returns the exports of a file that was compiled and executed. */
  getExports(file: string): unknown {
    return this.#loaded.get(file)?.module.exports;
  }

  /** Returns a function in the scope of a file that was compiled and executed. It shows the variables of the file. */
  getAnchor(file: string): (() => void) | undefined {
    return this.#loaded.get(file)?.anchor;
  }

  /** Returns the exports of a file that Node.js has executed as it is. Does not execute the file. */
  async getNativeExports(
    resolved: Exclude<ResolvedModule, { kind: 'compile' | 'package' }>,
  ): Promise<unknown> {
    if (resolved.kind === 'require') return createRequire(resolved.id).cache[resolved.id]?.exports;
    return importFrom(resolved.file, pathToFileURL(resolved.file).href);
  }

  /**
   * Imports a module for the user's code, in the first of these ways that applies:
   *
   * - a shared package: the copy of the program
   * - a file that must be compiled: see `#load`
   * - any other module: Node.js runs it. If Node.js can't run a JavaScript file of the user, for example because of a
   *   missing extension in an import, and has not executed any of it, the file is compiled instead.
   *
   * Throws the error of Node.js if there is no such module.
   */
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

  /** Makes Node.js load a module without compiling, by `require` or by `import`. Prepares the shared packages first. */
  #runAsItIs(resolved: NativeModule, importer: string): unknown {
    this.#trust.checkTree(resolved, importer);
    this.#prepareShared(resolved);
    if (resolved.kind === 'require') return createRequire(importer)(resolved.id);
    return importFrom(
      importer,
      resolved.kind === 'import' ? pathToFileURL(resolved.file).href : resolved.specifier,
    );
  }

  /**
   * Prepares the shared packages for a module that Node.js is about to run. For a file of the user, Node.js resolves
   * imports of the shared packages. A package gets them from the cache of `require`. A module of Node.js needs none.
   */
  #prepareShared(resolved: NativeModule): void {
    const { shared } = this.#options;
    if (getOwnFile(resolved) !== undefined) shared.registerWithNode();
    else if (resolved.kind !== 'require' || !isBuiltin(resolved.id)) shared.fillRequireCache();
  }

  /**
   * Creates the `require` of a compiled file. It returns the program's copy of a shared package. jiti loads what
   * `require` of Node.js can't load: TypeScript and ES modules. Node.js loads everything else.
   */
  #createRequire(file: string): NodeJS.Require {
    const { shared } = this.#options;
    const native = createRequire(file);
    const require = (specifier: string): unknown => {
      if (shared.has(specifier)) return shared.load(specifier);
      const resolved = resolveRequire(specifier, file) ?? resolveImport(specifier, file);
      if (resolved !== undefined) this.#trust.checkTree(resolved, file);
      if (resolved !== undefined && resolved.kind !== 'require')
        return loadJiti(file, shared.loadAll())(specifier);
      if (resolved !== undefined) this.#prepareShared(resolved);
      return native(specifier);
    };
    return Object.assign(require, native);
  }
}

/** A module that Node.js runs without compiling. */
type NativeModule = Exclude<ResolvedModule, { kind: 'compile' }>;

/** Makes V8 parse the compiled code of a file. Throws a `SyntaxError` if V8 refuses the code. */
function compileScript(code: string, file: string): Script {
  return new Script(`${WRAPPER}${code}\n${ANCHOR} })`, { filename: file });
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
