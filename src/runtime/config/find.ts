import { existsSync, lstatSync, realpathSync } from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { EtlError } from '../../errors.js';
import { shortenPath } from '../modules/location.js';
import { isCode } from './code.js';
import { parseJson } from './data.js';
import { assertReadable } from '../modules/source-text.js';
import { assertTrusted } from '../trust/trusted-file.js';

const CODE_NAMES = ['ts', 'mts', 'js', 'mjs', 'cjs', 'json'].map((extension) => `etl.config.${extension}`);

/** The paths of a config inside a directory. The first file that exists wins. */
export const SEARCHED_FILES: readonly string[] = [
  ...CODE_NAMES,
  '.etlrc',
  '.etlrc.json',
  '.etlrc.yaml',
  '.etlrc.yml',
  ...CODE_NAMES.map((name) => `.config/${name}`),
  'package.json',
];

/** Options for finding the config. */
export interface FindOptions {
  /** The absolute path of the working directory, where the search starts. */
  readonly directory: string;
  /**
   * The path from `--config` or `ETL_CONFIG`, relative to `directory`. If the path is given, the config is this file
   * and no other.
   */
  readonly explicit?: string | undefined;
}

/** The class of cosmiconfig that searches, as far as it is used here. Its types do not declare the class. */
interface Explorer {
  search(from: string): Promise<{ readonly filepath: string } | null>;
}

/**
 * Finds the config, and returns its absolute path. Executes nothing.
 *
 * If `explicit` is given, the config is this file. Otherwise the config is the first of `SEARCHED_FILES` in `directory`
 * or the directories above it, up to the nearest one with a package file. The search does not continue in the home
 * directory, because a config is code. A directory that this user may not enter has no config.
 *
 * If the config is a symbolic link, or is in a linked directory, the path is that of the file which the link leads to,
 * as in Node.js: imports, other relative paths, `.env` files and `.etl` belong to the directory of that file.
 *
 * Throws `EtlError` ETL-2101 if there is no config, and ETL-2102 if the first path that exists is not a readable file.
 */
export async function findConfig({ directory, explicit }: FindOptions): Promise<string> {
  if (explicit !== undefined) return followLinks(resolveExplicitConfig(directory, explicit), directory);
  const directories = listSearchedDirectories(directory);
  assertFirstReadable(directories, directory);
  // cosmiconfig throws the error of a directory that this user may not enter, so the search starts above it.
  const start = directories.find(canEnter);
  const found = start === undefined ? null : await (await createExplorer(directory)).search(start);
  if (found !== null) return followLinks(found.filepath, directory);
  const last = directories.at(-1) ?? directory;
  const range = last === directory ? directory : `${directory} and its parents up to ${last}`;
  const closed = start === directory ? '' : '; this user may not enter the working directory';
  throw new EtlError('ETL-2101', {
    what: 'no config was found',
    where: directory,
    why: `the search looked for etl.config.{ts,mts,js,mjs,cjs,json}, .etlrc, .etlrc.{json,yaml,yml}, .config/etl.config.*, and "etl" in package.json, in ${range}${closed}`,
    fix:
      closed === ''
        ? 'create etl.config.ts, go to the directory of your project, or name the file with --config'
        : 'give this user access to the directory of your project and to the directories above it',
  });
}

/**
 * Returns the path of the file that a link leads to. Returns the link itself if its end does not tell how to read the
 * file: if the link leads nowhere, or if only the name of the link has the extension, or is `package.json`.
 */
function followLinks(file: string, directory: string): string {
  let real: string;
  try {
    real = realpathSync(file);
  } catch {
    return file; // `readConfigFile` says what is wrong with the link.
  }
  if (real === file) return file;
  // Another user may be able to change the link.
  assertTrusted(file, { noun: 'the config', name: shortenPath(file, directory) });
  const isAlike = extname(real) === extname(file) || (isCode(real) && isCode(file));
  return isAlike && (basename(file) === 'package.json') === (basename(real) === 'package.json') ? real : file;
}

/** Returns the absolute path of a config that the user has named. Throws ETL-2101 if nothing has this path. */
function resolveExplicitConfig(directory: string, explicit: string): string {
  const file = resolve(directory, explicit);
  if (mayExist(file)) return file;
  throw new EtlError('ETL-2101', {
    what: `the config ${shortenPath(file, directory)} does not exist`,
    where: shortenPath(file, directory),
    fix: 'correct --config or ETL_CONFIG, or remove both to search from the working directory upward',
  });
}

/**
 * Throws ETL-2102 if the first path of the search that exists is not a readable file. Without this check, cosmiconfig
 * would silently skip a directory or an unreadable file, and take the config of a parent directory. It would also wait
 * for ever on a named pipe.
 */
function assertFirstReadable(directories: readonly string[], directory: string): void {
  const files = directories.flatMap((each) => SEARCHED_FILES.map((name) => join(each, name)));
  // A package.json is left out, because it is a config only if it has the key `etl`. The search checks this later.
  const first = files.find((file) => basename(file) !== 'package.json' && exists(file));
  if (first !== undefined) assertReadable(first, directory);
}

/** Lists the directories of cosmiconfig's strategy `project`: upward to the first directory with a package file. */
function listSearchedDirectories(directory: string): string[] {
  const parent = dirname(directory);
  const isLast =
    parent === directory ||
    ['package.json', 'package.yaml'].some((name) => existsSync(join(directory, name)));
  return isLast ? [directory] : [directory, ...listSearchedDirectories(parent)];
}

/**
 * Creates an explorer of cosmiconfig. The public function of cosmiconfig 9 first executes `.config/config.js` of the
 * working directory, which may change every option of the search (`getUserDefinedOptionsFromMetaConfig`). That happens
 * before any check of ours. The class `Explorer` does the same search without this step.
 *
 * The loaders execute nothing, because a config must be executed exactly once, by `loadConfig`.
 */
async function createExplorer(directory: string): Promise<Explorer> {
  const internals: unknown = await import('cosmiconfig/dist/Explorer.js');
  const { Explorer } = internals as { readonly Explorer: new (options: object) => Explorer };
  const inPackage = (file: string, text: string): unknown =>
    basename(file) === 'package.json'
      ? { etl: hasConfig(parseJson({ file, name: shortenPath(file, directory), text })) }
      : file;
  return new Explorer({
    moduleName: 'etl',
    packageProp: 'etl',
    searchPlaces: SEARCHED_FILES,
    searchStrategy: 'project',
    // An empty file is a mistake that must be reported. By default, cosmiconfig would search on.
    ignoreEmptySearchPlaces: false,
    cache: false,
    metaConfigFilePath: null,
    mergeImportArrays: true,
    mergeSearchPlaces: false,
    transform: (result: unknown): unknown => result,
    loaders: { '.json': inPackage, '.yaml': nameFile, '.yml': nameFile, noExt: nameFile, default: nameFile },
  });
}

/** Loads a file for cosmiconfig: returns only the path. The content is read later. */
function nameFile(file: string): string {
  return file;
}

/** Returns true if a package.json has a config. Otherwise returns null, which makes cosmiconfig search on. */
function hasConfig(manifest: unknown): true | null {
  return typeof manifest === 'object' && manifest !== null && Object.hasOwn(manifest, 'etl') ? true : null;
}

/**
 * Says whether a path exists, as far as this user may see. This is also true for a symbolic link that leads nowhere.
 */
function exists(file: string): boolean {
  try {
    return lstatSync(file, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false; // This user may not enter the directory, or the path is a loop of links.
  }
}

/** Says whether a path exists, or whether this user can't find out. */
function mayExist(file: string): boolean {
  try {
    return lstatSync(file, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true; // `readConfigFile` says why the path can't be read.
  }
}

/** Says whether this user can see the files of a directory by their names. */
function canEnter(directory: string): boolean {
  return exists(join(directory, '.'));
}
