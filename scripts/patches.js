// The changes that the bundle makes to libraries. A patch that finds nothing to change fails the build by its name: after
// an upgrade of the library, the bundle would be wrong or slow without a message.
import { readFile } from 'node:fs/promises';

/** oclif sorts the names of commands, which are ASCII, by the rules of a language: loading those rules takes 6 ms. */
const PLAIN_ORDER = textPatch('plain-order', /@oclif[\\/]core[\\/]lib[\\/]config[\\/]plugin\.js$/, [
  [/([\w.]+)\.localeCompare\(([\w.]+)\)/g, '($1 < $2 ? -1 : $1 > $2 ? 1 : 0)'],
]);

/** Objection loads a validator of JSON schemas, its largest part, also for models without a schema. */
const LATE_VALIDATOR = textPatch('late-validator', /objection[\\/]lib[\\/]model[\\/]AjvValidator\.js$/, [
  [/^const Ajv = require\('ajv'\);$/gm, ''],
  [/^const addFormats = require\('ajv-formats'\);$/gm, ''],
  [/\bnew Ajv\(/g, "new (require('ajv'))("],
  [/\baddFormats\(/g, "require('ajv-formats')("],
]);

/** oclif would search for the files of commands with tinyglobby. The bundle lists its commands, so it does without. */
const NO_GLOB = {
  name: 'no-glob',
  setup({ onStart, onResolve, onLoad, onEnd }) {
    let isFound = false;
    onStart(() => {
      isFound = false;
    });
    onResolve({ filter: /^tinyglobby$/ }, ({ path, importer }) => {
      if (!/@oclif[\\/]core[\\/]/.test(importer)) return undefined;
      isFound = true;
      return { path, namespace: 'no-glob' };
    });
    onLoad({ filter: /.*/, namespace: 'no-glob' }, () => ({ contents: 'module.exports = {};' }));
    onEnd(() =>
      isFound ? undefined : { errors: [notFound('no-glob', 'an import of tinyglobby by oclif')] },
    );
  },
};

/** The esbuild plugins of all patches to libraries of the program. */
export const PATCHES = [PLAIN_ORDER, LATE_VALIDATOR, NO_GLOB];

/**
 * An esbuild plugin that changes the text of the one file whose path `file` matches. `replacements` are pairs of a
 * pattern with flag `g` and its replacement; each pattern must match.
 */
export function textPatch(name, file, replacements) {
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
          .map(([pattern]) => notFound(name, `${pattern} in ${path}`));
        if (errors.length > 0) return { errors };
        return { contents: replacements.reduce((text, [from, to]) => text.replace(from, to), code) };
      });
      onEnd(() => (isFound ? undefined : { errors: [notFound(name, `a file that matches ${file}`)] }));
    },
  };
}

/**
 * Replaces each `import()` by a call of `importModule`: V8 can't import from compiled code that it has kept
 * (ERR_VM_DYNAMIC_IMPORT_CALLBACK_MISSING).
 */
export function replaceImports(code) {
  const pattern = /(?<![\w$."'\x60])import\((?!\))/g;
  if (code.search(pattern) === -1) throw new Error(notFound('late-import', 'import() in the bundle').text);
  return code.replace(pattern, 'importModule(');
}

function notFound(name, what) {
  return { text: `patch ${name}: found nothing to change: no ${what}` };
}
