// The changes that the build makes to libraries in the bundle. A patch that finds nothing to change fails the build,
// and the error names the patch. Otherwise the bundle would be wrong or slow without a message after an upgrade of the
// library.
import { readFile } from 'node:fs/promises';

/**
 * Compares names of commands by code unit, because the names are ASCII. oclif compares by the rules of a language,
 * which take 6 ms to load.
 */
const PLAIN_ORDER = createTextPatch('plain-order', /@oclif[\\/]core[\\/]lib[\\/]config[\\/]plugin\.js$/, [
  [/([\w.]+)\.localeCompare\(([\w.]+)\)/g, '($1 < $2 ? -1 : $1 > $2 ? 1 : 0)'],
]);

/**
 * Loads Objection's validator of JSON schemas only for a model with a schema. Objection loads the validator, which is
 * its largest part, for each model.
 */
const LATE_VALIDATOR = createTextPatch(
  'late-validator',
  /objection[\\/]lib[\\/]model[\\/]AjvValidator\.js$/,
  [
    [/^const Ajv = require\('ajv'\);$/gm, ''],
    [/^const addFormats = require\('ajv-formats'\);$/gm, ''],
    [/\bnew Ajv\(/g, "new (require('ajv'))("],
    [/\baddFormats\(/g, "require('ajv-formats')("],
  ],
);

/** Renders a text of the help without a tag as it is. The help has hundreds of texts, and oclif compiles each. */
const PLAIN_HELP = createTextPatch('plain-help', /@oclif[\\/]core[\\/]lib[\\/]help[\\/]util\.js$/, [
  [/return (ejs_1\.default\.render\((\w+), context\));/g, "return $2.includes('<%') ? $1 : $2;"],
]);

/**
 * Removes tinyglobby, with which oclif searches for the files of commands. The bundle lists its commands, so oclif
 * searches nothing.
 */
const NO_GLOB = createRemoval('no-glob', 'tinyglobby', '@oclif/core');

/**
 * Gives oclif neither the home directory nor the shell of the user, because etl uses neither. The functions of Node.js
 * throw if the system does not know the user, as in a container that runs under a number without a name. Does not ask
 * whether the system is Linux inside of Windows either: only plugins of oclif use the answer.
 */
const NO_USER = createTextPatch('no-user', /@oclif[\\/]core[\\/]lib[\\/]util[\\/]os\.js$/, [
  [/\(await import\('wsl-utils'\)\)\.isWsl \? 'wsl' : /g, ''],
  [/\(0, node_os_1\.homedir\)\(\)/g, "''"],
  [/ \?\? \(0, node_os_1\.userInfo\)\(\)[^;]*/g, ''],
]);

/** Keeps clean-stack of oclif from asking for the home directory when it is loaded. oclif uses no path of it. */
const NO_HOME = createTextPatch('no-home', /clean-stack[\\/]index\.js$/, [[/os\.homedir\(\)/g, "''"]]);

/**
 * Removes env-paths, with which cosmiconfig finds the directory of a config for all projects. etl has no such config,
 * and env-paths throws when it is loaded if the system does not know the user.
 */
const NO_GLOBAL_CONFIG = createRemoval('no-global-config', 'env-paths', 'cosmiconfig');

/**
 * Lets lodash find the types of Node.js in the bundle. Its own search finds none there, and then calls `process.binding`,
 * which is deprecated and ends a run under `--pending-deprecation --throw-deprecation`.
 */
const PUBLIC_TYPES = createTextPatch('public-types', /lodash[\\/](?:_nodeUtil|lodash)\.js$/, [
  [/freeProcess && freeProcess\.binding && freeProcess\.binding\('util'\)/g, "require('util').types"],
]);

/** The esbuild plugins of all patches. */
export const PATCHES = [
  PLAIN_ORDER,
  PLAIN_HELP,
  LATE_VALIDATOR,
  NO_GLOB,
  NO_USER,
  NO_HOME,
  NO_GLOBAL_CONFIG,
  PUBLIC_TYPES,
];

/**
 * Creates an esbuild plugin that changes the text of the one file whose path matches `file`. `replacements` are pairs
 * of a pattern with flag `g` and its replacement. The build fails if no file matches or if a pattern does not match.
 */
export function createTextPatch(name, file, replacements) {
  return {
    name,
    setup({ onStart, onLoad, onEnd }) {
      let isFound = false;
      onStart(() => {
        isFound = false;
      });
      onLoad({ filter: file }, async ({ path }) => {
        isFound = true;
        const code = await readFile(path, 'utf8');
        const errors = replacements
          .filter(([pattern]) => code.search(pattern) === -1)
          .map(([pattern]) => createNotFoundError(name, `${pattern} in ${path}`));
        if (errors.length > 0) return { errors };
        return { contents: replacements.reduce((text, [from, to]) => text.replace(from, to), code) };
      });
      onEnd(() =>
        isFound ? undefined : { errors: [createNotFoundError(name, `a file that matches ${file}`)] },
      );
    },
  };
}

/**
 * Creates an esbuild plugin that puts an empty module in place of the package `removed` where the package `importer`
 * imports it. The build fails if `importer` does not import it.
 */
function createRemoval(name, removed, importer) {
  return {
    name,
    setup({ onStart, onResolve, onLoad, onEnd }) {
      let isFound = false;
      onStart(() => {
        isFound = false;
      });
      onResolve({ filter: new RegExp(`^${removed}$`) }, ({ path, importer: file }) => {
        if (!file.replaceAll('\\', '/').includes(`/node_modules/${importer}/`)) return undefined;
        isFound = true;
        return { path, namespace: name };
      });
      onLoad({ filter: /.*/, namespace: name }, () => ({ contents: 'module.exports = {};' }));
      onEnd(() =>
        isFound
          ? undefined
          : { errors: [createNotFoundError(name, `an import of ${removed} by ${importer}`)] },
      );
    },
  };
}

/**
 * Replaces each `import()` by a call of `importModule`, because V8 can't run `import()` in cached code
 * (ERR_VM_DYNAMIC_IMPORT_CALLBACK_MISSING). Throws if the code has no `import()`.
 */
export function replaceImports(code) {
  const pattern = /(?<![\w$."'\x60])import\((?!\))/g;
  if (code.search(pattern) === -1)
    throw new Error(createNotFoundError('late-import', 'import() in the bundle').text);
  return code.replace(pattern, 'importModule(');
}

/** The modules of Node.js that many commands do not use. Together they take a tenth of the start of such a command. */
const LATE_BUILTINS = ['crypto', 'http', 'https', 'stream/web', 'worker_threads', 'zlib'];

/**
 * Makes the program load modules of Node.js when it uses them, and not at its start. Each of these modules becomes an
 * object that reads its members from the module. The prototype does this, because esbuild gives the prototype of a module
 * to the object of an `import * as`. Throws if the code does not load one of the modules.
 */
export function delayBuiltins(code) {
  const delayed = LATE_BUILTINS.reduce((text, name) => {
    const load = `require("node:${name}")`;
    if (!text.includes(load)) throw new Error(createNotFoundError('late-builtins', load).text);
    return text.replaceAll(load, `requireLate("node:${name}")`);
  }, code);
  return `const requireLate = (name) => Object.create(new Proxy({}, { get: (_, key) => require(name)[key] }));\n${delayed}`;
}

function createNotFoundError(name, what) {
  return { text: `patch ${name}: found nothing to change: no ${what}` };
}
