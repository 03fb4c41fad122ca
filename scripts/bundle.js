// Bundles the program, so that a start reads one file instead of 1,500.
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { build } from 'esbuild';
import { PATCHES, replaceImports } from './patches.js';

const root = join(import.meta.dirname, '..');
const require = createRequire(import.meta.url);

const SHARED = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  logLevel: 'warning',
  legalComments: 'none',
  write: false,
  metafile: true,
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

/**
 * Writes `etl.cjs` and the file of its watchdog thread to `directory`. The program is a CommonJS file because V8 can
 * keep compiled code of those only; see bin/run.js, which provides `importModule`. Returns esbuild's metafiles.
 */
export async function bundleProgram(directory, { minify = true } = {}) {
  const [program, watchdog] = await Promise.all([
    build({
      ...SHARED,
      entryPoints: ['src/cli.ts'],
      format: 'cjs',
      minify,
      external: [...ABSENT, ...EXTERNAL],
      plugins: PATCHES,
      ...OWN_URL,
    }),
    build({ ...SHARED, entryPoints: ['src/commands/run/watchdog-thread.ts'], format: 'cjs', minify }),
  ]);
  const code = `${WRAPPER}${replaceImports(textOf(program))}\n})`;
  const hash = createHash('sha256').update(code).digest('hex').slice(0, 32);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'etl.cjs'), `// ${hash}\n${code}`);
  writeFileSync(join(directory, 'watchdog-thread.cjs'), textOf(watchdog));
  writeSharedPackages(join(directory, 'shared'));
  return [program, watchdog].map(({ metafile }) => metafile);
}

/** Writes `index.js`, which is `src/index.ts` for those who import the package, and `api.cjs` behind it. Returns esbuild's metafiles. */
export async function bundleApi(directory) {
  const api = await build({
    ...SHARED,
    entryPoints: ['src/index.ts'],
    format: 'cjs',
    external: [...ABSENT, ...EXTERNAL],
    ...OWN_URL,
    outdir: directory,
  });
  const [{ exports: names }] = Object.values(await exportsOf('src/index.ts'));
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'api.cjs'), textOf(api));
  writeFileSync(join(directory, 'index.js'), facadeOf(names));
  return [api.metafile];
}

async function exportsOf(entry) {
  const { metafile } = await build({
    ...SHARED,
    entryPoints: [entry],
    format: 'esm',
    packages: 'external',
    outdir: root,
  });
  return metafile.outputs;
}

/**
 * Writes a file for each package of `LENT` (src/commands/program/bundled-packages.ts). Node reads the names of a CommonJS
 * file's exports in its text; their values come from the program.
 */
function writeSharedPackages(directory) {
  mkdirSync(directory, { recursive: true });
  for (const name of ['knex', 'objection', 'pg']) {
    const names = Object.keys(require(name)).filter((each) => each !== 'default');
    writeFileSync(join(directory, `${name}.cjs`), `0 && (module.exports = { ${names.join(', ')} });\n`);
  }
}

/** In the program it is the program's own instance: a Dag that another one has made would be none there. */
function facadeOf(names) {
  return `import { createRequire } from 'node:module';

const api = globalThis[Symbol.for('@oneshot/etl')] ?? createRequire(import.meta.url)('./api.cjs');
export const { ${names.join(', ')} } = api;
`;
}

function textOf({ outputFiles: [file] }) {
  return file.text;
}
