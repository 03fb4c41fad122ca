import { dirname } from 'node:path';
import { EtlError } from '../../errors.js';
import type { Dag } from '../dag/dag.js';
import { parseDuration } from '../duration.js';
import type { TaskDefaults } from '../tasks/task.js';
import { evaluate, isCode } from './code.js';
import { parseData } from './data.js';
import { findConfig, type FindOptions } from './find.js';
import { createShapeError } from './load-error.js';
import { findKeyPosition, START } from './position.js';
import { assertConfig, type Config, type ConnectionSettings } from './define.js';
import type { Shared } from '../modules/shared-packages.js';
import { setRoot } from '../modules/location.js';
import { readConfigFile, type ConfigFile } from '../modules/source-text.js';

export interface LoadOptions extends FindOptions {
  readonly shared: Shared;
  /** The user that the process runs as; absent on Windows, where files have no mode. */
  readonly getuid?: (() => number) | undefined;
  /** Whether compiled code may be kept beside the config. */
  readonly isCached: boolean;
  /** How long executing the config may take. Default 30,000. */
  readonly timeoutMs?: number | undefined;
}

/** A config that was found, loaded and checked. */
export interface LoadedConfig {
  /** Absolute path of the file. */
  readonly file: string;
  /** The directory of the file, where its relative paths start. */
  readonly directory: string;
  /** The file for messages: relative to the working directory where that is shorter. */
  readonly name: string;
  readonly config: CheckedConfig;
}

/** The content of a config, without gaps. */
export interface CheckedConfig {
  readonly dags: readonly Dag[];
  /** By ID; undefined where the config gave no value. Without a prototype, so every ID is safe to look up. */
  readonly connections: Readonly<Record<string, string | ConnectionSettings | undefined>>;
  readonly defaults: TaskDefaults;
  readonly concurrency: number | undefined;
  /** For a whole run. */
  readonly timeoutMs: number | undefined;
}

const LOAD_TIMEOUT_MS = 30_000;

/**
 * Finds the config, makes sure that it is safe to execute, loads it once, and checks it. Every way in which it can be
 * wrong ends in one `EtlError` with exit code 2 and a place in the user's file.
 */
export async function loadConfig(options: LoadOptions): Promise<LoadedConfig> {
  const { directory, shared, getuid, isCached, timeoutMs = LOAD_TIMEOUT_MS } = options;
  const file = await findConfig(options);
  const configFile = readConfigFile(file, { directory, getuid });
  const value = isCode(file)
    ? await evaluate(configFile, { directory, shared, getuid, isCached, timeoutMs })
    : checkSettingsOnly(configFile, await parseData(configFile));
  assertConfig(value, (problem) => createShapeError(problem, { configFile, directory }));
  const config = checkConfig(value);
  for (const { location } of config.dags) setRoot(location, dirname(file));
  return { file, directory: dirname(file), name: configFile.name, config };
}

/** A Dag holds functions, which no JSON or YAML file can. */
function checkSettingsOnly(configFile: ConfigFile, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, 'dags')) return value;
  const { line, column } = findKeyPosition(configFile.text, ['dags'], 'data') ?? START;
  throw new EtlError('ETL-2106', {
    what: `${configFile.name} cannot hold \`dags\``,
    where: `${configFile.name}:${line}:${column}`,
    why: 'A Dag is made of functions, and a JSON or YAML file holds connections and settings only',
    fix: 'Write etl.config.ts, with `export default defineConfig({ dags: […] })`.',
  });
}

function checkConfig({
  dags = [],
  connections = {},
  defaults = {},
  concurrency,
  timeout,
}: Config): CheckedConfig {
  const byId: CheckedConfig['connections'] = Object.assign(Object.create(null), connections);
  return {
    dags,
    connections: byId,
    defaults,
    concurrency,
    timeoutMs: timeout === undefined ? undefined : parseDuration(timeout, 'timeout'),
  };
}
