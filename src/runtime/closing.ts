import { Flight } from './flight.js';
import { closeLeg, NOT_CLOSED, whyNotClosed, type TaskClose } from './ledger/task-row.js';
import { send, type ProtocolClient } from './protocol.js';
import { databaseErrorOf } from './sqlstate.js';
import { assertCommitted, COMMIT } from './transaction.js';

/** Closes the row of a task and commits, in one flight: the server does not come to COMMIT when the close fails. */
export async function commitTask(client: ProtocolClient, close: TaskClose): Promise<void> {
  const flight = new Flight([closeLeg(close), COMMIT]);
  try {
    assertCommitted(await flight.send(client));
  } catch (error) {
    if (flight.answered > 0 || databaseErrorOf(error)?.code !== NOT_CLOSED) throw error;
    await send(client, 'rollback');
    throw await whyNotClosed(client, close.key);
  }
}
