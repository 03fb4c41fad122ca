import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { resolveExports, resolveImports } from 'resolve-pkg-maps';

/** The part of a package.json that is read here. */
interface Manifest {
  readonly name?: string;
  readonly type?: string;
  readonly main?: string;
  readonly exports?: Parameters<typeof resolveExports>[0];
  readonly imports?: Parameters<typeof resolveImports>[0];
}

/** A package.json and its directory. Links are not followed. */
export interface Package {
  readonly folder: string;
  readonly manifest: Manifest;
}

/** The place in a package that a specifier leads to. */
export interface PackagePlace extends Package {
  /** The absolute paths that the package allows for the specifier. Undefined if it has no `exports`. */
  readonly targets: readonly string[] | undefined;
  /** The path of the specifier below the folder. Empty for the package itself. */
  readonly subpath: string;
}

/** Returns the package of the nearest directory that has a package.json, from `directory` upward. */
export function findPackageAbove(directory: string): Package | undefined {
  const manifest = readManifest(directory);
  if (manifest !== undefined) return { folder: directory, manifest };
  const parent = dirname(directory);
  return parent === directory ? undefined : findPackageAbove(parent);
}

/**
 * Finds the place that the name of a package, or a path in a package, leads to: in the nearest `node_modules`, or in the
 * package of `file` itself. Returns undefined if there is no such package. `conditions` are those of `exports`.
 */
export function findPackagePlace(
  specifier: string,
  file: string,
  conditions: readonly string[],
): PackagePlace | undefined {
  const name = getPackageName(specifier);
  const found = findInstalled(name, file) ?? findSelf(name, file);
  if (found === undefined) return undefined;
  const subpath = specifier.slice(name.length + 1);
  const { exports } = found.manifest;
  if (exports === undefined) return { ...found, subpath, targets: undefined };
  const targets = listTargets(() => resolveExports(exports, subpath, conditions));
  return { ...found, subpath, targets: targets.map((target) => join(found.folder, target)) };
}

/**
 * Returns the specifiers and absolute paths that the field `imports` of the package of `file` gives for a name that begins
 * with `#`.
 */
export function listImportTargets(specifier: string, file: string, conditions: readonly string[]): string[] {
  const found = findPackageAbove(dirname(file));
  const { imports } = found?.manifest ?? {};
  if (found === undefined || imports === undefined) return [];
  const targets = listTargets(() => resolveImports(imports, specifier, conditions));
  return targets.map((target) => (target.startsWith('./') ? join(found.folder, target) : target));
}

/** Returns the name of the package in a specifier: `@a/b` of `@a/b/c.js`. */
export function getPackageName(specifier: string): string {
  return /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier;
}

/** Finds an installed package. Only packages that Node.js finds without Plug'n'Play are in folders. */
function findInstalled(name: string, file: string): Package | undefined {
  for (const directory of createRequire(file).resolve.paths(name) ?? []) {
    const folder = join(directory, name);
    const manifest = readManifest(folder);
    if (manifest !== undefined) return { folder, manifest };
  }
  return undefined;
}

/** Finds the package of `file` itself, if it has this name. A package can import only its own `exports` by its name. */
function findSelf(name: string, file: string): Package | undefined {
  const own = findPackageAbove(dirname(file));
  return own?.manifest.name === name && own.manifest.exports !== undefined ? own : undefined;
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

/** Returns the targets, or none if the package does not export the path: Node.js has the right error. */
function listTargets(resolveTargets: () => string[]): string[] {
  try {
    return resolveTargets();
  } catch {
    return [];
  }
}
