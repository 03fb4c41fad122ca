import { EtlError } from '../../errors.js';
import type { ProtocolClient } from '../postgres/protocol.js';
import type { Settings } from '../postgres/value-settings.js';
import type { Session } from '../session/session.js';
import type { OpenReadSession } from '../session/read-session.js';
import type { FoundHighWatermark } from '../watermark/incremental.js';
import type { Watermarks } from '../watermark/watermark.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import type { TaskContext } from './task-context.js';
import type { CursorReader } from './unset-cursor.js';

/** The things that a task inside a transaction works with. */
export interface TaskWork {
  readonly context: TaskContext;
  /** The connection of the transaction, for statements and COPY streams. */
  readonly taskConnection: TaskConnection;
  /** Returns the same transaction as a Knex instance. The first call creates the instance. */
  readonly session: () => Promise<Session>;
  /** Opens a read session on another connection. It is closed when the task ends. */
  readonly openReadSession: OpenReadSession;
  /** The watermarks of the task. New values are committed together with the data of the task. */
  readonly watermarks: Watermarks;
  /** The result of `findHighWatermark`. Undefined if the body does not have this method. */
  readonly highWatermark: FoundHighWatermark | undefined;
  /** The directory of the config file. Relative paths start there. */
  readonly root: string;
  /** The incremental tasks of the Dag that read from the connection of this task. */
  readonly cursorReaders: () => readonly CursorReader[];
  /** Reports progress: the bytes that came from or went to the server, and the rows, since the last call. */
  readonly moved: (delta: Moved) => void;
}

/** The things that a body can use before its transaction begins. */
export interface BeforeTransaction {
  /** The connection of the coming transaction. It is idle. */
  readonly client: ProtocolClient;
  /** Opens a read session. The same session is open in `TaskWork` later. */
  readonly openReadSession: OpenReadSession;
  readonly context: TaskContext;
  readonly signal: AbortSignal;
}

/** The progress of a task since its last report. */
export interface Moved {
  readonly bytes?: number;
  readonly rows?: number;
}

/** The facts about a Dag that `TransactionBody.findFaults` uses. */
export interface DagFacts {
  /** The directory of the config file. */
  readonly root: string;
  /** The names of the params. Undefined if the schema of the params does not tell the names. */
  readonly paramNames: readonly string[] | undefined;
}

/** The code of a task. The two kinds differ in how the ledger records the task. */
export type TaskBody = TransactionBody | PlainBody;

/** A body that runs inside a transaction. The ledger row of the task is written in the same transaction. */
export interface TransactionBody {
  readonly transactional: true;
  /** Settings of the transaction that decide how values are converted, in addition to those of every task. */
  readonly settings?: Settings;
  /** The table that an incremental task reads on `conn`, or on the connection of the task if `conn` is undefined. */
  readonly reads?: Omit<CursorReader, 'taskId'> & { readonly conn?: string };
  /** The table that a merge updates. */
  readonly merges?: string;
  /** The file, as the user wrote it, that each attempt replaces with the rejected rows of the load. */
  readonly rejectsFile?: string;
  /** Set if the body also writes files. No COMMIT covers files, so they are written at least once. */
  readonly leavesFiles?: true;
  /**
   * Finds what would make a run fail although the Dag is valid: a `.sql` file that can't be read or bound, or a package
   * that is not installed. Opens no connection and calls no code of the user.
   */
  findFaults?(facts: DagFacts): Promise<readonly EtlError[]>;
  /** Finds the high watermark of an incremental task before the transaction begins. */
  findHighWatermark?(before: BeforeTransaction): Promise<FoundHighWatermark>;
  /** Runs the task and returns its result. */
  run(work: TaskWork): Promise<unknown>;
  /**
   * Returns the values that decide what the task does, for the fingerprint of the task. The names are words for
   * messages: `its SQL`. A value that is undefined does not count.
   */
  listCode(): Readonly<Record<string, unknown>>;
  /**
   * Reads the files of code, such as a SQL file, by the path that the user wrote. `root` is the directory of the config
   * file. Input files are no code.
   */
  readFiles?(root: string): Promise<Readonly<Record<string, string>>>;
}

/** A body that runs without a connection. Its ledger row is written afterwards, so it runs at least once. */
export interface PlainBody {
  readonly transactional: false;
  /** Runs the task and returns its result. */
  run(context: TaskContext): Promise<unknown>;
  /** Returns the values that decide what the task does, like `TransactionBody.listCode`. */
  listCode(): Readonly<Record<string, unknown>>;
  readonly readFiles?: never;
}

/** Calls `work`. Returns the `EtlError` that it throws, as a list for `findFaults`. Rethrows any other error. */
export async function collectFault(work: () => Promise<unknown>): Promise<readonly EtlError[]> {
  try {
    await work();
    return [];
  } catch (error) {
    if (error instanceof EtlError) return [error];
    throw error;
  }
}

/** Returns the options with these names for `listCode`. The options of every task, such as `retries`, must not be in it. */
export function listOptions(options: object, names: readonly string[]): Readonly<Record<string, unknown>> {
  return Object.fromEntries(names.map((name) => [`its \`${name}\``, options[name as keyof typeof options]]));
}

/** Returns how often a task has its effect if processes die and answers of the server are lost. */
export function getEffect(body: TaskBody): 'exactly once' | 'at least once' {
  return body.transactional && body.leavesFiles !== true ? 'exactly once' : 'at least once';
}
