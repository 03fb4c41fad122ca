import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { SEARCHED_FILES } from '../../runtime/config/find.js';
import { readPackageFile } from './project-files.js';

/** The facts about a directory that `etl init` collects before it writes there. */
export interface ProjectFacts {
  readonly directory: string;
  /** The path of the config that the directory has already, from the directory. */
  readonly config: string | undefined;
  /** The form of the project's modules: ES modules or CommonJS. */
  readonly moduleType: 'module' | 'commonjs';
  /**
   * The change that package.json needs. `create`: neither the directory nor a directory above has one. `add`: it has
   * no `type`, and no file of the project would change its meaning with `"type": "module"`.
   */
  readonly packageFile: 'create' | 'add' | 'keep';
  /** True if the directory has code already, other than a config of `etl`. */
  readonly hasCode: boolean;
}

/** Looks at a directory, without a change. Throws ETL-2019 if its package.json is no JSON object. */
export function readProjectFacts(directory: string): ProjectFacts {
  const config = SEARCHED_FILES.find((path) => isConfig(directory, path));
  const code = listCode(directory).filter((path) => !path.startsWith('etl.config.'));
  const facts = { directory, config, hasCode: code.length > 0 };
  const needsCommonJs = code.some((path) => isCommonJs(join(directory, path)));
  const place = findPackageDirectory(directory);
  if (place === undefined)
    return { ...facts, packageFile: 'create', moduleType: needsCommonJs ? 'commonjs' : 'module' };
  const type = readPackageFile(place)?.['type'];
  if (type === undefined && place === directory && !needsCommonJs)
    return { ...facts, packageFile: 'add', moduleType: 'module' };
  return { ...facts, packageFile: 'keep', moduleType: type === 'module' ? 'module' : 'commonjs' };
}

/** Says whether a package is installed for the modules of a directory, or is named in the package.json there. */
export function hasPackage(directory: string, name: string): boolean {
  const manifest = readPackageFile(directory);
  const groups = ['dependencies', 'devDependencies', 'peerDependencies', 'optionalDependencies'];
  if (groups.some((group) => Object.hasOwn(Object(manifest?.[group]) as object, name))) return true;
  // A package can have no export at all, as those of types have none, so its directory counts, too.
  const places = createRequire(join(directory, 'package.json')).resolve.paths(name) ?? [];
  return places.some((place) => existsSync(join(place, name, 'package.json')));
}

function isConfig(directory: string, path: string): boolean {
  if (path !== 'package.json') return existsSync(join(directory, path));
  return Object.hasOwn(readPackageFile(directory) ?? {}, 'etl');
}

/** Returns the nearest directory upward that has a package.json. Undefined if there is none. */
function findPackageDirectory(directory: string): string | undefined {
  if (existsSync(join(directory, 'package.json'))) return directory;
  const parent = dirname(directory);
  return parent === directory ? undefined : findPackageDirectory(parent);
}

/** The most files that are looked at. A directory with more of them is a project with code in any case. */
const MOST_FILES = 2000;

/**
 * Lists the files whose meaning depends on `type` in the package.json: JavaScript and TypeScript, from the directory.
 * Directories of packages and hidden directories are left out.
 */
function listCode(directory: string): readonly string[] {
  const found: string[] = [];
  const folders = [''];
  for (const folder of folders) {
    for (const entry of readEntries(join(directory, folder))) {
      const path = join(folder, entry.name);
      if (entry.isDirectory() && entry.name !== 'node_modules' && !entry.name.startsWith('.'))
        folders.push(path);
      if (entry.isFile() && /(?<!\.d)\.[jt]sx?$/.test(entry.name)) found.push(path);
    }
    if (found.length + folders.length > MOST_FILES) break;
  }
  return found;
}

/** Lists a directory. A directory that this user may not read is empty. */
function readEntries(directory: string): ReturnType<typeof readDirectory> {
  try {
    return readDirectory(directory);
  } catch {
    return []; // The files there are not used by this user.
  }
}

function readDirectory(directory: string) {
  return readdirSync(directory, { withFileTypes: true });
}

/**
 * Says whether a file would have another meaning in a package with `"type": "module"`. TypeScript always has: the
 * compiler asks for other imports. JavaScript has unless it has the syntax of an ES module.
 */
function isCommonJs(file: string): boolean {
  if (!file.endsWith('.js')) return true;
  try {
    return !/^\s*(?:import\b|export\b)/m.test(readFileSync(file, 'utf8'));
  } catch {
    return true; // This user can't read the file, so it stays as it is.
  }
}
