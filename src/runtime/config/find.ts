import { existsSync, lstatSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { EtlError } from '../../errors.js';
import { shortenPath } from '../modules/location.js';
import { parseJson } from './data.js';
import { assertReadable } from '../modules/source-text.js';

const CODE_NAMES = ['ts', 'mts', 'js', 'mjs', 'cjs', 'json'].map((extension) => `etl.config.${extension}`);

/** Where a config can be in a directory; the first that is there wins. */
export const SEARCHED_FILES: readonly string[] = [
  ...CODE_NAMES,
  '.etlrc',
  '.etlrc.json',
  '.etlrc.yaml',
  '.etlrc.yml',
  ...CODE_NAMES.map((name) => `.config/${name}`),
  'package.json',
];

export interface FindOptions {
  /** Where the search starts: the absolute path of the working directory. */
  readonly directory: string;
  /** From `--config` or `ETL_CONFIG`: this file and no other, relative to `directory`. */
  readonly explicit?: string | undefined;
}

/** The part of cosmiconfig's explorer that is used here. */
interface Explorer {
  search(from: string): Promise<{ readonly filepath: string } | null>;
}

/** Its types do not name it. */
interface ExplorerModule {
  readonly Explorer: new (options: object) => Explorer;
}

/**
 * The absolute path of the config: the explicit one, or the first of `SEARCH_PLACES` in `directory` and above it, up to
 * the nearest directory with a package file. Never the home directory: a config is code. Nothing is executed here.
 * Throws `EtlError` ETL-2101 when there is none, ETL-2102 when something that is no readable file is in its place.
 */
export async function findConfig({ directory, explicit }: FindOptions): Promise<string> {
  if (explicit !== undefined) return resolveExplicitConfig(directory, explicit);
  assertFirstReadable(directory);
  const found = await (await createExplorer(directory)).search(directory);
  if (found === null) throw createNotFoundError(directory);
  return found.filepath;
}

function resolveExplicitConfig(directory: string, explicit: string): string {
  const file = resolve(directory, explicit);
  if (exists(file)) return file;
  throw new EtlError('ETL-2101', {
    what: `The config ${shortenPath(file, directory)} does not exist`,
    where: shortenPath(file, directory),
    fix: 'Correct --config or ETL_CONFIG, or leave both out to search from the working directory upward.',
  });
}

/**
 * cosmiconfig silently passes over a directory and a file that it may not read, and takes the config of a parent
 * directory instead; it also waits for ever on a named pipe. So what is first in order is looked at before.
 */
function assertFirstReadable(directory: string): void {
  const files = listSearchedDirectories(directory).flatMap((each) =>
    SEARCHED_FILES.map((name) => join(each, name)),
  );
  const first = files.find((file) => basename(file) !== 'package.json' && exists(file));
  if (first !== undefined) assertReadable(first, directory);
}

/** The directories of cosmiconfig's strategy `project`: up to the first one with a package file. */
function listSearchedDirectories(directory: string): string[] {
  const parent = dirname(directory);
  const isLast =
    parent === directory ||
    ['package.json', 'package.yaml'].some((name) => existsSync(join(directory, name)));
  return isLast ? [directory] : [directory, ...listSearchedDirectories(parent)];
}

/**
 * cosmiconfig's public function first runs `.config/config.js` of the working directory and lets it change every option
 * that it is given, before any check of ours (`getUserDefinedOptionsFromMetaConfig` in cosmiconfig 9). Its explorer
 * class does the same search without that. The loaders execute nothing: a config has to be loaded exactly once, by us.
 */
async function createExplorer(directory: string): Promise<Explorer> {
  const internals: unknown = await import('cosmiconfig/dist/Explorer.js');
  const { Explorer } = internals as ExplorerModule;
  const inPackage = (file: string, text: string): unknown =>
    basename(file) === 'package.json'
      ? { etl: hasConfig(parseJson({ file, name: shortenPath(file, directory), text })) }
      : file;
  return new Explorer({
    moduleName: 'etl',
    packageProp: 'etl',
    searchPlaces: SEARCHED_FILES,
    searchStrategy: 'project',
    // An empty file is a mistake to report; by default the search would go on to the next place.
    ignoreEmptySearchPlaces: false,
    cache: false,
    metaConfigFilePath: null,
    mergeImportArrays: true,
    mergeSearchPlaces: false,
    transform: (result: unknown): unknown => result,
    loaders: { '.json': inPackage, '.yaml': nameFile, '.yml': nameFile, noExt: nameFile, default: nameFile },
  });
}

/** The loader of files that need not be read to be chosen. */
function nameFile(file: string): string {
  return file;
}

/** `true` for a package.json with a config, `null`, which cosmiconfig passes over, for one without. */
function hasConfig(manifest: unknown): true | null {
  return typeof manifest === 'object' && manifest !== null && Object.hasOwn(manifest, 'etl') ? true : null;
}

function createNotFoundError(directory: string): EtlError {
  const searched = listSearchedDirectories(directory);
  const last = searched.at(-1) ?? directory;
  const range = last === directory ? directory : `${directory} and its parents up to ${last}`;
  return new EtlError('ETL-2101', {
    what: 'No config was found',
    where: directory,
    why: `Looked for etl.config.{ts,mts,js,mjs,cjs,json}, .etlrc, .etlrc.{json,yaml,yml}, .config/etl.config.*, and "etl" in package.json, in ${range}`,
    fix: 'Create etl.config.ts, go to the directory of your project, or name the file with --config.',
  });
}

/** Also true for a symbolic link that leads nowhere. */
function exists(file: string): boolean {
  return lstatSync(file, { throwIfNoEntry: false }) !== undefined;
}
