import { readFileSync, realpathSync, statSync } from 'node:fs';
import { createRequire, isBuiltin } from 'node:module';
import { dirname, extname, isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findPackageAbove, findPackagePlace, listImportTargets, type PackagePlace } from './packages.js';
import type { TypeScriptProject, TypeScriptProjects } from './typescript-project.js';

/** The module that an import or a `require` of the user's code resolves to. `kind` says how the module is run. */
export type ResolvedModule =
  | CompiledModule
  | NativeFile
  /**
   * An installed package with `exports` in its manifest. `import` of Node.js resolves and runs the package. `file` is the
   * file that it exports, if there is one.
   */
  | (Found & { readonly kind: 'package'; readonly specifier: string; readonly file: string | undefined });

/** A file that must be compiled. */
export type CompiledModule = Found & { readonly kind: 'compile'; readonly file: string };

/** A module that Node.js can run. `require` is CommonJS, JSON, or a module of Node.js, and `import` is an ES module. */
export type NativeFile =
  | (Found & { readonly kind: 'import'; readonly file: string })
  | (Found & { readonly kind: 'require'; readonly file: string });

interface Found {
  /** True if an alias of the tsconfig.json has led to the module. Node.js does not know these aliases. */
  readonly isAlias?: boolean;
  /** The package.json by which the module was found. Links are not followed. */
  readonly manifest?: string | undefined;
}

/** The two ways to load a module. A package may give each another file. */
export type LoadKind = 'import' | 'require';

/** An alias of `paths` for which no file exists. */
export interface LostAlias {
  /** The absolute path of the tsconfig.json. */
  readonly project: string;
  /** The absolute paths that `paths` maps the alias to. */
  readonly paths: readonly string[];
}

const EXTENSIONS = ['.js', '.ts', '.mjs', '.cjs', '.mts', '.cts', '.tsx', '.jsx', '.json'];
const SOURCE = /\.(?:[cm]?ts|tsx|jsx)$/;
const TYPESCRIPT = /\.(?:[cm]?ts|tsx)$/;
const DECLARATION = /\.d\.(?:[cm]?ts|[^.]+\.ts)$/;
const MODULE_SYNTAX = /^\s*(?:import\b(?!\s*\()|export\b)/m;

/** Resolves the imports of the user's files as TypeScript, tsx and Node.js do. */
export class ModuleResolver {
  readonly #projects: TypeScriptProjects;
  readonly #conditions: readonly string[];

  /** `conditions` are conditions of `exports` that the user has given to Node.js with `--conditions`. */
  constructor(projects: TypeScriptProjects, conditions: readonly string[]) {
    this.#projects = projects;
    this.#conditions = conditions;
  }

  /** Finds the tsconfig.json of a file. */
  findProject(file: string): TypeScriptProject | undefined {
    return this.#projects.find(file);
  }

  /**
   * Resolves `specifier` in `file`, in the first of these ways that applies:
   *
   * - `paths` and `baseUrl` of the tsconfig.json
   * - a module of Node.js
   * - a path. From TypeScript, `./a.js` means `a.ts` if there is one, and a specifier may have no extension.
   * - a name that begins with `#`, by `imports` of the package.json
   * - a package. A package in a linked folder, as in a workspace, may export TypeScript.
   *
   * Returns undefined if there is no such module.
   */
  resolve(specifier: string, file: string, kind: LoadKind): ResolvedModule | undefined {
    const aliased = this.#resolveAlias(specifier, file);
    if (aliased !== undefined) return aliased;
    if (isBuiltin(specifier)) return { kind: 'require', file: specifier };
    const path = getPath(specifier, file);
    if (path !== undefined) {
      const found = findLocalFile(path, TYPESCRIPT.test(file)) ?? resolveWithNode(path, file);
      return found === undefined ? undefined : classifyFile(found);
    }
    if (specifier.startsWith('#')) return this.#resolveOwnImport(specifier, file, kind);
    return this.#resolvePackage(specifier, file, kind);
  }

  /** Returns the paths of an alias in `paths` that leads to no file. Returns undefined if the specifier is no alias. */
  findLostAlias(specifier: string, file: string): LostAlias | undefined {
    const project = this.#findAliases(specifier, file);
    if (project?.hasPattern(specifier) !== true) return undefined;
    return { project: project.file, paths: project.mapSpecifier(specifier) };
  }

  #resolveAlias(specifier: string, file: string): ResolvedModule | undefined {
    for (const path of this.#findAliases(specifier, file)?.mapSpecifier(specifier) ?? []) {
      const found = findLocalFile(path, true) ?? findMain(path);
      if (found !== undefined) return { ...classifyFile(found), isAlias: true };
    }
    return undefined;
  }

  /** Finds the project whose aliases count in a file. JavaScript has aliases only if the project contains JavaScript. */
  #findAliases(specifier: string, file: string): TypeScriptProject | undefined {
    if (/^(?:node:|file:|#|\.\.?(?:[\\/]|$))/.test(specifier) || isAbsolute(specifier)) return undefined;
    const project = this.#projects.find(file);
    return project !== undefined && (TYPESCRIPT.test(file) || project.allowsJavaScript) ? project : undefined;
  }

  #resolveOwnImport(specifier: string, file: string, kind: LoadKind): ResolvedModule | undefined {
    for (const target of listImportTargets(specifier, file, this.#listConditions(kind))) {
      if (!isAbsolute(target)) return this.resolve(target, file, kind);
      const found = findLocalFile(target, true);
      if (found !== undefined) return classifyFile(found);
    }
    return undefined;
  }

  #resolvePackage(specifier: string, file: string, kind: LoadKind): ResolvedModule | undefined {
    const place = findPackagePlace(specifier, file, this.#listConditions(kind));
    const manifest = place && join(place.folder, 'package.json');
    const found = place && findFileOfPackage(place);
    const resolved = found === undefined ? undefined : classifyFile(found);
    if (resolved !== undefined && (resolved.kind === 'compile' || !isInstalled(resolved.file)))
      return { ...resolved, manifest };
    // Node.js itself runs the JavaScript of an installed package, and has the right error for a package without a file.
    if (place?.targets !== undefined && kind === 'import')
      return { kind: 'package', specifier, file: resolved?.file, manifest };
    const native = resolveWithNode(specifier, file);
    return native === undefined ? undefined : { ...classifyFile(native), manifest };
  }

  #listConditions(kind: LoadKind): readonly string[] {
    return [kind, 'node', 'node-addons', 'module-sync', ...this.#conditions];
  }
}

/**
 * Finds the file of a package by its `exports`. A package of the user, in a linked folder, may have none: then it is found
 * as a directory of TypeScript is.
 */
function findFileOfPackage({ folder, manifest, targets, subpath }: PackagePlace): string | undefined {
  if (targets !== undefined)
    return targets.map((target) => findLocalFile(target, true)).find((found) => found !== undefined);
  if (isInstalled(join(realpathSync(folder), 'package.json'))) return undefined;
  return findLocalFile(join(folder, subpath === '' ? (manifest.main ?? 'index') : subpath), true);
}

/** Says whether Node.js treats the file as part of an installed package. Links must have been followed. */
export function isInstalled(file: string): boolean {
  return /[\\/]node_modules[\\/]/.test(file);
}

/**
 * Says how to run a file. TypeScript and JSX are compiled, also in `node_modules`, where Node.js refuses them. A `.js` file
 * of the user with ES syntax, but without `"type": "module"`, is compiled, too.
 *
 * As in Node.js, a module is the file that a link leads to: it is run once, and its imports start there.
 */
function classifyFile(found: string): CompiledModule | NativeFile {
  const file = realpathSync(found);
  if (SOURCE.test(file)) return { kind: 'compile', file };
  if (isModule(file)) return { kind: 'import', file };
  const isSource =
    !isInstalled(file) && extname(file) === '.js' && MODULE_SYNTAX.test(readFileSync(file, 'utf8'));
  return isSource ? { kind: 'compile', file } : { kind: 'require', file };
}

/** Says whether Node.js treats the file as an ES module. */
function isModule(file: string): boolean {
  if (extname(file) !== '.js') return extname(file) === '.mjs';
  return findPackageAbove(dirname(file))?.manifest.type === 'module';
}

/**
 * Returns the absolute path that a specifier means: for `file:` URLs, absolute and relative paths. Returns undefined
 * for the name of a package.
 */
function getPath(specifier: string, file: string): string | undefined {
  if (specifier.startsWith('file:')) return fileURLToPath(specifier);
  const path = specifier.replace(/[?].*$/, '');
  return /^\.\.?(?:[\\/]|$)/.test(path) || isAbsolute(path) ? resolve(dirname(file), path) : undefined;
}

/**
 * Returns the file that a path means: the path itself, the path with an extension, the path with `.ts` instead of
 * `.js`, or a directory with an index file. If `preferSource` is true, TypeScript wins over JavaScript with the same
 * name, which is often what an older build has left there. Returns undefined if there is no such file.
 */
function findLocalFile(path: string, preferSource: boolean): string | undefined {
  const extensions = preferSource
    ? EXTENSIONS.toSorted((a, b) => Number(SOURCE.test(b)) - Number(SOURCE.test(a)))
    : EXTENSIONS;
  const sources = [path.replace(/\.([cm]?)js$/, '.$1ts'), path.replace(/\.jsx?$/, '.tsx')].filter(
    (each) => each !== path,
  );
  const candidates = [
    ...(preferSource ? [...sources, path] : [path]),
    ...extensions.map((extension) => path + extension),
    ...(preferSource ? [] : sources),
    ...extensions.map((extension) => join(path, `index${extension}`)),
  ];
  return candidates.find((each) => !DECLARATION.test(each) && isFile(each));
}

/** Returns the file that a directory with a package.json stands for, as `require` of Node.js finds it. */
function findMain(path: string): string | undefined {
  return isFile(join(path, 'package.json')) ? resolveWithNode(path, path) : undefined;
}

/** Resolves `specifier` from `file` as `require` of Node.js does. Returns undefined if there is no such module. */
export function resolveWithNode(specifier: string, file: string): string | undefined {
  try {
    return createRequire(file).resolve(specifier);
  } catch {
    return undefined;
  }
}

/** Says whether a path is a file, as far as this user may see. */
function isFile(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
  } catch {
    return false; // This user may not enter the directory, or the path is a loop of links.
  }
}
