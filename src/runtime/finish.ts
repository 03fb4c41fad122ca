import { EtlError } from '../errors.js';
import type { TaskOutcome } from './attempts.js';
import type { RunDatabases } from './databases.js';
import type { TaskSummary } from './event.js';
import { insertAttempts, type AttemptRow } from './ledger/attempt-row.js';
import { closeRun } from './ledger/run-row.js';
import { readDone } from './ledger/task-row.js';
import { asError } from './outcome.js';
import type { RunPlan } from './plan.js';

/** What the end of a run is made of. */
export interface FinishRequest {
  readonly plan: RunPlan;
  readonly outcomes: readonly TaskOutcome[];
  /** Attempts that did not succeed. */
  readonly attempts: readonly AttemptRow[];
  /** Errors of the run itself; those of its end are added. */
  readonly errors: EtlError[];
  readonly databases: RunDatabases;
  /** False where this process has done one task of a run, and others do the rest. */
  readonly isWhole: boolean;
}

/** How the run ended, as the ledger has it. */
export interface Finished {
  readonly state: 'success' | 'failed';
  readonly tasks: readonly TaskSummary[];
}

/**
 * Records the end of a run, and says what the ledger holds, not what this process remembers. Never throws: a run whose
 * end can't be recorded has failed.
 */
export async function finishRun(request: FinishRequest): Promise<Finished> {
  const { plan, outcomes, errors, databases } = request;
  if (plan.home === undefined) return ended(outcomes.map(summaryOf), errors);
  try {
    const done = await databases.readAll(databases.opened, (client) => readDone(client, plan.runId));
    const tasks = outcomes.map((outcome) => confirmed(outcome, done.get(outcome.taskId)));
    const finished = ended(tasks, errors);
    await databases.withHome(async (client) => {
      if (request.attempts.length > 0) await insertAttempts(client, plan.runId, request.attempts);
      const isOver =
        request.isWhole || finished.state === 'failed' || plan.tasks.every(({ id }) => done.has(id));
      if (isOver) await closeRun(client, plan.runId, finished.state);
    });
    return finished;
  } catch (error) {
    errors.push(unrecorded(error));
    return ended(outcomes.map(summaryOf), errors);
  }
}

function ended(tasks: readonly TaskSummary[], errors: readonly EtlError[]): Finished {
  const failed = tasks.some(({ state }) => state === 'failed' || state === 'upstream_failed');
  return { state: failed || errors.length > 0 ? 'failed' : 'success', tasks };
}

function confirmed(
  outcome: TaskOutcome,
  row: { readonly rows: number | undefined } | undefined,
): TaskSummary {
  const summary = summaryOf(outcome);
  if (outcome.state !== 'success') return summary;
  if (row === undefined) return { ...summary, state: 'failed', error: notInLedger(outcome.taskId) };
  return { ...summary, ...(row.rows === undefined ? {} : { rows: row.rows }) };
}

function summaryOf({ result: _result, ...summary }: TaskOutcome): TaskSummary {
  return summary;
}

function unrecorded(error: unknown): EtlError {
  return new EtlError('ETL-4002', {
    what: `the end of the run could not be recorded: ${asError(error).message}`,
    fix: 'resume it: what is done is not done again',
    data: 'each task is either committed with its row in etl.task, or wrote nothing',
    cause: error,
  });
}

function notInLedger(taskId: string): EtlError {
  return new EtlError('ETL-4003', {
    what: `"${taskId}" was committed, and its row is gone from the ledger`,
    why: 'something else has deleted it, or the server has lost it',
    data: 'look at the data before you run it again',
  });
}
