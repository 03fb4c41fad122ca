import type { Connection } from './connection.js';
import type { ConnectionSetting } from './definitions.js';
import type { Database, Variables } from './hook.js';
import { findHook } from './index.js';
import type { Trace } from './statement-trace.js';

/** The settings that all connections of a process have in common. */
export interface ConnectionSetOptions {
  /** The connections of the config by ID. */
  readonly settings: Readonly<Record<string, ConnectionSetting>>;
  /** The environment variables. */
  readonly variables: Variables;
  /** The directory where relative paths of connections start. */
  readonly root: string;
  /** The process ID of this process. */
  readonly pid: number;
}

/** The options of `ConnectionSet.open`. */
export interface OpenOptions {
  /** The maximum number of open transactions. */
  readonly concurrency: number;
  /** Called with one line that a person should read about the database. */
  readonly notice: (text: string) => void;
  /** True if a run opens the database. */
  readonly isForRun?: boolean | undefined;
  /** Takes each statement. Undefined without `--debug`. */
  readonly trace?: Trace | undefined;
}

/** Opens the connections of a config, with the limits that the config sets. */
export class ConnectionSet {
  readonly #options: ConnectionSetOptions;

  constructor(options: ConnectionSetOptions) {
    this.#options = options;
  }

  /**
   * Returns how many transactions may be open at once on a connection: the lowest of `concurrency`, the limit that the
   * config sets for the connection, and the limit of the connection's hook.
   */
  getPoolSize(connection: Connection, concurrency: number): number {
    const { settings } = this.#options;
    const setting = Object.hasOwn(settings, connection.id) ? settings[connection.id] : undefined;
    const limit = typeof setting === 'object' ? setting.concurrency : undefined;
    return Math.min(concurrency, limit ?? Infinity, findHook(connection).maxPoolSize ?? Infinity);
  }

  /** Opens a database. The caller closes it. Throws `EtlError` if the database can't be reached. */
  async open(connection: Connection, { concurrency, ...rest }: OpenOptions): Promise<Database> {
    const { variables, root, pid } = this.#options;
    return findHook(connection).open(connection, {
      poolSize: this.getPoolSize(connection, concurrency),
      applicationName: 'etl',
      variables,
      root,
      pid,
      ...rest,
    });
  }
}
