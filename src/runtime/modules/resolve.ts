import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { createRequire, isBuiltin } from 'node:module';
import { dirname, extname, isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The module that an import or a `require` of the user's code resolves to. `kind` says how the module is run. */
export type ResolvedModule =
  /** A file of the user that must be compiled. */
  | { readonly kind: 'compile'; readonly file: string }
  /** An ES module that Node.js can run. */
  | { readonly kind: 'import'; readonly file: string }
  /** A module that `require` can load: CommonJS, JSON, or a module of Node.js. */
  | { readonly kind: 'require'; readonly id: string }
  /** A package with `exports` in its manifest. `import` of Node.js resolves and runs the package. */
  | { readonly kind: 'package'; readonly specifier: string };

/** The part of a package.json that is read here. */
interface Manifest {
  readonly type?: string;
  readonly exports?: unknown;
}

const EXTENSIONS = ['.js', '.ts', '.mjs', '.cjs', '.mts', '.cts', '.tsx', '.json'];
const TYPESCRIPT = /\.(?:[cm]?ts|tsx)$/;
const MODULE_SYNTAX = /^\s*(?:import\b(?!\s*\()|export\b)/m;

/** Resolves an import of `specifier` in `file`. Returns undefined if there is no such module. */
export function resolveImport(specifier: string, file: string): ResolvedModule | undefined {
  return hasExports(specifier, file) ? { kind: 'package', specifier } : resolveRequire(specifier, file);
}

/**
 * Resolves a `require` of `specifier` in `file`. Returns undefined if there is no such module. As in jiti, `./a.js` may
 * also mean `a.ts`, and a specifier may have no extension.
 */
export function resolveRequire(specifier: string, file: string): ResolvedModule | undefined {
  if (isBuiltin(specifier)) return { kind: 'require', id: specifier };
  const path = getPath(specifier, file);
  const found = path === undefined ? resolveWithNode(specifier, file) : findLocalFile(path);
  // As in Node.js, a module is the file that a link leads to: it is run once, and its imports start there.
  return found === undefined ? undefined : classifyFile(realpathSync(found));
}

/**
 * Says how to run a file. TypeScript is compiled. A `.js` file of the user with ES syntax, but without `"type":
 * "module"`, is compiled, too. Files in `node_modules` are never compiled.
 */
function classifyFile(file: string): ResolvedModule {
  if (/[\\/]node_modules[\\/]/.test(file)) {
    return isModule(file) ? { kind: 'import', file } : { kind: 'require', id: file };
  }
  if (TYPESCRIPT.test(file)) return { kind: 'compile', file };
  if (isModule(file)) return { kind: 'import', file };
  const isSource = extname(file) === '.js' && MODULE_SYNTAX.test(readFileSync(file, 'utf8'));
  return isSource ? { kind: 'compile', file } : { kind: 'require', id: file };
}

/** Says whether Node.js treats the file as an ES module. */
function isModule(file: string): boolean {
  if (extname(file) !== '.js') return extname(file) === '.mjs';
  return findManifestAbove(dirname(file))?.type === 'module';
}

/** Returns the manifest of the nearest directory that has one, from `directory` upward. */
function findManifestAbove(directory: string): Manifest | undefined {
  const manifest = readManifest(directory);
  const parent = dirname(directory);
  return manifest ?? (parent === directory ? undefined : findManifestAbove(parent));
}

/** Returns the package.json of a directory, or undefined if there is none that this user may read, as in Node.js. */
function readManifest(directory: string): Manifest | undefined {
  const file = join(directory, 'package.json');
  const text = existsSync(file) ? readIfReadable(file) : undefined;
  return text === undefined ? undefined : (JSON.parse(text) as Manifest);
}

/** Returns the text of a file, or undefined if it can't be read. */
export function readIfReadable(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined; // The file does not exist, or this user may not read it.
  }
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
 * `.js`, a directory with an index file, or what Node.js resolves it to. Returns undefined if there is no such file.
 */
function findLocalFile(path: string): string | undefined {
  const candidates = [
    path,
    ...EXTENSIONS.map((extension) => path + extension),
    path.replace(/\.([cm]?)js$/, '.$1ts'),
    path.replace(/\.js$/, '.tsx'),
    ...EXTENSIONS.map((extension) => join(path, `index${extension}`)),
  ];
  return candidates.find(isFile) ?? resolveWithNode(path, path);
}

/**
 * Says whether `specifier` names an installed package that has `exports` in its manifest. Such a package may give
 * `import` and `require` different files.
 */
function hasExports(specifier: string, file: string): boolean {
  const folder = findPackageFolder(specifier, file);
  return folder !== undefined && readManifest(folder)?.exports !== undefined;
}

/** Returns the folder of the package that `specifier` names in `file`. Links are not followed. */
export function findPackageFolder(specifier: string, file: string): string | undefined {
  if (isBuiltin(specifier) || getPath(specifier, file) !== undefined) return undefined;
  const name = /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier;
  return createRequire(file)
    .resolve.paths(specifier)
    ?.map((each) => join(each, name))
    .find((each) => existsSync(join(each, 'package.json')));
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
