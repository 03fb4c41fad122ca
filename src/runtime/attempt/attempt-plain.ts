import { type RunDatabase, acquire } from '../database/run-database.js';
import { createFailedOutcome } from './failure.js';
import { encodeResult } from '../json.js';
import { type TaskKey, recordTask } from '../ledger/task-row.js';
import { type AttemptOutcome, SkipTask } from './outcome.js';
import type { PlannedTask } from '../dag/plan.js';
import type { PlainBody } from '../tasks/task-body.js';
import { createSilentError } from '../database/silent-database.js';
import { ANSWER_MS, STOP_GRACE_MS, untilAborted, untilAnswered, within } from '../waiting.js';
import type { TaskContext } from '../tasks/task-context.js';

/** The input of one attempt of a task without a connection. */
export interface PlainAttemptRequest {
  readonly task: PlannedTask;
  readonly body: PlainBody;
  /** The database that records the task: the home connection. Undefined if the Dag has no home connection. */
  readonly database: RunDatabase | undefined;
  readonly key: TaskKey;
  readonly fingerprint: string;
  readonly attempt: number;
  /** True if the Dag uses more than one connection, so messages name the connection. */
  readonly hasSeveralConnections: boolean;
  readonly context: TaskContext;
  readonly signal: AbortSignal;
}

/**
 * Runs one attempt of a task without a connection: first the work, then its record in the ledger. If the process dies
 * between the two, the ledger has no record, and a resume repeats the work: the task runs at least once. Never throws.
 */
export async function attemptPlainTask(request: PlainAttemptRequest): Promise<AttemptOutcome> {
  const startedAt = new Date();
  try {
    const result = encodeResult(await runUntilStopped(request));
    await recordDone(request, startedAt, result);
    return { state: 'success', result: JSON.parse(result) as unknown, rows: undefined, reused: false };
  } catch (error) {
    if (error instanceof SkipTask && !request.signal.aborted)
      return { state: 'skipped', reason: error.message };
    const { task, signal, hasSeveralConnections } = request;
    const cause: unknown = signal.aborted ? signal.reason : error;
    return createFailedOutcome(cause, { task, hasSeveralConnections, ending: 'no transaction' });
  }
}

/**
 * Runs the body and returns its result. If the signal aborts, gives the body `STOP_GRACE_MS` to end, and then throws
 * the reason of the signal, whether the body has ended or not.
 */
async function runUntilStopped({ body, context, signal }: PlainAttemptRequest): Promise<unknown> {
  const work = body.run(context);
  try {
    return await untilAborted(work, signal);
  } catch (error) {
    if (signal.aborted) await within(work, STOP_GRACE_MS);
    throw error;
  }
}

/** The state of a task whose record got no answer, for a message. */
const NOT_RECORDED =
  'the task did its work; if it was not recorded, `etl run --resume` runs it again with the same idempotency key';

/** Records the task as done. Does nothing if the Dag has no home connection. */
async function recordDone(request: PlainAttemptRequest, startedAt: Date, result: string): Promise<void> {
  const { database, key, fingerprint, attempt, signal } = request;
  if (database === undefined) return;
  const client = await acquire(database, signal);
  let isIntact = false;
  try {
    const done = { fingerprint, attempt, startedAt, result };
    const recorded = untilAnswered(
      recordTask({ client, schema: database.schema }, key, done),
      ANSWER_MS,
      () => createSilentError(database.connectionId, ANSWER_MS, database.database.poolSize, NOT_RECORDED),
    );
    await untilAborted(recorded, signal);
    isIntact = true;
  } finally {
    // After an error or an abort the statement may still be running, so the connection is destroyed.
    database.release(client, isIntact);
  }
}
