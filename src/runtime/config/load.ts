import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ConnectionFunction } from '../../hooks/connection-function.js';
import type { Dag } from '../dag/dag.js';
import type { RunCallbacks } from '../dag/run-end.js';
import { parseDuration } from '../duration.js';
import type { TaskDefaults } from '../tasks/task.js';
import { type CodeOptions, type Evaluated, evaluate, isCode } from './code.js';
import { parseData } from './data.js';
import { findConfig, type FindOptions } from './find.js';
import { createLoadError } from './load-error.js';
import { loadNamedDags } from './named-dags.js';
import { assertShape } from './shape.js';
import type { Config, ConnectionSettings } from './define.js';
import { setRoot } from '../modules/location.js';
import { readConfigFile, type ConfigFile } from '../modules/source-text.js';

/** Options for finding and loading the config. */
export interface LoadOptions extends FindOptions, Omit<CodeOptions, 'timeoutMs' | 'variables'> {
  /** The longest time that executing the config may take. Default 30,000. */
  readonly timeoutMs?: number | undefined;
  /** The environment variables. Default: none. */
  readonly variables?: CodeOptions['variables'];
}

/** A config that was found, loaded and checked. */
export interface LoadedConfig {
  /** The absolute path of the file. */
  readonly file: string;
  /** The directory of the file. Relative paths in the config start here. */
  readonly directory: string;
  /** The path for messages: relative to the working directory if that is shorter. */
  readonly name: string;
  readonly config: CheckedConfig;
}

/** The content of a config, with a default for every field that the config leaves out. */
export interface CheckedConfig {
  readonly dags: readonly Dag[];
  /**
   * The connections by ID. A value is undefined if the config has the ID without a value. The object has no prototype,
   * so every ID is safe to look up.
   */
  readonly connections: Readonly<
    Record<string, string | ConnectionFunction | ConnectionSettings | undefined>
  >;
  readonly defaults: TaskDefaults;
  /** The name of the schema of the ledger in each database. Undefined: the default. */
  readonly ledgerSchema: string | undefined;
  readonly concurrency: number | undefined;
  /** The longest time that a whole run may take. */
  readonly timeoutMs: number | undefined;
  /** True or false: whether outputs may contain values of rows. Undefined: only a terminal shows them. */
  readonly showData: boolean | undefined;
  /** The URL to ping, with `{dag}` for the ID of the Dag. Undefined: none. */
  readonly ping: string | undefined;
  /** The functions that are called once a run has ended. */
  readonly callbacks: RunCallbacks;
  /** The longest time that such a function may take, in milliseconds. Undefined: the default. */
  readonly callbackTimeoutMs: number | undefined;
}

const LOAD_TIMEOUT_MS = 30_000;

/**
 * Finds the config, makes sure that it is safe to execute, loads it once, and checks it. Every mistake ends in an
 * `EtlError` with exit code 2 and a location in the user's files.
 */
export async function loadConfig(options: LoadOptions): Promise<LoadedConfig> {
  const { timeoutMs = LOAD_TIMEOUT_MS, variables = {} } = options;
  const file = await findConfig(options);
  const configFile = readConfigFile(file, options);
  const codeOptions = { ...options, timeoutMs, variables };
  const { value, code } = await loadValue(configFile, codeOptions);
  const config = fillDefaults(value);
  for (const { location } of config.dags) setRoot(location, dirname(file), code);
  return { file, directory: dirname(file), name: configFile.name, config };
}

/**
 * Executes or parses the config, and checks the shape of its value. Every error is an `EtlError` with a location in the
 * user's files.
 */
async function loadValue(
  configFile: ConfigFile,
  options: CodeOptions,
): Promise<{ readonly value: Config; readonly code?: Evaluated['code'] }> {
  try {
    const evaluated = isCode(configFile.file)
      ? await evaluate(configFile, options)
      : await loadNamedDags(configFile, await parseData(configFile), options);
    assertShape(evaluated.value);
    return { ...evaluated, value: evaluated.value as Config };
  } catch (error) {
    const { directory, shared } = options;
    throw createLoadError(error, { configFile, directory, ours: fileURLToPath(shared.own) });
  }
}

/** Returns the config of a command that works in `directory` without a config file. */
export function createEmptyConfig(directory: string): LoadedConfig {
  const name = 'etl.config.ts';
  return { file: join(directory, name), directory, name, config: fillDefaults({}) };
}

/** Returns the content of a checked config with a default for every field that is left out. */
function fillDefaults({
  dags = [],
  connections = {},
  defaults = {},
  ledger,
  concurrency,
  timeout,
  showData,
  ping,
  onSuccess,
  onFailure,
  callbackTimeout,
}: Config): CheckedConfig {
  const byId: CheckedConfig['connections'] = Object.assign(Object.create(null), connections);
  return {
    dags,
    connections: byId,
    defaults,
    ledgerSchema: ledger?.schema,
    concurrency,
    timeoutMs: timeout === undefined ? undefined : parseDuration(timeout, 'timeout'),
    showData,
    ping: ping === '' ? undefined : ping,
    callbacks: { onSuccess, onFailure },
    callbackTimeoutMs:
      callbackTimeout === undefined ? undefined : parseDuration(callbackTimeout, 'callbackTimeout'),
  };
}
