// Bundles the program: a start reads one file instead of 1,500 files.
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { build } from 'esbuild';
import { delayBuiltins, PATCHES, replaceImports } from './patches.js';

const root = join(import.meta.dirname, '..');
const require = createRequire(import.meta.url);

/** The options of esbuild that all bundles have in common. */
const COMMON = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  logLevel: 'warning',
  legalComments: 'none',
  write: false,
  metafile: true,
};

/**
 * Drivers and tools that are not installed. The packages in the bundle import them only for settings that etl never
 * uses.
 */
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

/**
 * The beginning of the function that bin/run.js calls. The bundle contains the function, so bin/run.js need not copy
 * the code to wrap it.
 */
const WRAPPER = '(function (exports, require, module, __filename, __dirname, importModule) { ';

/** The packages that are not bundled, because they are optional for the user, or too large for their rare use. */
const EXTERNAL = ['@electric-sql/pglite', 'hyparquet', 'hyparquet-compressors', 'hyparquet-writer', 'jiti'];

/**
 * The file with iconv-lite, whose tables of characters would make the program a third larger and every start slower. The
 * program loads the file when it decodes another encoding than UTF-8.
 */
const ICONV_FILE = './iconv-lite.cjs';

/** The file with the parser of the user's modules. The program loads the file for a module that is not in its cache. */
const PARSER_FILE = './parser.cjs';

/**
 * The file with TypeScript, which is twice as large as the program. The program loads the file when it compiles a module
 * whose meaning depends on a tsconfig.json, such as one with decorators.
 */
const TYPESCRIPT_FILE = './typescript.cjs';

/** Replaces `import.meta.url`, which a CommonJS file does not have, and names the files that are loaded later. */
const OWN_URL = {
  define: {
    'import.meta.url': 'bundleUrl',
    ICONV_FILE: JSON.stringify(ICONV_FILE),
    PARSER_FILE: JSON.stringify(PARSER_FILE),
    TYPESCRIPT_FILE: JSON.stringify(TYPESCRIPT_FILE),
  },
  banner: { js: `const bundleUrl = require('node:url').pathToFileURL(__filename).href;` },
};

/**
 * Writes `etl.cjs`, the files of its watchdog thread, of iconv-lite, of the parser, of TypeScript and of the shared packages to `directory`. The program is
 * a CommonJS file, because V8 can cache the compiled code of CommonJS files only. bin/run.js uses this cache and
 * provides `importModule`. Returns esbuild's metafiles.
 */
export async function bundleProgram(directory, { minify = true } = {}) {
  const [program, watchdog, iconv, parser, typescript] = await Promise.all([
    build({
      ...COMMON,
      entryPoints: ['src/cli.ts'],
      format: 'cjs',
      minify,
      external: [...ABSENT, ...EXTERNAL],
      plugins: PATCHES,
      ...OWN_URL,
    }),
    build({ ...COMMON, entryPoints: ['src/commands/run/watchdog-thread.ts'], format: 'cjs', minify }),
    build({ ...COMMON, entryPoints: [require.resolve('iconv-lite')], format: 'cjs', minify }),
    build({
      ...COMMON,
      stdin: {
        contents: "export { parse } from 'acorn'; export { analyze } from 'eslint-scope';",
        resolveDir: root,
      },
      format: 'cjs',
      minify,
    }),
    build({ ...COMMON, entryPoints: [require.resolve('typescript-6')], format: 'cjs', minify }),
  ]);
  const code = escapeNonAscii(`${WRAPPER}${delayBuiltins(replaceImports(getText(program)))}\n})`);
  const hash = createHash('sha256').update(code).digest('hex').slice(0, 32);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'etl.cjs'), `// ${hash}\n${code}`);
  writeFileSync(join(directory, 'watchdog-thread.cjs'), getText(watchdog));
  writeFileSync(join(directory, ICONV_FILE), getText(iconv));
  writeFileSync(join(directory, PARSER_FILE), getText(parser));
  writeFileSync(join(directory, TYPESCRIPT_FILE), getText(typescript));
  // The program reads a migration when it installs the ledger, so that a start need not parse the DDL.
  cpSync(join(root, 'src/runtime/ledger/migrations'), join(directory, 'migrations'), { recursive: true });
  writeSharedPackages(join(directory, 'shared'));
  return [program, watchdog, iconv, parser, typescript].map(({ metafile }) => metafile);
}

/**
 * Writes `api.cjs`, which has the code of `src/index.ts` and `src/library/testing.ts`, and the files that a user's code
 * imports and requires from the package: `index.js`, `index.cjs`, `testing.js` and `testing.cjs`. Returns esbuild's
 * metafiles.
 */
export async function bundleApi(directory) {
  const api = await build({
    ...COMMON,
    stdin: {
      contents: "export * from './src/index.ts'; export * as testing from './src/library/testing.ts';",
      resolveDir: root,
    },
    format: 'cjs',
    external: [...ABSENT, ...EXTERNAL],
    ...OWN_URL,
    outdir: directory,
  });
  const [names, testingNames] = await Promise.all([
    readExports('src/index.ts'),
    readExports('src/library/testing.ts'),
  ]);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'api.cjs'), getText(api));
  writeFileSync(join(directory, 'index.js'), createFacade(names));
  writeFileSync(
    join(directory, 'index.cjs'),
    createScriptFacade(names, `globalThis[Symbol.for('@oneshot/etl')] ?? require('./api.cjs')`),
  );
  writeFileSync(join(directory, 'testing.js'), createTestingFacade(testingNames));
  writeFileSync(
    join(directory, 'testing.cjs'),
    createScriptFacade(testingNames, `require('./api.cjs').testing`),
  );
  return [api.metafile];
}

/** Returns the names of the exports of a module. */
async function readExports(entry) {
  const { metafile } = await build({
    ...COMMON,
    entryPoints: [entry],
    format: 'esm',
    packages: 'external',
    outdir: root,
  });
  const [{ exports }] = Object.values(metafile.outputs);
  return exports;
}

/**
 * Writes a file for each package of `SHARED_PACKAGES` (src/commands/program/bundled-packages.ts). Node finds the names
 * of a CommonJS file's exports in the text of the file. The program sets the values of the exports.
 */
function writeSharedPackages(directory) {
  mkdirSync(directory, { recursive: true });
  for (const name of ['knex', 'objection', 'pg']) {
    const names = Object.keys(require(name)).filter((each) => each !== 'default');
    writeFileSync(join(directory, `${name}.cjs`), `0 && (module.exports = { ${names.join(', ')} });\n`);
  }
}

/**
 * Returns the text of `index.js`. Inside the program, `index.js` exports the program's own copy of the API, because the
 * program does not recognize a Dag that another copy has created.
 */
function createFacade(names) {
  return `import { createRequire } from 'node:module';

const api = globalThis[Symbol.for('@oneshot/etl')] ?? createRequire(import.meta.url)('./api.cjs');
export const { ${names.join(', ')} } = api;
`;
}

/** Returns the text of `testing.js`. A test runs outside of the program, so there is only one copy of the API. */
function createTestingFacade(names) {
  return `import { createRequire } from 'node:module';

const { testing } = createRequire(import.meta.url)('./api.cjs');
export const { ${names.join(', ')} } = testing;
`;
}

/** Returns the text of a file for `require`, which exports `value`. Node.js and tools read the names from the text. */
function createScriptFacade(names, value) {
  return `module.exports = ${value};
0 && (module.exports = { ${names.join(', ')} });
`;
}

/**
 * Writes each character outside of ASCII as `\u201c`. bin/run.js reads the program as one byte a character, which is faster,
 * and esbuild leaves such characters in regular expressions and in `String.raw` as they are.
 */
function escapeNonAscii(code) {
  return code.replaceAll(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Returns the text of a build's only output file. */
function getText({ outputFiles: [file] }) {
  return file.text;
}
