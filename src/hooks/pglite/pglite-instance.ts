import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type * as Pglite from '@electric-sql/pglite';
import { EtlError } from '../../errors.js';
import { getCode } from '../connect-error.js';

/**
 * Finds the package `@electric-sql/pglite` in the user's project at `root`, else beside this program. Returns the path of
 * the module that `import` loads. Throws ETL-2211 if there is no package or if its version is not supported.
 */
export async function findPglite(root: string, definedBy: string): Promise<string> {
  const entry = resolveFrom(resolve(root, 'package.json')) ?? resolveFrom(import.meta.url);
  if (entry === undefined)
    throw new EtlError('ETL-2211', {
      what: 'the embedded database needs the package @electric-sql/pglite, which is not installed',
      where: definedBy,
      fix: 'run `npm i @electric-sql/pglite`, or use a PostgreSQL server',
    });
  // The package does not export its package.json, so the path starts at its entry.
  const manifest = await readFile(resolve(dirname(entry), '../package.json'), 'utf8');
  const { version } = JSON.parse(manifest) as { readonly version: string };
  if (SUPPORTED.test(version)) return entry;
  throw new EtlError('ETL-2211', {
    what: `the embedded database can't use version ${version} of the package @electric-sql/pglite`,
    where: definedBy,
    why: 'the embedded database needs version 0.5.14 or later, below 0.6',
    fix: 'run `npm i @electric-sql/pglite@0.5`',
  });
}

/** The supported versions, the same as in `peerDependencies`: 0.5.14 or later, below 0.6. */
const SUPPORTED = /^0\.5\.(?:1[4-9]|[2-9]\d|\d{3,})$/;

/** Returns the path of the package's module as a module at `base` would load it. Undefined if it is not installed. */
function resolveFrom(base: string): string | undefined {
  try {
    return createRequire(base).resolve('@electric-sql/pglite');
  } catch (error) {
    if (getCode(error) === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

/**
 * Starts PGlite in a directory that exists and that this process has locked, or in memory if `directory` is undefined.
 * A start takes about half a second with an existing database, and up to some seconds with a new one.
 */
export async function startPglite(
  entry: string,
  directory: string | undefined,
  applicationName: string,
): Promise<Pglite.PGlite> {
  const isNew = directory !== undefined && (await prepareDirectory(directory));
  const { PGlite } = (await import(pathToFileURL(entry).href)) as typeof Pglite;
  const pglite = await PGlite.create({
    dataDir: directory ?? 'memory://',
    // As a start option, the name stays after DISCARD ALL, like the name of a connection to a server.
    startParams: [...PGlite.defaultStartParams, '-c', `application_name=${applicationName}`],
    extensions: { withoutTimers },
  });
  // The database is complete, so a later start may use it.
  if (isNew) await rm(resolve(directory, UNFINISHED));
  return pglite;
}

/**
 * The file that marks a directory during its first start. If the first start is cut off, the file remains. Without the
 * file, PGlite would take half a database for a complete one.
 */
const UNFINISHED = 'etl-unfinished';

/**
 * Prepares a directory for PGlite. Returns true if the directory needs a new database, which `UNFINISHED` then marks,
 * and false if it has a database. Removes the files of a first start that was cut off. Throws ETL-2212 if the directory
 * has other files.
 */
async function prepareDirectory(directory: string): Promise<boolean> {
  const entries = await readdir(directory);
  if (entries.includes(UNFINISHED)) {
    const rest = entries.filter((entry) => entry !== UNFINISHED); // The mark stays until the database is complete.
    await Promise.all(rest.map((entry) => rm(resolve(directory, entry), { recursive: true })));
    return true;
  }
  if (entries.includes('PG_VERSION')) return false;
  if (entries.length > 0)
    throw new EtlError('ETL-2212', {
      what: `${directory} is not empty and has no database`,
      why: 'the files of the embedded database would be mixed with other files',
      fix: 'name a directory that is empty or does not exist',
      data: 'nothing was written',
    });
  await writeFile(resolve(directory, UNFINISHED), '');
  return true;
}

/** The options of PGlite's WebAssembly module that `withoutTimers` changes. */
interface EmscriptenOptions {
  readonly instantiateWasm: (
    imports: { readonly env: Readonly<Record<string, unknown>> },
    done: unknown,
  ) => unknown;
}

/**
 * A PGlite extension that disables PostgreSQL's interval timers. The timers are of no use, because no timer fires
 * during a statement, and they do harm: they keep the process alive, and a timer that fires between statements
 * (idle_in_transaction_session_timeout) ends the session with a FATAL error, after which PGlite 0.5 loops for ever.
 */
const withoutTimers: Pglite.Extension = {
  name: 'without-timers',
  setup: async (_pglite, emscripten: EmscriptenOptions) => ({
    emscriptenOpts: {
      ...emscripten,
      instantiateWasm: (...[imports, done]: Parameters<EmscriptenOptions['instantiateWasm']>) =>
        emscripten.instantiateWasm({ ...imports, env: { ...imports.env, _setitimer_js: () => 0 } }, done),
    },
  }),
};
