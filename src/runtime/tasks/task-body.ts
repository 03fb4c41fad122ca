import type { ProtocolClient } from '../postgres/protocol.js';
import type { Session } from '../session/session.js';
import type { OpenReadSession } from '../session/read-session.js';
import type { FoundHighWatermark } from '../watermark/incremental.js';
import type { Watermarks } from '../watermark/watermark.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import type { TaskContext } from './task-context.js';

/** What a task inside a transaction works with. */
export interface TaskWork {
  readonly context: TaskContext;
  /** The transaction's connection: for statements and COPY streams. */
  readonly taskConnection: TaskConnection;
  /** The same transaction as a Knex instance; made on the first call. */
  readonly session: () => Promise<Session>;
  /** A read-only transaction on another connection; closed when the task has ended. */
  readonly openReadSession: OpenReadSession;
  /** How far the task has come; what is set here is committed with its data. */
  readonly watermarks: Watermarks;
  /** What `settle` has found, where the body has one. */
  readonly highWatermark: FoundHighWatermark | undefined;
  /** The directory that relative paths start from: that of the config file. */
  readonly root: string;
  /** Reports that so much more is done: bytes as they come from or go to the server, and rows. */
  readonly moved: (delta: Moved) => void;
}

/** What there is before a task's transaction. */
export interface BeforeTransaction {
  /** The idle connection that the transaction will be on. */
  readonly client: ProtocolClient;
  /** As in `Work`: what is opened here is open there. */
  readonly openReadSession: OpenReadSession;
  readonly context: TaskContext;
  readonly signal: AbortSignal;
}

/** What a task has done since it last said so. */
export interface Moved {
  readonly bytes?: number;
  readonly rows?: number;
}

/** What a task does, in the two ways in which it can be recorded. */
export type TaskBody = TransactionBody | PlainBody;

/** Runs inside a transaction that also holds the task's ledger row. */
export interface TransactionBody {
  readonly transactional: true;
  /** It writes files, too, which no COMMIT covers: they are written at least once. */
  readonly leavesFiles?: true;
  /** Finds up to where new rows are complete, before the transaction begins. */
  findHighWatermark?(before: BeforeTransaction): Promise<FoundHighWatermark>;
  /** Returns the task's result. */
  run(work: TaskWork): Promise<unknown>;
  /** The text that says whether the task still does the same. `root` as in `Work`. */
  readCode(root: string): Promise<string>;
}

/** Runs without a connection and is recorded afterwards: at least once. */
export interface PlainBody {
  readonly transactional: false;
  run(context: TaskContext): Promise<unknown>;
  readCode(root: string): Promise<string>;
}

/** The text of options that says whether a task still does the same: a function counts by its code. */
export function describeOptions(options: object): string {
  return JSON.stringify(options, (_name, value: unknown) =>
    typeof value === 'function' ? String(value) : value,
  );
}

/** How often a task has its effect, when processes die and answers are lost. */
export function getEffect(body: TaskBody): 'exactly once' | 'at least once' {
  return body.transactional && body.leavesFiles !== true ? 'exactly once' : 'at least once';
}
