import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire, isBuiltin } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Script } from 'node:vm';
import { keep, readKept } from './cache.js';
import { interopDefault, getNamespace } from './interop.js';
import { resolveTarget, type Target } from './resolve.js';
import type { SharedModules } from './shared-packages.js';
import type { SourceFile } from './source-text.js';
import { WRAPPER } from './stack.js';
import { loadJiti, transformFast, transformFully } from './compile.js';

/** A file of the user's that is or was executed. */
interface Loaded {
  readonly file: string;
  /** Who imported it first. */
  readonly importer: Loaded | undefined;
  readonly module: { exports: unknown };
  /** Rejects when it throws. */
  done: Promise<void> | undefined;
}

export interface ModulesOptions {
  readonly shared: SharedModules;
  /** Where transformed code is kept; undefined: nowhere. */
  readonly cache: string | undefined;
  /** Of this program: another one may transform in another way. */
  readonly version: string;
}

const FAST_IMPORT = 'await ƒ(';
const IMPORTS = /(?:await ƒ|jitiImport)\((['"])((?:[^\\\n]|\\.)*?)\1\)/g;

/** What Node says of a file before it has executed anything of it. */
const NOT_STARTED: ReadonlySet<unknown> = new Set([
  'ERR_MODULE_NOT_FOUND',
  'ERR_REQUIRE_ESM',
  'ERR_UNKNOWN_FILE_EXTENSION',
  'ERR_UNSUPPORTED_DIR_IMPORT',
  'MODULE_NOT_FOUND',
]);

/**
 * Executes a config and the files that it imports, each once and in order, as jiti does: what Node can run as it is, it
 * runs as it is. Transformed code is kept by the content of its file.
 */
export class ConfigModules {
  readonly #options: ModulesOptions;
  /** By file; also of one that V8 then refuses. */
  readonly #codes = new Map<string, string>();
  readonly #scripts = new Map<string, Script>();
  readonly #loaded = new Map<string, Loaded>();

  constructor(options: ModulesOptions) {
    this.#options = options;
  }

  /** Executes the config, and returns what it exports. */
  async run({ file, text }: SourceFile): Promise<unknown> {
    await this.#compile(file, text);
    await this.#compileImports([file]);
    return this.#load(file, undefined);
  }

  /** The code that runs in place of a file. */
  getCode(file: string): string | undefined {
    return this.#codes.get(file);
  }

  /** Compiles what the last of `path` imports. Files that import each other need what only Babel does for them. */
  async #compileImports(path: readonly string[]): Promise<void> {
    const importer = path.at(-1) ?? '';
    for (const [, , specifier = ''] of this.getCode(importer)?.matchAll(IMPORTS) ?? []) {
      const target = this.#options.shared.has(specifier) ? undefined : resolveTarget(specifier, importer);
      if (target?.kind !== 'source') continue;
      const { file } = target;
      if (path.includes(file)) {
        const isFast = (each: string): boolean => this.getCode(each)?.includes(FAST_IMPORT) === true;
        for (const each of path.slice(path.indexOf(file)).filter(isFast)) this.#compileFully(each);
      } else if (!this.#scripts.has(file)) {
        await this.#compile(file);
        await this.#compileImports([...path, file]);
      }
    }
  }

  async #compile(file: string, text = readFileSync(file, 'utf8')): Promise<Script> {
    const kept = this.#keptFile(file, text);
    const found = kept && readKept(kept);
    const code = found ?? (await transformFast(text, file));
    const script = code === undefined ? undefined : acceptedScript(code, file);
    if (code === undefined || script === undefined) return this.#compileFully(file, text);
    if (kept && found === undefined) keep(kept, code);
    this.#codes.set(file, code);
    this.#scripts.set(file, script);
    return script;
  }

  #compileFully(file: string, text = readFileSync(file, 'utf8')): Script {
    const code = transformFully(text, file);
    this.#codes.set(file, code);
    const script = compileScript(code, file);
    this.#scripts.set(file, script);
    const kept = this.#keptFile(file, text);
    if (kept) keep(kept, code);
    return script;
  }

  #keptFile(file: string, text: string): string | undefined {
    const { cache, version } = this.#options;
    const hash = createHash('sha256').update([version, file, text].join('\0')).digest('hex');
    return cache && join(cache, `${hash.slice(0, 32)}.js`);
  }

  async #load(file: string, importer: Loaded | undefined): Promise<unknown> {
    const known = this.#loaded.get(file);
    if (known !== undefined) {
      // One that waits for its importer gives what it has so far, as in CommonJS: else both would wait for ever.
      if (!isWaiting(known, importer)) await known.done;
      return known.module.exports;
    }
    const loaded: Loaded = { file, importer, module: { exports: {} }, done: undefined };
    this.#loaded.set(file, loaded);
    loaded.done = this.#execute(loaded);
    await loaded.done;
    return loaded.module.exports;
  }

  async #execute(loaded: Loaded): Promise<void> {
    const { file, module } = loaded;
    const script = this.#scripts.get(file) ?? (await this.#compile(file));
    const load = (specifier: unknown): Promise<unknown> => this.#import(String(specifier), loaded);
    const link = Object.assign(load, {
      load: async (specifier: unknown) => getNamespace(await load(specifier)),
      meta: createImportMeta(file),
    });
    const esmResolve = (specifier: string): string => loadJiti(file).esmResolve(specifier);
    const run = script.runInThisContext() as (...names: readonly unknown[]) => Promise<void>;
    const names = [
      module.exports,
      this.#createRequire(file),
      module,
      file,
      dirname(file),
      load,
      esmResolve,
      link,
    ];
    await run.call(module.exports, ...names);
  }

  async #import(specifier: string, importer: Loaded): Promise<unknown> {
    const { shared } = this.#options;
    if (shared.has(specifier)) return interopDefault(shared.load(specifier));
    const target = resolveTarget(specifier, importer.file);
    if (target === undefined) return interopDefault(createRequire(importer.file)(specifier)); // Throws Node's own error.
    if (target.kind === 'source') return this.#load(target.file, importer);
    try {
      return interopDefault(await this.#runAsItIs(target, importer));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const file = target.kind === 'import' ? target.file : target.id;
      if (!NOT_STARTED.has(code) || !isOwnCode(file)) throw error;
      return this.#load(file, importer);
    }
  }

  #runAsItIs(target: Exclude<Target, { kind: 'source' }>, { file }: Loaded): unknown {
    const { shared } = this.#options;
    if (isOwnCode(target.kind === 'import' ? target.file : target.id)) shared.tellNode();
    else if (target.kind === 'import' || !isBuiltin(target.id)) shared.putInPlace();
    return target.kind === 'import'
      ? import(pathToFileURL(target.file).href)
      : createRequire(file)(target.id);
  }

  /** What a file calls by itself; Babel leaves it alone. */
  #createRequire(file: string): NodeJS.Require {
    const { shared } = this.#options;
    const native = createRequire(file);
    const require = (specifier: string): unknown => {
      if (shared.has(specifier)) return shared.load(specifier);
      const target = resolveTarget(specifier, file);
      if (target !== undefined && target.kind !== 'require')
        return loadJiti(file, shared.loadAll())(specifier);
      if (target !== undefined && isOwnCode(target.id)) shared.tellNode();
      else if (!isBuiltin(specifier)) shared.putInPlace();
      return native(specifier);
    };
    return Object.assign(require, native);
  }
}

/** Undefined for syntax that Sucrase has passed on and V8 does not know, and for what is wrong. */
function acceptedScript(code: string, file: string): Script | undefined {
  try {
    return compileScript(code, file);
  } catch {
    return undefined;
  }
}

function compileScript(code: string, file: string): Script {
  return new Script(`${WRAPPER}${code}\n})`, { filename: file });
}

/** Whether `known` is still being executed because it waits for `importer`, or for what has imported that. */
function isWaiting(known: Loaded, importer: Loaded | undefined): boolean {
  return importer !== undefined && (importer === known || isWaiting(known, importer.importer));
}

/** A file of the user's own, as opposed to one of a package or a module of Node's. */
function isOwnCode(file: string): boolean {
  return /[\\/]/.test(file) && !/[\\/]node_modules[\\/]/.test(file) && /\.[cm]?js$/.test(file);
}

function createImportMeta(file: string): object {
  const url = pathToFileURL(file).href;
  return {
    url,
    filename: file,
    dirname: dirname(file),
    resolve: (specifier: string) => loadJiti(file).esmResolve(specifier),
  };
}
