import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import Module, { createRequire, isBuiltin } from 'node:module';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Script } from 'node:vm';
import { EtlError } from '../../errors.js';
import type { CodeCache } from './cache.js';
import { ANCHOR, chooseMode, compile, SYNC_WRAPPER, WRAPPER, type SourceFile } from './compile.js';
import { interopDefault } from './interop.js';
import { isInstalled, ModuleResolver, type NativeFile, type ResolvedModule } from './resolve.js';
import type { SharedModules } from './shared-packages.js';
import type { ConfigFile } from './source-text.js';
import { ModuleTrust } from './module-trust.js';
import { compiledCode } from './stack.js';
import { TypeScriptProjects } from './typescript-project.js';

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
  /** The conditions of `exports` in a package.json that the user has given to Node.js. */
  readonly conditions: readonly string[];
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
  readonly resolver: ModuleResolver;
  readonly #trust: ModuleTrust;
  readonly #loaded = new Map<string, Loaded>();

  constructor(options: ModulesOptions) {
    this.#options = options;
    const { assertTrusted, conditions } = options;
    this.resolver = new ModuleResolver(new TypeScriptProjects(assertTrusted), conditions);
    this.#trust = new ModuleTrust(assertTrusted, this.resolver);
  }

  /** Executes the config, and resolves to its exports. */
  run({ file, text }: ConfigFile): Promise<unknown> {
    return this.#load(file, undefined, text);
  }

  /**
   * Executes a module that a config without code names, and resolves to its exports. Throws an error with the code of
   * Node.js if there is no such module.
   */
  async importFor(specifier: string, file: string): Promise<unknown> {
    const importer = {
      file,
      importer: undefined,
      module: { exports: {} },
      done: undefined,
      anchor: undefined,
    };
    return this.#import(specifier, importer);
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
   * Executes a file for `require`, unless it was executed before, and returns its exports. The exports of a file that is
   * still being executed are those that it has so far, as in CommonJS. Throws ETL-2104 for a file with a top-level await.
   */
  #loadSync(file: string, importer: Loaded): unknown {
    const known = this.#loaded.get(file);
    if (known !== undefined) return known.module.exports;
    const loaded: Loaded = { file, importer, module: { exports: {} }, done: undefined, anchor: undefined };
    this.#loaded.set(file, loaded);
    try {
      this.#start(loaded, { file, text: this.#trust.readSource(file), isSync: true });
    } catch (error) {
      this.#loaded.delete(file);
      throw error;
    }
    loaded.done = Promise.resolve();
    return loaded.module.exports;
  }

  async #execute(loaded: Loaded, text: string): Promise<void> {
    await this.#start(loaded, { file: loaded.file, text, isSync: false });
  }

  /**
   * Runs the compiled code of a file. The arguments are the parameters of `WRAPPER`: those of CommonJS, and the
   * functions that jiti's code calls for `import()`, `import.meta.resolve` and `import.meta`.
   */
  #start(loaded: Loaded, source: SourceFile): unknown {
    const { file, module } = loaded;
    const run = this.#getScript(source).runInThisContext() as (...args: readonly unknown[]) => unknown;
    const load = (specifier: unknown): Promise<unknown> => this.#import(String(specifier), loaded);
    const resolve = (specifier: string): string => this.#resolveUrl(specifier, file);
    const url = pathToFileURL(file).href;
    const meta = { url, filename: file, dirname: dirname(file), resolve };
    const { exports } = module;
    const require = this.#createRequire(loaded);
    const anchor = (inner: () => void): void => void (loaded.anchor = inner);
    return run.call(exports, exports, require, module, file, dirname(file), load, resolve, meta, anchor);
  }

  /** Returns the script of a file. It comes from the cache if the cache has the same text. */
  #getScript(source: SourceFile): Script {
    const { code, store } = this.#compile(source);
    // Also if V8 refuses the code, because errors need the source map of this code.
    compiledCode.set(source.file, code);
    const script = compileScript(code, source);
    store();
    return script;
  }

  /** Returns the compiled code of a file, and a function that stores the code in the cache. */
  #compile(source: SourceFile): { readonly code: string; readonly store: () => void } {
    const { cache, version } = this.#options;
    const { file, text } = source;
    const mode = chooseMode(source, () => this.resolver.findProject(file));
    // The name is a hash of everything that the code depends on, so cached code is never out of date.
    const key = [version, WRAPPER, file, text, mode.isSync, JSON.stringify(mode.options)].join('\0');
    const name = createHash('sha256').update(key).digest('hex').slice(0, 32);
    const cached = cache?.read(name);
    const code = cached ?? compile(source, mode);
    return { code, store: () => cached ?? cache?.write(name, code) };
  }

  /** Returns the code of a file as V8 runs it if the file is compiled. Compiles a file that was not executed. */
  readCompiled(file: string): string {
    const known = compiledCode.get(file);
    if (known !== undefined) return known;
    const { code, store } = this.#compile({ file, text: readFileSync(file, 'utf8'), isSync: false });
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
  async getNativeExports({ kind, file }: NativeFile): Promise<unknown> {
    if (kind === 'require') return createRequire(file).cache[file]?.exports;
    return importFrom(file, pathToFileURL(file).href);
  }

  /**
   * Imports a module for the user's code, in the first of these ways that applies:
   *
   * - a shared package: the copy of the program
   * - a file that must be compiled, or JavaScript of the user that imports such a file: see `#load`
   * - any other module: Node.js runs it. If Node.js can't run a JavaScript file of the user, for example because of a
   *   missing extension in an import, and has not executed any of it, the file is compiled instead.
   *
   * Throws an error with the code of Node.js if there is no such module.
   */
  async #import(specifier: string, importer: Loaded): Promise<unknown> {
    const { shared } = this.#options;
    if (shared.has(specifier)) return interopDefault(shared.load(specifier));
    const resolved = this.resolver.resolve(specifier, importer.file, 'import');
    if (resolved === undefined) return interopDefault(this.#requireMissing(specifier, importer.file));
    if (!this.#isNative(resolved)) return this.#load(resolved.file, importer);
    const own = getOwnFile(resolved);
    try {
      this.#prepareShared(resolved);
      return interopDefault(await this.#runAsItIs(resolved, importer.file));
    } catch (error) {
      if (own === undefined || !NOT_STARTED.has((error as NodeJS.ErrnoException).code)) throw error;
      return this.#load(own, importer);
    }
  }

  /** Makes Node.js load a module without compiling, by `require` or by `import`. */
  #runAsItIs(resolved: NativeModule, importer: string): unknown {
    if (resolved.kind === 'require') return createRequire(importer)(resolved.file);
    return importFrom(
      importer,
      resolved.kind === 'import' ? pathToFileURL(resolved.file).href : resolved.specifier,
    );
  }

  /** Checks a module before it is executed, and says whether Node.js can run it. */
  #isNative(resolved: ResolvedModule): resolved is NativeModule {
    this.#trust.checkManifest(resolved);
    return (
      resolved.kind !== 'compile' && (this.#trust.checkTree(resolved) || getOwnFile(resolved) === undefined)
    );
  }

  /** Throws the error of Node.js for a module that does not exist. Adds the paths that the tsconfig.json gives it. */
  #requireMissing(specifier: string, file: string): unknown {
    try {
      return createRequire(file)(specifier);
    } catch (error) {
      const alias = this.resolver.findLostAlias(specifier, file);
      throw alias !== undefined && error instanceof Error ? Object.assign(error, { alias }) : error;
    }
  }

  /** Resolves a specifier as `import.meta.resolve` does. */
  #resolveUrl(specifier: string, file: string): string {
    const resolved = this.resolver.resolve(specifier, file, 'import');
    if (resolved?.file === undefined) return pathToFileURL(createRequire(file).resolve(specifier)).href;
    if (isBuiltin(resolved.file)) return `node:${resolved.file.replace(/^node:/, '')}`;
    return pathToFileURL(resolved.file).href;
  }

  /**
   * Prepares the shared packages for a module that Node.js is about to run. For a file of the user, Node.js resolves
   * imports of the shared packages. A package gets them from the cache of `require`. A module of Node.js needs none.
   */
  #prepareShared(resolved: NativeModule): void {
    const { shared } = this.#options;
    if (getOwnFile(resolved) !== undefined) shared.registerWithNode();
    else if (resolved.kind !== 'require' || !isBuiltin(resolved.file)) shared.fillRequireCache();
  }

  /**
   * Creates the `require` of a compiled file. It returns the program's copy of a shared package, and the same exports as
   * an import of the file. Node.js loads what it can run.
   */
  #createRequire(loaded: Loaded): NodeJS.Require {
    const { file } = loaded;
    const { shared } = this.#options;
    const native = createRequire(file);
    const require = (specifier: string): unknown => {
      if (shared.has(specifier)) return shared.load(specifier);
      const resolved =
        this.resolver.resolve(specifier, file, 'require') ?? this.resolver.resolve(specifier, file, 'import');
      if (resolved === undefined) return this.#requireMissing(specifier, file);
      if (!this.#isNative(resolved)) return this.#loadSync(resolved.file, loaded);
      this.#prepareShared(resolved);
      return native(resolved.file ?? specifier);
    };
    const resolve = (specifier: string, options?: NodeJS.RequireResolveOptions): string =>
      this.resolver.resolve(specifier, file, 'require')?.file ?? native.resolve(specifier, options);
    return Object.assign(require, native, { resolve: Object.assign(resolve, native.resolve) });
  }
}

/** A module that Node.js runs without compiling. */
type NativeModule = Exclude<ResolvedModule, { kind: 'compile' }>;

/**
 * Makes V8 parse the compiled code of a file. Throws a `SyntaxError` if V8 refuses the code, and ETL-2104 for a top-level
 * await in a file that `require` loads.
 */
function compileScript(code: string, { file, isSync }: SourceFile): Script {
  try {
    return new Script(`${isSync ? SYNC_WRAPPER : WRAPPER}${code}\n${ANCHOR} })`, { filename: file });
  } catch (error) {
    if (!isSync || !(error instanceof SyntaxError) || !error.message.startsWith('await is only valid'))
      throw error;
    throw new EtlError('ETL-2104', {
      what: `${file} can't be loaded by \`require\``,
      where: file,
      why: 'the file has a top-level await, and `require` does not wait',
      fix: 'load the file with `import`, also in the files that load it',
      cause: error,
    });
  }
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
function getOwnFile({ kind, file }: NativeModule): string | undefined {
  if (kind === 'package') return undefined;
  const isOwn = /[\\/]/.test(file) && !isInstalled(file) && /\.[cm]?js$/.test(file);
  return isOwn ? file : undefined;
}
