import Module, { createRequire, register } from 'node:module';
import { existsSync, readFileSync } from 'node:fs';
import { sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** What a config shares with the program that runs it: one instance of each. */
export interface Shared {
  readonly api: Api;
  readonly packages: readonly LentPackage[];
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
export interface LentPackage {
  readonly name: string;
  readonly version: string;
  /** Gives the program's instance; it is loaded at the first call. */
  load(): unknown;
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

/** The modules that a config shares with the program. */
export class SharedModules {
  readonly #loads = new Map<string, () => unknown>();
  readonly #urls: Record<string, string> = {};
  readonly #own: URL;
  #isTold = false;

  /**
   * A Dag that another copy of our package made is no Dag here, so one instance has to be the only one, wherever the
   * config lies and whatever is installed beside it. Of knex, objection and pg the config gets the program's copy too,
   * unless its project has another version, which wins: two copies of one version would be two `Model` classes, and
   * would be loaded twice.
   */
  constructor(config: string, { api, packages, own }: Shared) {
    this.#own = own;
    const [beside, inside] = [resolverOf(config), resolverOf(fileURLToPath(new URL('index.js', own)))];
    this.#loads.set(api.name, () => api.load());
    if (beside(api.name) !== fileURLToPath(api.entry)) this.#urls[api.name] = api.entry.href;
    for (const each of packages) {
      const theirs = beside(each.name);
      if (theirs !== undefined && versionAt(theirs, each.name) !== each.version) continue;
      this.#loads.set(each.name, () => each.load());
      const file = theirs ?? inside(each.name);
      if (file === undefined) continue;
      putInPlace(file, each);
      if (theirs === undefined) this.#urls[each.name] = pathToFileURL(file).href;
    }
  }

  has(name: string): boolean {
    return this.#loads.has(name);
  }

  load(name: string): unknown {
    return this.#loads.get(name)?.();
  }

  /** By name; a package is loaded when it is read. */
  all(): Record<string, unknown> {
    const all: Record<string, unknown> = {};
    for (const [name, get] of this.#loads) Object.defineProperty(all, name, { get, enumerable: true });
    return all;
  }

  /**
   * Makes Node find them as well, for files that it runs as they are: all outside of `node_modules` and of our own, until
   * the process ends. Before Node 22.15 it can be told for `import` only.
   */
  tellNode(): void {
    if (this.#isTold || Object.keys(this.#urls).length === 0) return;
    this.#isTold = true;
    const told = { urls: this.#urls, own: this.#own.href };
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
}

/** What Node resolves a name to from `file`, or undefined where it finds nothing. */
function resolverOf(file: string): (name: string) => string | undefined {
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
function versionAt(file: string, name: string): string | undefined {
  const folder = `${sep}node_modules${sep}${name}${sep}`;
  const end = file.lastIndexOf(folder) + folder.length;
  const manifest = `${file.slice(0, end)}package.json`;
  if (end < folder.length || !existsSync(manifest)) return undefined;
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version?: string }).version;
}

/** Whoever makes Node load this file, also another package, gets the program's instance. */
function putInPlace(file: string, lent: LentPackage): void {
  if (require.cache[file] !== undefined) return;
  const module = new Module(file);
  Object.defineProperty(module, 'exports', { get: () => lent.load() });
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
