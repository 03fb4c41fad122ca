import { existsSync, readFileSync, statSync } from 'node:fs';
import { createRequire, isBuiltin } from 'node:module';
import { dirname, extname, isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What an import or a `require` of the user's code leads to, by how it is run. */
export type ResolvedModule =
  /** A file of the user's that has to be compiled. */
  | { readonly kind: 'compile'; readonly file: string }
  /** An ES module that Node runs as it is. */
  | { readonly kind: 'import'; readonly file: string }
  /** What `require` can load as it is: CommonJS, JSON, a module of Node's own. */
  | { readonly kind: 'require'; readonly id: string }
  /** A package with `exports`: Node's `import` resolves it, and runs it. */
  | { readonly kind: 'package'; readonly specifier: string };

interface Manifest {
  readonly type?: string;
  readonly exports?: unknown;
}

const EXTENSIONS = ['.js', '.ts', '.mjs', '.cjs', '.mts', '.cts', '.tsx', '.json'];
const TYPESCRIPT = /\.(?:[cm]?ts|tsx)$/;
const MODULE_SYNTAX = /^\s*(?:import\b(?!\s*\()|export\b)/m;

/** What an import of `specifier` means in `file`; undefined where nothing is found. */
export function resolveImport(specifier: string, file: string): ResolvedModule | undefined {
  return hasExports(specifier, file) ? { kind: 'package', specifier } : resolveRequire(specifier, file);
}

/**
 * What a `require` of `specifier` means in `file`; undefined where nothing is found. As in jiti, a `.js` may be a `.ts`,
 * and an extension may be left out.
 */
export function resolveRequire(specifier: string, file: string): ResolvedModule | undefined {
  if (isBuiltin(specifier)) return { kind: 'require', id: specifier };
  const path = getPath(specifier, file);
  const found = path === undefined ? resolveWithNode(specifier, file) : findLocalFile(path);
  return found === undefined ? undefined : classifyFile(found);
}

function classifyFile(file: string): ResolvedModule {
  if (/[\\/]node_modules[\\/]/.test(file)) {
    return isModule(file) ? { kind: 'import', file } : { kind: 'require', id: file };
  }
  if (TYPESCRIPT.test(file)) return { kind: 'compile', file };
  if (isModule(file)) return { kind: 'import', file };
  const isSource = extname(file) === '.js' && MODULE_SYNTAX.test(readFileSync(file, 'utf8'));
  return isSource ? { kind: 'compile', file } : { kind: 'require', id: file };
}

/** Whether Node takes the file for an ES module. */
function isModule(file: string): boolean {
  if (extname(file) !== '.js') return extname(file) === '.mjs';
  return findManifestAbove(dirname(file))?.type === 'module';
}

function findManifestAbove(directory: string): Manifest | undefined {
  const manifest = readManifest(directory);
  const parent = dirname(directory);
  return manifest ?? (parent === directory ? undefined : findManifestAbove(parent));
}

function readManifest(directory: string): Manifest | undefined {
  const file = join(directory, 'package.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Manifest) : undefined;
}

function getPath(specifier: string, file: string): string | undefined {
  if (specifier.startsWith('file:')) return fileURLToPath(specifier);
  const path = specifier.replace(/[?].*$/, '');
  return /^\.\.?(?:[\\/]|$)/.test(path) || isAbsolute(path) ? resolve(dirname(file), path) : undefined;
}

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

/** Whether `specifier` names an installed package with `exports`, which `import` and `require` may read in two ways. */
function hasExports(specifier: string, file: string): boolean {
  if (isBuiltin(specifier) || getPath(specifier, file) !== undefined) return false;
  const name = /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier;
  const folder = createRequire(file)
    .resolve.paths(specifier)
    ?.map((each) => join(each, name))
    .find((each) => existsSync(join(each, 'package.json')));
  return folder !== undefined && readManifest(folder)?.exports !== undefined;
}

function resolveWithNode(specifier: string, file: string): string | undefined {
  try {
    return createRequire(file).resolve(specifier);
  } catch {
    return undefined;
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}
