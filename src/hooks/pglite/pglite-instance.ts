import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import type * as Pglite from '@electric-sql/pglite';
import { EtlError } from '../../errors.js';
import { getCode } from '../connect-error.js';
import { join } from './pglite-message.js';
import type { ProtocolBackend } from './pglite-session.js';

/** A PGlite that runs in this process. */
export interface PgliteInstance extends ProtocolBackend {
  close(): Promise<void>;
}

export interface InstanceOptions {
  /** The data directory: it exists, and this process has its lock. Undefined: in memory. */
  readonly directory: string | undefined;
  readonly applicationName: string;
}

/** The package `@electric-sql/pglite`, as it was found. */
export interface PglitePackage {
  readonly version: string;
  /** Takes half a second for a directory that has a database, and up to some seconds for a new one. */
  start(options: InstanceOptions): Promise<PgliteInstance>;
}

/** The package of the user's project, or our own. Throws ETL-2211 when neither is there or it does not fit. */
export async function findPglite(root: string, definedBy: string): Promise<PglitePackage> {
  const entry = resolveFrom(resolve(root, 'package.json')) ?? resolveFrom(import.meta.url);
  if (entry === undefined) throw createNotInstalledError(definedBy);
  const version = await readVersion(entry);
  if (!SUPPORTED.test(version)) throw createNotSupportedError(version, definedBy);
  return { version, start: (options) => start(entry, version, options) };
}

/** As `peerDependencies` has it: 0.5.14 and later, below 0.6. */
const SUPPORTED = /^0\.5\.(?:1[4-9]|[2-9]\d|\d{3,})$/;

function resolveFrom(base: string): string | undefined {
  try {
    return createRequire(base).resolve('@electric-sql/pglite');
  } catch (error) {
    if (getCode(error) === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

/** From its package.json, which the package does not export. */
async function readVersion(entry: string): Promise<string> {
  const parsed: unknown = JSON.parse(await readFile(resolve(dirname(entry), '../package.json'), 'utf8'));
  return typeof parsed === 'object' && parsed !== null && 'version' in parsed ? String(parsed.version) : '';
}

async function start(entry: string, version: string, options: InstanceOptions): Promise<PgliteInstance> {
  const { directory, applicationName } = options;
  const isNew = directory === undefined || (await prepareDirectory(directory));
  const [{ PGlite }, seed] = await Promise.all([load(entry), isNew ? readSeed(version) : undefined]);
  const instance = await PGlite.create({
    dataDir: directory ?? 'memory://',
    // A start option, so that it stays after DISCARD ALL, as that of a real connection does.
    startParams: [...PGlite.defaultStartParams, '-c', `application_name=${applicationName}`],
    extensions: { withoutTimers },
    ...(seed && { loadDataDir: seed }),
  });
  if (directory !== undefined && isNew) await rm(resolve(directory, UNFINISHED));
  return serve(instance);
}

/**
 * Makes a PGlite speak the wire protocol. PGlite 0.5 catches whatever PostgreSQL throws and goes on with the next
 * message; after a FATAL error there is none, and it would go on for ever. An error uses up a message, so there are
 * never more of them than messages.
 */
export function serve(pglite: Pglite.PGlite): PgliteInstance {
  let errorsLeft = 0;
  const module = pglite.Module;
  const restore = module.stackRestore;
  module.stackRestore = (stack) => {
    errorsLeft -= 1;
    if (errorsLeft < 0) throw new Error('the session of the embedded database has ended');
    return restore(stack);
  };
  return {
    run: async (messages, onAnswer) => {
      errorsLeft = messages.length;
      // A copy of each answer, for the memory is used again for the next.
      const onRawData = (bytes: Uint8Array): void => onAnswer(Buffer.from(bytes));
      await pglite.execProtocolRawStream(join(messages), { onRawData });
    },
    close: () => pglite.close(),
  };
}

async function load(entry: string): Promise<typeof Pglite> {
  return import(pathToFileURL(entry).href);
}

/** Marks a directory whose first start was not survived: PGlite takes half a database for a whole one. */
const UNFINISHED = 'etl-unfinished';

/** Whether there is no database yet. Throws ETL-2212 for a directory that holds something else. */
async function prepareDirectory(directory: string): Promise<boolean> {
  const entries = await readdir(directory);
  if (entries.includes(UNFINISHED)) {
    const rest = entries.filter((entry) => entry !== UNFINISHED); // Which goes last, or the rest would look whole.
    await Promise.all(rest.map((entry) => rm(resolve(directory, entry), { recursive: true })));
    return true;
  }
  if (entries.includes('PG_VERSION')) return false;
  if (entries.length > 0) throw createNotDataDirectoryError(directory);
  await writeFile(resolve(directory, UNFINISHED), '');
  return true;
}

/** A new database that was made in advance by the same version, which saves running initdb; undefined: there is none. */
async function readSeed(version: string): Promise<Blob | undefined> {
  try {
    const packed = await readFile(new URL(`pglite-data-${version}.tar.br`, import.meta.url));
    return new Blob([await promisify(brotliDecompress)(packed)], { type: 'application/x-tar' });
  } catch (error) {
    if (getCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

interface EmscriptenOptions {
  readonly instantiateWasm: (
    imports: { readonly env: Readonly<Record<string, unknown>> },
    done: unknown,
  ) => unknown;
}

/**
 * Takes the interval timers from PostgreSQL. It can't use them, because no timer fires inside a statement; but they keep
 * the process alive, and one that fires between statements (idle_in_transaction_session_timeout) ends the session by
 * a FATAL error, after which PGlite 0.5 loops for ever in its next call.
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

function createNotInstalledError(definedBy: string): EtlError {
  return new EtlError('ETL-2211', {
    what: 'The embedded database needs the package @electric-sql/pglite, which is not installed.',
    where: definedBy,
    fix: 'Run `npm i @electric-sql/pglite`, or use a PostgreSQL server.',
  });
}

function createNotSupportedError(version: string, definedBy: string): EtlError {
  return new EtlError('ETL-2211', {
    what: `The embedded database can't use version ${version} of the package @electric-sql/pglite.`,
    where: definedBy,
    why: 'It needs 0.5.14 or later, below 0.6.',
    fix: 'Run `npm i @electric-sql/pglite@0.5`.',
  });
}

function createNotDataDirectoryError(directory: string): EtlError {
  return new EtlError('ETL-2212', {
    what: `${directory} is not empty and holds no database.`,
    why: 'The files of the embedded database would be mixed with others.',
    fix: 'Name a directory that is empty or does not exist.',
    data: 'nothing was written',
  });
}
