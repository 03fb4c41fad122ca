import { Pipeline } from '../postgres/pipeline.js';
import { createCleanStatements, isClean } from '../postgres/prepared-statements.js';
import {
  createCloseStatement,
  NOT_CLOSED,
  createNotClosedError,
  type TaskClose,
} from '../ledger/task-row.js';
import { send, type ProtocolClient } from '../postgres/protocol.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import { assertCommitted, COMMIT } from '../postgres/transaction.js';
import { CLEAN_UP_MS, within } from '../waiting.js';

/** The end of a task's transaction, on its way. */
export interface CommitInProgress {
  /** Rejects when the transaction was not committed, or when that is not known. */
  readonly committed: Promise<void>;
  /** Whether the session is clean for the next task. Never rejects. */
  readonly cleaned: Promise<boolean>;
}

/**
 * Closes the row of a task and commits, in one flight: the server does not come to COMMIT when the close fails. The
 * session is made clean in the same write, while what comes after the task begins.
 */
export function commitTask(client: ProtocolClient, close: TaskClose): CommitInProgress {
  const clean = new Pipeline(createCleanStatements(client.connection));
  const pipeline = new Pipeline([createCloseStatement(close), COMMIT]);
  const flown = pipeline.sendWith(clean, client);
  const cleaned = clean.completed.then(isClean, () => false);
  return {
    committed: flown.then(assertCommitted, async (error: unknown) => {
      // Nothing can be sent before its answer.
      await within(cleaned, CLEAN_UP_MS);
      if (pipeline.answered > 0 || findDatabaseError(error)?.code !== NOT_CLOSED) throw error;
      await send(client, 'rollback');
      throw await createNotClosedError(client, close.key);
    }),
    cleaned,
  };
}
