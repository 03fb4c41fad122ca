import { readFileSync } from 'node:fs';
import { dirname, isAbsolute } from 'node:path';
import { describeThrown, EtlError } from '../../errors.js';
import { ConnectionSet } from '../../hooks/connection-set.js';
import { findHomeDirectory } from '../../hooks/home-directory.js';
import type { Connection } from '../../hooks/connection.js';
import { loadEnvironment, type Environment } from '../../hooks/environment.js';
import type { Database } from '../../hooks/hook.js';
import { createLookup, type Lookup } from '../../hooks/lookup.js';
import { learnFromPasswordFiles, learnFromVariables } from '../../runtime/secrets/learned-secrets.js';
import * as api from '../../index.js';
import type { DebugLog } from './debug-log.js';
import { SHARED_PACKAGES } from './bundled-packages.js';
import { readManifest } from './manifest.js';
import { listNodeConditions } from './node-conditions.js';
import { type LedgerSchema, nameSchema } from '../../runtime/ledger/ledger.js';
import { findConfig } from '../../runtime/config/find.js';
import { findConnectionVariable } from '../../runtime/config/position.js';
import { createEmptyConfig, loadConfig, type LoadedConfig } from '../../runtime/config/load.js';
import type { Shared } from '../../runtime/modules/shared-packages.js';
import { setProcessUser } from '../../runtime/trust/trusted-file.js';

/** The config, the environment and the connections, which a command loads before it begins to work. */
export interface Program {
  readonly loaded: LoadedConfig;
  readonly lookup: Lookup;
  /** The environment variables, with the variables of the `.env` files. */
  readonly environment: Environment;
  /** The schema of the ledger in each database. */
  readonly ledgerSchema: LedgerSchema;
  /** The IDs of the connections that `--conn` names. */
  readonly named: readonly string[];
  /** Returns how many transactions may be open at once on a connection: at most `concurrency`. */
  getPoolSize(connection: Connection, concurrency: number): number;
  /** Opens a database for at most `concurrency` transactions at once. The caller closes the database. */
  open(connection: Connection, settings: OpenSettings): Promise<Database>;
}

interface OpenSettings {
  /** The maximum number of open transactions. */
  readonly concurrency: number;
  /** Called with one line that a person should read about the database. Default: the `notice` of `loadProgram`. */
  readonly notice?: (text: string) => void;
  /** True if a run opens the database. */
  readonly isForRun?: boolean | undefined;
}

/** The options of `loadProgram`. */
export interface ProgramOptions {
  /** The value of `--config`. */
  readonly config: string | undefined;
  /** The connections that flags name by ID, with their URLs. Undefined: the flag has no URL. */
  readonly connections: Readonly<Record<string, string | undefined>>;
  /** False: without a config file, the command works in the working directory. A config that is named must exist. */
  readonly needsConfig: boolean;
  /** Called with one line that a person should read about a database. */
  readonly notice: (text: string) => void;
  /** Takes what the databases send. Undefined without `--debug`. */
  readonly debug?: Pick<DebugLog, 'createTrace'> | undefined;
}

/**
 * Finds and loads the config. Before that, sets the variables of the `.env` files beside the config in the environment
 * of this process, so that the config can read the variables. Variables that are set already keep their values. Throws
 * an `EtlError` with exit code 2 if the config or an `.env` file can't be read or is wrong.
 */
export async function loadProgram(options: ProgramOptions): Promise<Program> {
  const { config, connections, notice, debug } = options;
  const explicit = config ?? process.env['ETL_CONFIG'];
  const directory = findStartDirectory(explicit);
  const getuid = process.getuid?.bind(process);
  setProcessUser(getuid);
  const file = await findFile(directory, explicit, options.needsConfig);
  const root = file === undefined ? directory : dirname(file);
  const environment = loadEnvironment({ variables: process.env, directory: root });
  // The config can throw an error that quotes a secret, so the secrets are known before the config runs.
  learnFromVariables(environment.variables);
  const home = findHomeDirectory(environment.variables);
  learnFromPasswordFiles(environment.variables, { root, home });
  // The config may use a variable of an `.env` file, so the variables must be set before the config is loaded.
  for (const [name, value] of Object.entries(environment.variables)) process.env[name] ??= value;
  const loaded =
    file === undefined ? createEmptyConfig(directory) : await loadConfigFile(directory, file, getuid);
  const lookup = createLookup({
    flags: Object.fromEntries(Object.entries(connections).filter(hasUrl)),
    environment,
    config: loaded.config.connections,
    configName: loaded.name,
    findVariable: (id) =>
      file === undefined ? undefined : findConnectionVariable(readFileSync(file, 'utf8'), id),
  });
  const connectionSet = new ConnectionSet({
    settings: loaded.config.connections,
    variables: environment.variables,
    root: loaded.directory,
    pid: process.pid,
  });
  return {
    loaded,
    environment,
    ledgerSchema: nameSchema(loaded.config.ledgerSchema),
    lookup,
    named: Object.keys(connections),
    getPoolSize: (connection, concurrency) => connectionSet.getPoolSize(connection, concurrency),
    open: (connection, settings) =>
      connectionSet.open(connection, { notice, ...settings, trace: debug?.createTrace(connection.id) }),
  };
}

/** Returns what the program shares with the user's modules: this instance of the API, and the shared packages. */
export function getShared(): Shared {
  return {
    api: { name: '@oneshot/etl', load: () => api, entry: new URL('index.js', import.meta.url) },
    packages: SHARED_PACKAGES,
    own: new URL('.', import.meta.url),
    version: readManifest().version,
  };
}

function hasUrl(entry: readonly [string, string | undefined]): entry is [string, string] {
  return entry[1] !== undefined;
}

/** Finds the config. Returns undefined if there is none and none was named, and the command does not need one. */
async function findFile(
  directory: string,
  explicit: string | undefined,
  needsConfig: boolean,
): Promise<string | undefined> {
  try {
    return await findConfig({ directory, explicit });
  } catch (error) {
    const isMissing = error instanceof EtlError && error.code === 'ETL-2101';
    if (isMissing && explicit === undefined && !needsConfig) return undefined;
    throw error;
  }
}

/** Loads a config, which shares packages with this program. */
function loadConfigFile(
  directory: string,
  explicit: string,
  getuid: (() => number) | undefined,
): Promise<LoadedConfig> {
  return loadConfig({
    directory,
    explicit,
    shared: getShared(),
    isCached: !process.env['ETL_NO_CACHE'],
    variables: process.env,
    conditions: listNodeConditions(process.execArgv, process.env['NODE_OPTIONS']),
    getuid,
  });
}

/**
 * Returns the working directory, where the search for a config starts. If the working directory was removed, returns the
 * directory of a config that is named by an absolute path. Throws ETL-2101 if there is neither.
 */
function findStartDirectory(explicit: string | undefined): string {
  try {
    return process.cwd();
  } catch (cause) {
    if (explicit !== undefined && isAbsolute(explicit)) return dirname(explicit);
    throw new EtlError('ETL-2101', {
      what: 'no config was found',
      why: `the working directory does not exist any more (${describeThrown(cause)})`,
      fix: 'go to the directory of your project, or name the config by an absolute path with --config',
      cause,
    });
  }
}
