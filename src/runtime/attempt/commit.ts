import { Pipeline } from '../postgres/pipeline.js';
import { createCleanStatements, isClean } from '../postgres/prepared-statements.js';
import type { Ledger } from '../ledger/ledger.js';
import { createNotWrittenError } from '../ledger/row-not-written.js';
import {
  CLOSE_DROPPED,
  createCloseStatement,
  NOT_CLOSED,
  createNotClosedError,
  type TaskClose,
} from '../ledger/task-row.js';
import { send } from '../postgres/protocol.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import { assertCommitted, COMMIT } from '../postgres/transaction.js';
import { CLEAN_UP_MS, within } from '../waiting.js';

/** A commit that was sent. */
export interface CommitInProgress {
  /**
   * Resolves when the transaction is committed. Rejects if the transaction was not committed, or if the outcome is
   * unknown.
   */
  readonly committed: Promise<void>;
  /** Resolves to true if the session is clean for the next task. Never rejects. */
  readonly cleaned: Promise<boolean>;
}

/**
 * Closes the ledger row of a task and commits, in one pipeline: the server skips the COMMIT if the close fails. The
 * statements that clean the session are a second pipeline in the same write. The next task starts while they run.
 *
 * If the close finds no row of its own transaction, rolls back, and rejects `committed` with the error that says why.
 */
export function commitTask(ledger: Ledger, close: TaskClose): CommitInProgress {
  const { client, schema } = ledger;
  const cleaning = new Pipeline(createCleanStatements(client.connection));
  const pipeline = new Pipeline([createCloseStatement(schema, close), COMMIT]);
  const answers = pipeline.sendWith(cleaning, client);
  const cleaned = cleaning.completed.then(isClean, () => false);
  return {
    committed: answers.then(assertCommitted, async (error: unknown) => {
      // Waits for the answer to the second pipeline: nothing can be sent before.
      await within(cleaned, CLEAN_UP_MS);
      const code = pipeline.answered === 0 ? findDatabaseError(error)?.code : undefined;
      if (code !== NOT_CLOSED && code !== CLOSE_DROPPED) throw error;
      await send(client, 'rollback');
      if (code === CLOSE_DROPPED) throw createNotWrittenError(schema, 'task');
      throw await createNotClosedError(ledger, close.key);
    }),
    cleaned,
  };
}
