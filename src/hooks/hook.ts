import type { Knex } from 'knex';
import type { Client } from 'pg';
import type { Connection } from './connection.js';
import type { Trace } from './statement-trace.js';

/** The values of variables by name: the process environment, completed by the `.env` files. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** The settings that a hook needs to open a connection. A hook itself reads no environment and prints nothing. */
export interface OpenSettings {
  /** The maximum size of the pool, and so the maximum number of transactions that are open at once. */
  readonly poolSize: number;
  /** The name of the sessions in `pg_stat_activity`. */
  readonly applicationName: string;
  /** The variables. `PG*` variables fill fields that the connection does not set, as in libpq. */
  readonly variables: Variables;
  /** The directory of the config file. Relative paths in a connection start at this directory. */
  readonly root: string;
  /** The process ID of this process. A lock file of an embedded database has the process ID of its owner. */
  readonly pid: number;
  /** Shows one line to the user. The line never has a secret. */
  readonly notice: (text: string) => void;
  /** True if the connection is opened for a run, which needs a session for its lock beside those of the pool. */
  readonly isForRun?: boolean | undefined;
  /** Takes each statement of each session. Absent without `--debug`. */
  readonly trace?: Trace | undefined;
}

/** A database that a run can work with. */
export interface Database {
  /** Opens a pooled connection when one is needed, at most `OpenSettings.poolSize` at once. */
  readonly knex: Knex;
  /**
   * Opens a connection outside the pool, to cancel statements and to hold the lock of a run. The caller ends the
   * connection. Absent if the database has only one session.
   */
  readonly openControl?: () => Promise<Client>;
  /** The maximum number of transactions that are open at once. */
  readonly poolSize: number;
  /** The `notice` of the `OpenSettings`, for the code that works with the database. */
  readonly notice: OpenSettings['notice'];
  /** Closes all connections, in any state, within about a second. Never rejects. */
  close(): Promise<void>;
}

/** Opens connections of certain schemes as Knex instances. */
export interface Hook {
  /** The schemes of the connections that the hook opens. */
  readonly schemes: readonly string[];
  /** The most transactions that a database of this hook can have open at once. Undefined if there is no limit. */
  readonly maxPoolSize?: number;
  /**
   * Opens a connection. The database opens its first session at the first query. The hook may already talk to the
   * server in the background. Rejects with an `EtlError` if the connection can't be used.
   */
  open(connection: Connection, settings: OpenSettings): Promise<Database>;
}
