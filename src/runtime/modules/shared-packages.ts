import Module, { createRequire, register } from 'node:module';
import { existsSync, readFileSync } from 'node:fs';
import { sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What a config shares with the program that runs it: one instance of each. */
export interface Shared {
  readonly api: Api;
  readonly packages: readonly SharedPackage[];
  /** The directory of the program's own code, with a slash at its end. */
  readonly own: URL;
  /** Of the program. */
  readonly version: string;
}

/** Our public module. */
export interface Api {
  /** `@oneshot/etl` */
  readonly name: string;
  /** Gives the instance that runs. */
  load(): unknown;
  /** A module that gives the same instance to Node. */
  readonly entry: URL;
}

/** A package of ours that a config may use without installing it. */
export interface SharedPackage {
  readonly name: string;
  /** Of the program's copy. */
  version(): string;
  /** Gives the program's instance; it is loaded at the first call. */
  load(): unknown;
  /** A CommonJS file that Node takes for the package where none is installed: it tells Node the names of its exports. */
  readonly entry: URL;
}

type Resolve = (
  specifier: string,
  context: { readonly parentURL?: string },
  next: (specifier: string, context: object) => unknown,
) => unknown;

/** Since Node 22.15: hooks in this thread, for `import` and `require`. */
interface SyncHooks {
  readonly registerHooks?: (hooks: { readonly resolve: Resolve }) => unknown;
}

const require = createRequire(import.meta.url);

/**
 * The modules that a config shares with the program. A Dag that another copy of our package made is no Dag here, so one
 * instance has to be the only one, wherever the config lies and whatever is installed beside it. Of knex, objection and
 * pg the config gets the program's copy too, unless its project has another version, which wins: two copies of one
 * version would be two `Model` classes, and would be loaded twice.
 */
export class SharedModules {
  readonly #shared: Shared;
  readonly #resolveFromConfig: Resolver;
  /** Whether the program's copy is the one; decided when it is first asked for, because looking takes a millisecond. */
  readonly #isSharedByName = new Map<string, boolean>();
  readonly #urls: Record<string, string> = {};
  #isRegistered = false;

  constructor(config: string, shared: Shared) {
    this.#shared = shared;
    this.#resolveFromConfig = createResolver(config);
  }

  has(name: string): boolean {
    if (name === this.#shared.api.name) return true;
    const sharedPackage = this.#shared.packages.find((each) => each.name === name);
    return sharedPackage !== undefined && this.#decideShared(sharedPackage);
  }

  load(name: string): unknown {
    const { api, packages } = this.#shared;
    return [api, ...packages].find((each) => each.name === name)?.load();
  }

  /** By name; each is loaded when it is read. */
  loadAll(): Record<string, unknown> {
    const loadAll: Record<string, unknown> = {};
    for (const { name } of [this.#shared.api, ...this.#shared.packages]) {
      if (!this.has(name)) continue;
      Object.defineProperty(loadAll, name, { get: () => this.load(name), enumerable: true });
    }
    return loadAll;
  }

  /** Before Node runs a package by itself, which may load one of ours. */
  fillRequireCache(): void {
    for (const each of this.#shared.packages) this.#decideShared(each);
  }

  /**
   * Makes Node find them as well, for files that it runs as they are: all outside of `node_modules` and of our own, until
   * the process ends. Before Node 22.15 it can be told for `import` only.
   */
  registerWithNode(): void {
    this.fillRequireCache();
    const { api, own } = this.#shared;
    if (this.#resolveFromConfig(api.name) !== fileURLToPath(api.entry)) this.#urls[api.name] = api.entry.href;
    if (this.#isRegistered || Object.keys(this.#urls).length === 0) return;
    this.#isRegistered = true;
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

  #decideShared(sharedPackage: SharedPackage): boolean {
    const { name } = sharedPackage;
    const known = this.#isSharedByName.get(name);
    if (known !== undefined) return known;
    const theirs = this.#resolveFromConfig(name);
    const isShared = theirs === undefined || readVersion(theirs, name) === sharedPackage.version();
    this.#isSharedByName.set(name, isShared);
    if (isShared) {
      addToRequireCache(theirs ?? fileURLToPath(sharedPackage.entry), sharedPackage);
      if (theirs === undefined) this.#urls[name] = sharedPackage.entry.href;
    }
    return isShared;
  }
}

type Resolver = (name: string) => string | undefined;

/** What Node resolves a name to from `file`, or undefined where it finds nothing. */
function createResolver(file: string): Resolver {
  const beside = createRequire(file);
  return (name) => {
    try {
      return beside.resolve(name);
    } catch {
      return undefined;
    }
  };
}

/** The version of the package that has this file; undefined where its manifest names none. */
function readVersion(file: string, name: string): string | undefined {
  const folder = `${sep}node_modules${sep}${name}${sep}`;
  const end = file.lastIndexOf(folder) + folder.length;
  const manifest = `${file.slice(0, end)}package.json`;
  if (end < folder.length || !existsSync(manifest)) return undefined;
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version?: string }).version;
}

/** Whoever makes Node load this file, also another package, gets the program's instance. */
function addToRequireCache(file: string, sharedPackage: SharedPackage): void {
  if (require.cache[file] !== undefined) return;
  const module = new Module(file);
  Object.defineProperty(module, 'exports', { get: () => sharedPackage.load() });
  module.filename = file;
  module.loaded = true;
  require.cache[file] = module;
}

/** The same hook for older versions of Node, which run it in a thread of its own. */
const THREAD_HOOKS = `
let told;
export function initialize(data) { told = data; }
export function resolve(specifier, context, next) {
  const parent = context.parentURL ?? '';
  const isOurs = parent.includes('/node_modules/') || parent.startsWith(told.own);
  const url = isOurs ? undefined : told.urls[specifier];
  return url === undefined ? next(specifier, context) : { url, shortCircuit: true };
}`;
