import { createHash } from 'node:crypto';
import { accessSync, constants, type Dirent, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, relative, sep } from 'node:path';
import type { CodeCache } from '../modules/cache.js';
import type { ConfigModules } from '../modules/modules.js';
import { isInstalled, type CompiledModule, type NativeFile } from '../modules/resolve.js';
import type { ModuleModel } from './module-model.js';
import { parseModule } from './parse-module.js';
import { OUR_NAME } from './piece-builder.js';

/** A module of the user, with the modules that it imports. */
export interface GraphModule {
  readonly file: string;
  /** The path for messages. */
  readonly name: string;
  readonly model: ModuleModel;
  /** By the specifier of an import: what it leads to. */
  readonly targets: ReadonlyMap<string, Target>;
  /** The exports. Undefined if the module was not executed. */
  readonly exports: unknown;
  /** A function in the scope of the module, if there is one. */
  readonly anchor: (() => void) | undefined;
  /** The text before the code in the first line of its script, in characters. */
  readonly indent: number;
}

/** A file of the user. */
export type LocalFile = CompiledModule | NativeFile;

/** The module or the package that an import names. */
export type Target =
  | { readonly kind: 'module'; readonly file: string }
  /** A file that is no code, such as JSON, or all files of a package in a linked folder. */
  | { readonly kind: 'data'; readonly name: string; readonly hash: string }
  | { readonly kind: 'package'; readonly name: string; readonly version: string }
  | { readonly kind: 'builtin'; readonly name: string }
  /** This package, and packages that are not installed. */
  | { readonly kind: 'none' };

/** The services of a module graph. */
export interface GraphOptions {
  readonly modules: ConfigModules;
  /** The config, or the modules that it names. The graph begins there. */
  readonly entries: readonly LocalFile[];
  /** The directory of the config. Names of files in messages are relative to it. */
  readonly directory: string;
  /** Keeps the models of modules by their text. */
  readonly cache: CodeCache | undefined;
  /** The version of this program. Another version does not use the cached models. */
  readonly version: string;
  /** The text before compiled code in the first line of its script. */
  readonly indent: number;
}

/** The modules of the user that the config imports, directly or through others. */
export class ModuleGraph {
  /** The modules by file, in the order in which they were found. */
  readonly modules = new Map<string, GraphModule>();
  readonly #options: GraphOptions;

  constructor(options: GraphOptions) {
    this.#options = options;
  }

  /** Reads all modules. */
  async load(): Promise<void> {
    const { entries } = this.#options;
    const waiting = entries.map((local) => ({ local, isExecuted: true }));
    const known = new Set(entries.map(({ file }) => file));
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const file = next.local.file;
      // The code has not executed a file that this user may not read, so its text does not count.
      if (!this.#options.modules.hasCompiled(file) && !canRead(file)) continue;
      const { model, isCompiled } = this.#readModel(next.local);
      const targets = new Map<string, Target>();
      for (const specifier of [...model.imports, ...model.lateImports]) {
        const { target, local } = this.#resolve(specifier, file);
        targets.set(specifier, target);
        if (local === undefined || known.has(local.file)) continue;
        known.add(local.file);
        waiting.push({ local, isExecuted: next.isExecuted && model.imports.includes(specifier) });
      }
      this.modules.set(file, {
        file,
        name: this.#shorten(file),
        model,
        targets,
        exports: next.isExecuted ? await this.#readExports(next.local) : undefined,
        anchor: this.#options.modules.getAnchor(file),
        indent: isCompiled ? this.#options.indent : 0,
      });
    }
  }

  /** Returns the module that an import of another module leads to, if that is a module of the user. */
  find(target: Target): GraphModule | undefined {
    return target.kind === 'module' ? this.modules.get(target.file) : undefined;
  }

  async #readExports(local: LocalFile): Promise<unknown> {
    const { modules } = this.#options;
    const file = local.file;
    if (modules.hasCompiled(file)) return modules.getExports(file);
    if (local.kind === 'compile') return undefined; // Nothing has executed it.
    try {
      return await modules.getNativeExports(local);
    } catch {
      return undefined; // The user's code has caught that the module threw an error.
    }
  }

  /** Reads the model of a module from the cache, or makes it. */
  #readModel(local: LocalFile): { model: ModuleModel; isCompiled: boolean } {
    const { modules, cache, version, directory } = this.#options;
    const file = local.file;
    const isCompiled = local.kind === 'compile' || modules.hasCompiled(file);
    const text = isCompiled ? modules.readCompiled(file) : readFileSync(file, 'utf8');
    const isModule = !isCompiled && local.kind === 'import';
    const hash = createHash('sha256')
      .update([version, 'model', isModule, directory, text].join('\0'))
      .digest('hex');
    const cached = cache?.read(hash.slice(0, 32));
    if (cached !== undefined) return { model: JSON.parse(cached) as ModuleModel, isCompiled };
    const model = parseModule(text, isModule, directory);
    cache?.write(hash.slice(0, 32), JSON.stringify(model));
    return { model, isCompiled };
  }

  /** Finds what an import leads to. `local` is the module of the user that has to be read. */
  #resolve(specifier: string, file: string): { target: Target; local?: LocalFile } {
    if (specifier === OUR_NAME) return { target: { kind: 'none' } };
    const { resolver } = this.#options.modules;
    const resolved =
      resolver.resolve(specifier, file, 'import') ?? resolver.resolve(specifier, file, 'require');
    if (resolved === undefined) return { target: { kind: 'none' } };
    if (resolved.kind === 'package') {
      const folder = realpathSync(dirname(resolved.manifest ?? file));
      // A linked package that exports no file which can be found.
      return {
        target: isInstalled(join(folder, sep)) ? readPackage(join(folder, sep)) : this.#hashFolder(folder),
      };
    }
    const { file: found } = resolved;
    if (isBuiltin(found)) return { target: { kind: 'builtin', name: found.replace(/^node:/, '') } };
    if (isInstalled(found)) return { target: readPackage(found) };
    if (!/\.[cm]?[jt]sx?$/.test(found)) return { target: this.#hashFile(found) };
    return { target: { kind: 'module', file: found }, local: resolved };
  }

  #hashFile(file: string): Target {
    const hash = createHash('sha256').update(readBytes(file)).digest('base64url').slice(0, 12);
    return { kind: 'data', name: this.#shorten(file), hash };
  }

  /** Hashes all files of a folder, apart from those in its `node_modules` and those whose names begin with a dot. */
  #hashFolder(folder: string): Target {
    const hash = createHash('sha256');
    const folders = [folder];
    for (let each = folders.pop(); each !== undefined; each = folders.pop()) {
      for (const entry of listEntries(each)) {
        if (entry.name === 'node_modules' || entry.name.startsWith('.')) continue;
        const path = join(each, entry.name);
        if (entry.isDirectory()) folders.push(path);
        else if (entry.isFile()) hash.update(`${path.slice(folder.length)}\0`).update(readBytes(path));
      }
    }
    return { kind: 'data', name: this.#shorten(folder), hash: hash.digest('base64url').slice(0, 12) };
  }

  /** Returns the path for messages. It is the same on another machine with the same project. */
  #shorten(file: string): string {
    return relative(this.#options.directory, file).replaceAll(sep, '/');
  }
}

function canRead(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** Returns the content of a file. Empty if this user may not read it: then the code has not read it either. */
function readBytes(file: string): Buffer {
  return canRead(file) ? readFileSync(file) : Buffer.alloc(0);
}

/** Lists a folder by name. Empty if this user may not read it. */
function listEntries(folder: string): readonly Dirent[] {
  if (!canRead(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Reads the name and the version of the installed package that a file belongs to. */
function readPackage(file: string): Target {
  const [start = '', name = ''] = /^.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+)/.exec(file) ?? [];
  try {
    const { version = '' } = JSON.parse(readFileSync(join(start, 'package.json'), 'utf8')) as {
      version?: string;
    };
    return { kind: 'package', name: name.replaceAll(sep, '/'), version };
  } catch {
    return { kind: 'package', name: name.replaceAll(sep, '/'), version: '' };
  }
}
