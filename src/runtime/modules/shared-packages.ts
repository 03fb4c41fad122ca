import Module, { createRequire, register } from 'node:module';
import { dirname, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readIfReadable } from './packages.js';
import { resolveWithNode } from './resolve.js';

/**
 * The modules that a config shares with the program that runs it. An instance of a module is the loaded module with its
 * classes and its state. Program and config use one instance of each shared module.
 */
export interface Shared {
  readonly api: Api;
  readonly packages: readonly SharedPackage[];
  /** The directory of the program's own code, with a slash at the end. */
  readonly own: URL;
  /** The version of the program. */
  readonly version: string;
}

/** The public module of the program. */
export interface Api {
  /** `@oneshot/etl` */
  readonly name: string;
  /** Returns the public module as the running program has loaded it. */
  load(): unknown;
  /**
   * A module file that exports the same as `load()`. When a module of the project imports `@oneshot/etl`, Node.js loads
   * this file, and not the copy of `@oneshot/etl` in the project's `node_modules`.
   */
  readonly entry: URL;
}

/** A package of the program that a config may use without installing it. */
export interface SharedPackage {
  readonly name: string;
  /** Returns the version of the program's copy. */
  version(): string;
  /** Returns the package as the program has loaded it. The first call loads the package. */
  load(): unknown;
  /**
   * A CommonJS file that stands for the package if none is installed. Node.js reads the names of the exports from it.
   */
  readonly entry: URL;
}

type Resolve = (
  specifier: string,
  context: { readonly parentURL?: string },
  next: (specifier: string, context: object) => unknown,
) => unknown;

/**
 * The part of `node:module` that registers hooks in this thread, for `import` and `require`. Node.js has it since
 * 22.15.
 */
interface SyncHooks {
  readonly registerHooks?: (hooks: { readonly resolve: Resolve }) => unknown;
}

const require = createRequire(import.meta.url);

/**
 * Gives a config the modules that it shares with the program.
 *
 * The public module has one instance only, wherever the config is and whatever is installed beside it: a Dag that
 * another copy of the package made is not a Dag for this program.
 *
 * The config also gets the program's copy of knex, objection and pg. If the project has another version of one of these
 * packages installed, the config gets that version. If the versions are equal, the config gets the program's copy: two
 * copies would have two `Model` classes, and would take time to load twice.
 */
export class SharedModules {
  readonly #shared: Shared;
  readonly #config: string;
  /**
   * By package name: whether the config gets the program's copy. Filled on demand, because each check takes a
   * millisecond.
   */
  readonly #isSharedByName = new Map<string, boolean>();
  /**
   * By package name: the file that Node.js loads in place of the package, for packages that are not installed, and for
   * the public module.
   */
  readonly #urls: Record<string, string> = {};
  /** Whether the hooks are registered with Node.js. They are registered at most once. */
  #isRegistered = false;

  constructor(config: string, shared: Shared) {
    this.#shared = shared;
    this.#config = config;
  }

  /** Says whether a config gets the program's copy of the module. */
  has(name: string): boolean {
    if (name === this.#shared.api.name) return true;
    const sharedPackage = this.#shared.packages.find((each) => each.name === name);
    return sharedPackage !== undefined && this.#decideShared(sharedPackage);
  }

  /**
   * Returns the shared module with this name as the program has loaded it. Returns undefined if no shared module has
   * this name.
   */
  load(name: string): unknown {
    const { api, packages } = this.#shared;
    return [api, ...packages].find((each) => each.name === name)?.load();
  }

  /**
   * Prepares for a package that Node.js loads itself: if this package requires a shared package, it gets the shared
   * copy.
   */
  fillRequireCache(): void {
    for (const each of this.#shared.packages) this.#decideShared(each);
  }

  /**
   * Makes Node.js resolve the shared modules for files that it runs itself, until the process ends. Files in
   * `node_modules` and files of the program are left out. Before Node.js 22.15 this works for `import` only.
   */
  registerWithNode(): void {
    this.fillRequireCache();
    const { api, own } = this.#shared;
    const theirs = resolveWithNode(api.name, this.#config);
    // `require` has a file of its own, beside the file for `import`.
    if (theirs === undefined || dirname(theirs) !== dirname(fileURLToPath(api.entry)))
      this.#urls[api.name] = api.entry.href;
    if (this.#isRegistered || Object.keys(this.#urls).length === 0) return;
    this.#isRegistered = true;
    // `#urls` is passed by reference, so the hooks in this thread also see packages that are added later.
    const told = { urls: this.#urls, own: own.href };
    const { registerHooks }: SyncHooks = require('node:module');
    if (registerHooks === undefined) {
      register(`data:text/javascript,${encodeURIComponent(THREAD_HOOKS)}`, { data: told });
      return;
    }
    registerHooks({
      resolve: (specifier, context, next) => {
        const parent = context.parentURL ?? '';
        const isOurs = parent.includes('/node_modules/') || parent.startsWith(told.own);
        const url = isOurs ? undefined : told.urls[specifier];
        return url === undefined ? next(specifier, context) : { url, shortCircuit: true };
      },
    });
  }

  /**
   * Says whether the config gets the program's copy of a package: true if the project has not installed the package, or
   * has installed the same version. The first call for a package also puts the copy into the cache of `require`.
   */
  #decideShared(sharedPackage: SharedPackage): boolean {
    const { name } = sharedPackage;
    const known = this.#isSharedByName.get(name);
    if (known !== undefined) return known;
    const theirs = resolveWithNode(name, this.#config);
    const isShared = theirs === undefined || readVersion(theirs, name) === sharedPackage.version();
    this.#isSharedByName.set(name, isShared);
    if (isShared) {
      addToRequireCache(theirs ?? fileURLToPath(sharedPackage.entry), sharedPackage);
      if (theirs === undefined) this.#urls[name] = sharedPackage.entry.href;
    }
    return isShared;
  }
}

/** Reads the version of the package `name` that contains `file`. Returns undefined if its manifest has no version. */
function readVersion(file: string, name: string): string | undefined {
  const folder = `${sep}node_modules${sep}${name}${sep}`;
  const end = file.lastIndexOf(folder) + folder.length;
  const manifest = `${file.slice(0, end)}package.json`;
  const text = end < folder.length ? undefined : readIfReadable(manifest);
  return text === undefined ? undefined : (JSON.parse(text) as { version?: string }).version;
}

/**
 * Puts the program's copy of a package into the cache of `require` under the path `file`. Every `require` that resolves
 * to this path then gets the copy. The package is loaded when its exports are first read.
 */
function addToRequireCache(file: string, sharedPackage: SharedPackage): void {
  if (require.cache[file] !== undefined) return;
  const module = new Module(file);
  Object.defineProperty(module, 'exports', { get: () => sharedPackage.load() });
  module.filename = file;
  module.loaded = true;
  require.cache[file] = module;
}

/** The same hook for versions of Node.js before 22.15, which run hooks in a thread of their own. */
const THREAD_HOOKS = `
let told;
export function initialize(data) { told = data; }
export function resolve(specifier, context, next) {
  const parent = context.parentURL ?? '';
  const isOurs = parent.includes('/node_modules/') || parent.startsWith(told.own);
  const url = isOurs ? undefined : told.urls[specifier];
  return url === undefined ? next(specifier, context) : { url, shortCircuit: true };
}`;
