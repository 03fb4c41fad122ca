import { existsSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EtlError } from '../../errors.js';
import { formatPosition, shortenPath } from '../modules/location.js';
import { getPackageName, readIfReadable } from '../modules/packages.js';
import { isInstalled, type LostAlias } from '../modules/resolve.js';
import { listUserFrames } from '../modules/stack.js';
import { findSpecifierPosition } from './position.js';

/** A config that failed to load, and the directories that paths in its error message are relative to. */
export interface LoadContext {
  /** The path of the config, and its path for messages. */
  readonly configFile: { readonly file: string; readonly name: string; readonly text: string };
  /** The working directory. */
  readonly directory: string;
  /** The directory of the program's own code. Errors do not show stack frames of it. */
  readonly ours: string;
}

/** The two parts of a message that depend on the module that is missing. */
interface Explanation {
  readonly why: string;
  readonly fix: string;
}

const NOT_FOUND_CODES = new Set([
  'MODULE_NOT_FOUND',
  'ERR_MODULE_NOT_FOUND',
  'ERR_PACKAGE_PATH_NOT_EXPORTED',
  'ERR_PACKAGE_IMPORT_NOT_DEFINED',
]);
/** The names that npm allows for packages. https://docs.npmjs.com/cli/configuring-npm/package-json#name */
const PACKAGE_NAME = /^(?:@[a-z\d~-][a-z\d._~-]*\/)?[a-z\d~-][a-z\d._~-]*$/;
const SPECIFIER = /(?:\bfrom|\bimport|\(|=)\s*(["'`])([^"'`\n]+)\1/g;

/**
 * Creates the error ETL-2104 for an import of a module that does not exist. Returns undefined if a package imports the
 * module: then the error is reported like any other thrown error.
 */
export function createNotFoundError(error: unknown, context: LoadContext): EtlError | undefined {
  if (!(error instanceof Error && 'code' in error && NOT_FOUND_CODES.has(String(error.code))))
    return undefined;
  const { configFile, directory, ours } = context;
  const importer = findImporter(error) ?? listUserFrames(error.stack, ours)[0]?.file ?? configFile.file;
  if (isInstalled(importer) || !existsSync(importer)) return undefined;
  const text = readIfReadable(importer) ?? '';
  const named = /['"]([^'"]+)['"]/.exec(error.message)?.[1] ?? 'a module';
  const specifier = isAbsolute(named) ? findSpecifierOf(named, importer, text) : named;
  const { why, fix } = explain(error, { named, specifier, importer, directory });
  const position = specifier === undefined ? undefined : findSpecifierPosition(text, specifier);
  return new EtlError('ETL-2104', {
    what: `the config ${configFile.name} could not be loaded`,
    where: formatPosition(importer, position, directory),
    why,
    fix,
    cause: error,
  });
}

/** The facts about the missing module. */
interface Missing {
  /** The specifier or the absolute path that the message of Node.js names. */
  readonly named: string;
  /** The specifier that the user wrote. Undefined if it is not known. */
  readonly specifier: string | undefined;
  readonly importer: string;
  readonly directory: string;
}

function explain(error: Error, missing: Missing): Explanation {
  const { named, specifier, importer, directory } = missing;
  const by = `which ${shortenPath(importer, directory)} imports`;
  const alias = 'alias' in error ? (error.alias as LostAlias) : undefined;
  if (alias !== undefined) return explainAlias(alias, missing);
  const manifest = / in (?:package )?(.*[\\/]package\.json)/.exec(error.message)?.[1];
  if (manifest !== undefined && !named.startsWith('#')) {
    return {
      why: `${describePath(dirname(manifest), directory)} does not export "${named}", ${by}`,
      fix: 'import a path that `exports` in the package.json of the package names',
    };
  }
  if (specifier === undefined || isAbsolute(specifier)) {
    return {
      why: `can't find ${describePath(named, directory)}, to which an import in ${shortenPath(importer, directory)} leads`,
      fix: 'build the package that should contain the file, or correct `exports` or `main` in its package.json',
    };
  }
  if (/^\.\.?(?:[\\/]|$)|^file:/.test(specifier))
    return { why: `can't find the file "${specifier}", ${by}`, fix: 'correct the path' };
  return { why: `can't find ${describeModule(specifier)}, ${by}`, fix: advise(specifier) };
}

/** Describes a path in a package by the name of the package: `the file dist/p.js of the package "p"`. */
function describePath(path: string, directory: string): string {
  const [, name, rest] =
    /^.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+)(?:[\\/](.*))?$/.exec(path) ?? [];
  if (name === undefined) return `the file ${shortenPath(path, directory)}`;
  return rest === undefined ? `the package "${name}"` : `the file ${rest} of the package "${name}"`;
}

function explainAlias({ project, paths }: LostAlias, { specifier, directory }: Missing): Explanation {
  const names = paths.map((path) => shortenPath(path, directory));
  return {
    why: `\`paths\` of ${shortenPath(project, directory)} maps "${specifier}" to ${names.join(' and ')}, and there is no such file`,
    fix: 'correct the import, or `paths`',
  };
}

/**
 * Describes what an import names: `the package "a"`, `the module "#a"`. A name with a path can be an alias or a part of a
 * package, so it has no noun.
 */
function describeModule(specifier: string): string {
  const name = getPackageName(specifier);
  if (specifier.startsWith('#') || !PACKAGE_NAME.test(name)) return `the module "${specifier}"`;
  return specifier === name ? `the package "${specifier}"` : `"${specifier}"`;
}

/** Says what to do about a specifier that is no path. Only a name that npm allows can be installed. */
function advise(specifier: string): string {
  const name = getPackageName(specifier);
  if (specifier.startsWith('#')) return 'correct the name, or add it to `imports` in package.json';
  if (specifier.startsWith('node:')) return 'correct the name of the module of Node.js';
  const alias = 'add the alias to `paths` in tsconfig.json';
  if (!PACKAGE_NAME.test(name)) return `correct the name, or ${alias}`;
  const install = `install the package: \`npm install ${name}\``;
  // An alias has the form of a path.
  return specifier.includes('/')
    ? `correct the name, ${alias}, or ${install}`
    : `correct the name, or ${install}`;
}

/** Returns the file that imports the missing module, as Node.js names it. */
function findImporter(error: Error): string | undefined {
  const stack: unknown = 'requireStack' in error ? error.requireStack : undefined;
  const [first]: unknown[] = Array.isArray(stack) ? stack : [];
  if (typeof first === 'string') return first;
  const importer = / imported from (.+)$/m.exec(error.message)?.[1];
  return importer?.startsWith('file:') === true ? fileURLToPath(importer) : importer;
}

/** Finds the specifier in a file that leads to a path. Node.js names only the path. */
function findSpecifierOf(path: string, importer: string, text: string): string | undefined {
  for (const [, , specifier = ''] of text.matchAll(SPECIFIER))
    if (specifier === path || (specifier.startsWith('.') && resolve(dirname(importer), specifier) === path))
      return specifier;
  return undefined;
}
