import { dirname } from 'node:path';
import { findHook } from '../../hooks/index.js';
import { listSecrets, type Connection } from '../../hooks/connection.js';
import { loadEnvironment, type Environment } from '../../hooks/environment.js';
import type { Database } from '../../hooks/hook.js';
import { createLookup, type Lookup } from '../../hooks/lookup.js';
import * as api from '../../index.js';
import { SHARED_PACKAGES } from './bundled-packages.js';
import { readManifest } from './manifest.js';
import { findConfig } from '../../runtime/config/find.js';
import { loadConfig, type LoadedConfig } from '../../runtime/config/load.js';
import type { Mask } from './terminal.js';

/** What a command finds out before it does anything: the config, the environment, the connections. */
export interface Program {
  readonly loaded: LoadedConfig;
  readonly lookup: Lookup;
  readonly environment: Environment;
  /** How many transactions may be open at once on a connection, out of `concurrency`. */
  getPoolSize(connection: Connection, concurrency: number): number;
  /** Opens a database with at most `concurrency` transactions at once. The caller closes it. */
  open(connection: Connection, settings: OpenSettings): Promise<Database>;
}

interface OpenSettings {
  readonly concurrency: number;
  /** Default: that of the program. */
  readonly notice?: (text: string) => void;
}

export interface ProgramOptions {
  /** From `--config`. */
  readonly config: string | undefined;
  /** From `--conn id=url`. */
  readonly connections: Readonly<Record<string, string>>;
  readonly mask: Mask;
  /** Called with one line that a person should read about a database. */
  readonly notice: (text: string) => void;
}

/**
 * Finds and loads the config, once. The `.env` files beside it are read first and fill the environment of this
 * process, so that the config sees them. Throws `EtlError` with exit code 2.
 */
export async function loadProgram({ config, connections, mask, notice }: ProgramOptions): Promise<Program> {
  const directory = process.cwd();
  const file = await findConfig({ directory, explicit: config ?? process.env['ETL_CONFIG'] });
  const environment = loadEnvironment({ variables: process.env, directory: dirname(file) });
  for (const [name, value] of Object.entries(environment.variables)) process.env[name] ??= value;
  const loaded = await loadConfig({
    directory,
    explicit: file,
    shared: {
      api: { name: '@oneshot/etl', load: () => api, entry: new URL('index.js', import.meta.url) },
      packages: SHARED_PACKAGES,
      own: new URL('.', import.meta.url),
      version: readManifest().version,
    },
    isCached: !process.env['ETL_NO_CACHE'],
    getuid: process.getuid?.bind(process),
  });
  const lookup = createLookup({
    flags: connections,
    environment,
    config: loaded.config.connections,
    configName: loaded.name,
  });
  return {
    loaded,
    environment,
    lookup: maskLookup(lookup, mask),
    getPoolSize: (connection, concurrency) => getPoolSize(loaded, connection, concurrency),
    open: (connection, settings) => open({ connection, environment, loaded }, { notice, ...settings }),
  };
}

/** Every connection that is looked at gives its secrets to the mask first. */
function maskLookup(lookup: Lookup, mask: Mask): Lookup {
  return {
    ...lookup,
    find: (id) => {
      const connection = lookup.find(id);
      mask.add(listSecrets(connection));
      return connection;
    },
  };
}

function getPoolSize({ config }: LoadedConfig, connection: Connection, concurrency: number): number {
  const setting = config.connections[connection.id];
  const limit = typeof setting === 'object' ? setting.concurrency : undefined;
  return Math.min(concurrency, limit ?? Infinity, findHook(connection).maxPoolSize ?? Infinity);
}

async function open(
  {
    connection,
    environment,
    loaded,
  }: { connection: Connection; environment: Environment; loaded: LoadedConfig },
  { concurrency, notice }: Required<OpenSettings>,
): Promise<Database> {
  return findHook(connection).open(connection, {
    poolSize: getPoolSize(loaded, connection, concurrency),
    applicationName: 'etl',
    variables: environment.variables,
    root: loaded.directory,
    pid: process.pid,
    notice,
  });
}
