import type { Dag } from '../dag/dag.js';
import type { RunCallbacks } from '../dag/run-end.js';
import { captureLocation } from '../modules/location.js';
import type { Duration } from '../duration.js';
import type { ConnectionFunction } from '../../hooks/connection-function.js';
import { learnFromDefinitions, learnFromPingUrl } from '../secrets/learned-secrets.js';
import type { TaskDefaults } from '../tasks/task.js';
import { assertShape } from './shape.js';

/** A connection in a config, with a limit of its own. A connection without a limit is written as a URL alone. */
export interface ConnectionSettings {
  readonly url: string | ConnectionFunction;
  /** The maximum number of transactions that are open at once on this connection. */
  readonly concurrency?: number;
}

/** The default export of `etl.config.ts`. */
export interface Config extends RunCallbacks {
  readonly dags?: readonly Dag[];
  /**
   * Connections by ID. An ID whose value is undefined counts as not defined, for example `db: process.env['DB_URL']` if
   * the variable is not set. A function returns the connection when it is used, for example from a secret manager:
   * `db: async () => JSON.parse((await manager.getSecretValue({ SecretId: 'db' })).SecretString)`.
   */
  readonly connections?: Readonly<
    Record<string, string | ConnectionFunction | ConnectionSettings | undefined>
  >;
  /** Options of all tasks of all Dags. An option of a task or a default of its Dag replaces the default here. */
  readonly defaults?: TaskDefaults;
  /**
   * The place of the ledger in each database. `schema` is the name of its schema, by default `etl`. Two configs that write to
   * one database with different schemas know nothing of each other's runs.
   */
  readonly ledger?: { readonly schema?: string };
  /** The maximum number of tasks of a run that run at once. */
  readonly concurrency?: number;
  /** The longest time that a whole run may take. */
  readonly timeout?: Duration;
  /**
   * True: messages and the ledger may contain values of rows, such as a key that exists twice or a row that fails a
   * check. False: no output contains them. Default: only a terminal shows them. `--show-data` and `--no-show-data` win
   * over this setting.
   */
  readonly showData?: boolean;
  /**
   * The URL that `etl run` pings at the start and at the end of a run, by the protocol of healthchecks.io. `{dag}` stands
   * for the ID of the Dag. `--ping` and ETL_PING_URL win over this setting. Undefined or empty: no ping.
   */
  readonly ping?: string | undefined;
  /** The longest time that `onSuccess` or `onFailure` may take, here and in a Dag. Default: 30 seconds. */
  readonly callbackTimeout?: Duration;
}

/**
 * Checks a config, and gives it its type: `export default defineConfig({ dags: [monthly] })`. Returns the same object.
 * Throws `EtlError` ETL-2106 for the first mistake.
 */
export function defineConfig<const C extends Config>(config: C): C {
  assertShape(config, captureLocation(defineConfig));
  // The config can still throw an error that quotes a connection.
  learnFromDefinitions(listDefinitions(config.connections ?? {}));
  if (config.ping !== undefined) learnFromPingUrl(config.ping);
  return config;
}

/** Returns the URLs of connections. A connection without a value or with a function is undefined. */
export function listDefinitions(connections: NonNullable<Config['connections']>): (string | undefined)[] {
  return Object.values(connections).map((each) => {
    const value = typeof each === 'object' ? each.url : each;
    return typeof value === 'string' ? value : undefined;
  });
}
