import type { Knex } from 'knex';
import type { Client } from 'pg';
import type { Connection } from './connection.js';

/** Variables by name; the process environment with the `.env` files below it. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** What a hook needs besides the connection: it reads no environment and prints nothing by itself. */
export interface OpenSettings {
  /** How many transactions may be open at once; the pool has exactly this size. */
  readonly poolSize: number;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  /** `PG*` variables fill the fields that the connection leaves open, as libpq does. */
  readonly variables: Variables;
  /** The directory that relative paths in a connection start from: that of the config file. */
  readonly root: string;
  /** The process ID of this process: it marks what only one process may use. */
  readonly pid: number;
  /** Called with one line that the user should read, never with a secret. */
  readonly notice: (text: string) => void;
}

/** A database that a run can work with. */
export interface Database {
  /** Opens connections on first use, at most `lanes` at once. */
  readonly knex: Knex;
  /**
   * Opens one more connection, outside the pool, to cancel statements and to hold the lock of a run.
   * Absent where the database has one session only. The caller ends it.
   */
  readonly openControl?: () => Promise<Client>;
  /** As in `OpenSettings`: for whoever works with the database. */
  readonly notice: OpenSettings['notice'];
  /** Ends everything that is open, within a second and whatever state it is in. Never throws. */
  close(): Promise<void>;
}

/** Opens connections of its schemes. */
export interface Hook {
  readonly schemes: readonly string[];
  /** The most transactions that its databases can have open at once; without it there is no limit. */
  readonly maxPoolSize?: number;
  /** May ask the server something beside what comes next, but opens no session before the first query. Throws `EtlError`. */
  open(connection: Connection, settings: OpenSettings): Promise<Database>;
}
