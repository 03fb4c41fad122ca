// Bundles the program, so that a start reads one file instead of 1,500.
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { licensesOf } from './licenses.js';

const root = join(import.meta.dirname, '..');

const SHARED = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  logLevel: 'warning',
  legalComments: 'none',
  write: false,
};

/** Drivers and tools that the packages in the bundle ask for when they are told to, which they never are. */
const ABSENT = [
  'better-sqlite3',
  'mariadb/callback',
  'mysql',
  'mysql2',
  'oracledb',
  'pg-native',
  'sqlite3',
  'tedious',
  'ts-node',
  'tsx',
  'tsx/esm/api',
  'typescript',
];

/** What bin/run.js calls: in the file itself, so that it need not be copied to be wrapped. */
const WRAPPER = '(function (exports, require, module, __filename, __dirname, importModule) { ';

/** What stays a package of its own: it is optional for the user, or too large for what it does most of the time. */
const EXTERNAL = ['@electric-sql/pglite', 'hyparquet', 'hyparquet-compressors', 'hyparquet-writer', 'jiti'];

/** A CommonJS file has no `import.meta`. */
const OWN_URL = {
  define: { 'import.meta.url': 'bundleUrl' },
  banner: { js: `const bundleUrl = require('node:url').pathToFileURL(__filename).href;` },
};

/** oclif sorts the names of commands, which are ASCII, by the rules of a language: loading those takes 5 ms. */
const PLAIN_ORDER = {
  name: 'plain-order',
  setup({ onLoad }) {
    onLoad({ filter: /@oclif[\\/]core[\\/]lib[\\/].*\.js$/ }, async ({ path }) => {
      const code = await readFile(path, 'utf8');
      return {
        contents: code.replace(/([\w.]+)\.localeCompare\(([\w.]+)\)/g, '($1 < $2 ? -1 : $1 > $2 ? 1 : 0)'),
      };
    });
  },
};

/** oclif would look for the files of commands with it; they are listed here. It takes milliseconds to load. */
const NO_GLOB = {
  name: 'no-glob',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^tinyglobby$/ }, ({ path, importer }) =>
      importer.includes('@oclif') ? { path, namespace: 'no-glob' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'no-glob' }, () => ({ contents: 'module.exports = {};' }));
  },
};

/** Objection loads a validator of JSON schemas, the largest part of it, for models that may have none. */
const LATE_VALIDATOR = {
  name: 'late-validator',
  setup({ onLoad }) {
    onLoad({ filter: /objection[\\/]lib[\\/]model[\\/]AjvValidator\.js$/ }, async ({ path }) => {
      const code = await readFile(path, 'utf8');
      const late = code
        .replace(/^const (?:Ajv|addFormats) = require\(.*\);$/gm, '')
        .replaceAll('new Ajv(', "new (require('ajv'))(")
        .replaceAll('addFormats(', "require('ajv-formats')(");
      return { contents: late };
    });
  },
};

/**
 * Writes `etl.cjs` and the file of its watchdog thread to `directory`. The program is a CommonJS file because V8 can
 * keep compiled code of those only; see bin/run.js, which provides `importModule`.
 */
export async function bundleProgram(directory, { minify = true } = {}) {
  const [program, watchdog] = await Promise.all([
    build({
      ...SHARED,
      entryPoints: ['src/cli.ts'],
      format: 'cjs',
      minify,
      external: [...ABSENT, ...EXTERNAL],
      plugins: [PLAIN_ORDER, NO_GLOB, LATE_VALIDATOR],
      metafile: true,
      ...OWN_URL,
    }),
    build({ ...SHARED, entryPoints: ['src/commands/run/watchdog-thread.ts'], format: 'cjs', minify }),
  ]);
  const code = `${WRAPPER}${withoutImports(textOf(program))}\n})`;
  const hash = createHash('sha256').update(code).digest('hex').slice(0, 32);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'etl.cjs'), `// ${hash}\n${code}`);
  const inputs = Object.keys(program.metafile.inputs);
  writeFileSync(join(directory, 'etl.licenses.txt'), licensesOf(inputs, root));
  writeFileSync(join(directory, 'watchdog-thread.cjs'), textOf(watchdog));
}

/** Writes `index.js`, which is `src/index.ts` for those who import the package, and `api.cjs` behind it. */
export async function bundleApi(directory) {
  const api = await build({
    ...SHARED,
    entryPoints: ['src/index.ts'],
    format: 'cjs',
    external: [...ABSENT, ...EXTERNAL],
    ...OWN_URL,
    metafile: true,
    outdir: directory,
  });
  const [{ exports: names }] = Object.values(await exportsOf('src/index.ts'));
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'api.cjs'), textOf(api));
  writeFileSync(join(directory, 'index.js'), facadeOf(names));
}

async function exportsOf(entry) {
  const { metafile } = await build({
    ...SHARED,
    entryPoints: [entry],
    format: 'esm',
    packages: 'external',
    metafile: true,
    outdir: root,
  });
  return metafile.outputs;
}

/** In the program it is the program's own instance: a Dag that another one has made would be none there. */
function facadeOf(names) {
  return `import { createRequire } from 'node:module';

const api = globalThis[Symbol.for('@oneshot/etl')] ?? createRequire(import.meta.url)('./api.cjs');
export const { ${names.join(', ')} } = api;
`;
}

/** V8 can't import from compiled code that it has kept (ERR_VM_DYNAMIC_IMPORT_CALLBACK_MISSING). */
function withoutImports(code) {
  return code.replace(/(?<![\w$."'\x60])import\((?!\))/g, 'importModule(');
}

function textOf({ outputFiles: [file] }) {
  return file.text;
}
