import { existsSync, readFileSync, statSync } from 'node:fs';
import { createRequire, isBuiltin } from 'node:module';
import { dirname, extname, isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exports as exportsOf } from 'resolve.exports';

/** What an import of a config leads to, by how it is run. */
export type Target =
  /** A file of the user's that has to be transformed. */
  | { readonly kind: 'source'; readonly file: string }
  /** An ES module that Node runs as it is. */
  | { readonly kind: 'import'; readonly file: string }
  /** What `require` can load as it is: CommonJS, JSON, a module of Node's own. */
  | { readonly kind: 'require'; readonly id: string };

interface Manifest {
  readonly name?: string;
  readonly type?: string;
  readonly exports?: unknown;
}

const EXTENSIONS = ['.js', '.ts', '.mjs', '.cjs', '.mts', '.cts', '.tsx', '.json'];
const TYPESCRIPT = /\.(?:[cm]?ts|tsx)$/;
const MODULE_SYNTAX = /^\s*(?:import\b(?!\s*\()|export\b)/m;

/**
 * What `specifier` means in `file`: as in jiti, a `.js` may be a `.ts`, and an extension may be left out; packages are
 * resolved as Node's `import` does it. Undefined where nothing is found.
 */
export function resolveTarget(specifier: string, file: string): Target | undefined {
  if (isBuiltin(specifier)) return { kind: 'require', id: specifier };
  const path = getPath(specifier, file);
  const found = path === undefined ? packageFile(specifier, file) : findLocalFile(path);
  return found === undefined ? undefined : fileTarget(found);
}

function fileTarget(file: string): Target {
  if (/[\\/]node_modules[\\/]/.test(file)) {
    return isModule(file) ? { kind: 'import', file } : { kind: 'require', id: file };
  }
  if (TYPESCRIPT.test(file)) return { kind: 'source', file };
  if (isModule(file)) return { kind: 'import', file };
  const isSource = extname(file) === '.js' && MODULE_SYNTAX.test(readFileSync(file, 'utf8'));
  return isSource ? { kind: 'source', file } : { kind: 'require', id: file };
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
  return candidates.find(isFile) ?? required(path, path);
}

/** By the package's `exports`, under the conditions of an import; by its `main` where it has none. */
function packageFile(specifier: string, file: string): string | undefined {
  const name = /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier;
  const folder = createRequire(file)
    .resolve.paths(specifier)
    ?.map((each) => join(each, name))
    .find((each) => existsSync(join(each, 'package.json')));
  const manifest = folder === undefined ? undefined : readManifest(folder);
  if (folder === undefined || manifest?.exports === undefined) return required(specifier, file);
  try {
    const [path] = exportsOf({ ...manifest, name }, specifier) ?? [];
    return path === undefined ? undefined : join(folder, path);
  } catch {
    return undefined; // The package has no such entry: Node's own error is to the point.
  }
}

function required(specifier: string, file: string): string | undefined {
  try {
    return createRequire(file).resolve(specifier);
  } catch {
    return undefined;
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}
