import { EtlError, toError } from '../../errors.js';
import type { RunDatabases } from '../database/run-databases.js';
import type { TaskSummary } from '../report/event.js';
import { type AttemptRow, insertAttempts } from '../ledger/attempt-row.js';
import { closeRun } from '../ledger/run-row.js';
import { type DoneTask, readDone } from '../ledger/task-row.js';
import type { RunPlan } from '../dag/plan.js';
import type { TaskOutcome } from '../attempt/task-runner.js';
import { within } from '../waiting.js';

/** The facts that the end of a run needs. */
export interface FinishRequest {
  readonly plan: RunPlan;
  readonly outcomes: readonly TaskOutcome[];
  /** The attempts that did not succeed. */
  readonly attempts: readonly AttemptRow[];
  /** The errors of the run itself. `finishRun` adds the errors of the end. */
  readonly errors: EtlError[];
  readonly databases: RunDatabases;
  /** False if this process ran one task of the run, and other processes run the other tasks. */
  readonly isWhole: boolean;
  /** The limit for all answers of the databases, in milliseconds. */
  readonly limitMs: number;
}

/** The end of a run, as the ledger records it. */
export interface FinishedRun {
  readonly state: 'success' | 'failed';
  readonly tasks: readonly TaskSummary[];
}

/**
 * The done tasks of the run in each database: connection ID, then task ID. A database that can't be read is missing.
 */
type LedgerRows = ReadonlyMap<string, ReadonlyMap<string, DoneTask>>;

/**
 * Records the end of a run. The returned states come from the ledger, not from the memory of this process. Never
 * throws: if the end can't be recorded, the run has failed.
 */
export async function finishRun(request: FinishRequest): Promise<FinishedRun> {
  const { plan, outcomes, errors, limitMs } = request;
  if (plan.home === undefined) return createFinishedRun(outcomes.map(summarize), errors);
  let finished: FinishedRun | undefined;
  const recording = recordEnd(request).then(
    (result) => (finished = result),
    (error: unknown) => errors.push(createUnrecordedError(error)),
  );
  if (!(await within(recording, limitMs)))
    errors.push(createUnrecordedError(new Error('the database does not answer')));
  return finished ?? createFinishedRun(outcomes.map(summarize), errors);
}

/**
 * Compares the outcomes with the ledger, and records the end of the run and its failed attempts in the home database.
 * Returns the end of the run. Never throws: adds an error to `errors` if the end can't be recorded or if a newer
 * process has taken over the run, and the run has then failed.
 *
 * A process that ran one task of the run (`isWhole` is false) leaves the run open as long as other tasks are not done.
 */
async function recordEnd(request: FinishRequest): Promise<FinishedRun> {
  const { plan, outcomes, errors, databases } = request;
  const ledger = await readLedger(request);
  const conns = new Map(plan.tasks.map(({ id, conn }) => [id, conn]));
  const tasks = outcomes.map((outcome) => {
    return confirmOutcome(outcome, ledger.get(conns.get(outcome.taskId) ?? plan.home ?? ''));
  });
  // Recorded apart from the end: the end must be recorded also if an attempt can't be.
  if (request.attempts.length > 0)
    await record(errors, () =>
      databases.withHome((home) => insertAttempts(home, plan.runId, request.attempts)),
    );
  const finished = createFinishedRun(tasks, errors);
  const isLeftOpen = !request.isWhole && finished.state === 'success' && !isAllDone(plan, ledger);
  if (isLeftOpen) return finished;
  const run = { runId: plan.runId, dagId: plan.dag.id, holder: databases.holder };
  await record(errors, () => databases.withHome((home) => closeRun(home, run, finished.state)));
  // If the end could not be recorded, `errors` has one more error, and the run has failed.
  return createFinishedRun(tasks, errors);
}

/** Runs `write`, which records something about the end of the run. Adds an error to `errors` if it fails. Never throws. */
async function record(errors: EtlError[], write: () => Promise<unknown>): Promise<void> {
  try {
    await write();
  } catch (error) {
    const reported = error instanceof EtlError ? error : createUnrecordedError(error);
    // A lost connection fails each write, and one error of them is enough.
    const isKnown = errors.some(
      ({ code, message }) => code === reported.code && message === reported.message,
    );
    if (!isKnown) errors.push(reported);
  }
}

/** Reads the done tasks of the run from each database that was opened. Adds an error for each that can't be read. */
async function readLedger({ plan, errors, databases }: FinishRequest): Promise<LedgerRows> {
  const ledger = new Map<string, ReadonlyMap<string, DoneTask>>();
  for (const id of databases.opened) {
    try {
      const database = await databases.get(id);
      ledger.set(id, await database.with((each) => readDone(each, plan.runId)));
    } catch (error) {
      errors.push(createUnrecordedError(error));
    }
  }
  return ledger;
}

/** Returns true if each task of the plan has a done row in the ledger of its connection. */
function isAllDone(plan: RunPlan, ledger: LedgerRows): boolean {
  return plan.tasks.every(({ id, conn }) => ledger.get(conn ?? plan.home ?? '')?.has(id));
}

/** Returns the end of a run: failed if a task failed, if a task could not run for this reason, or if there are errors. */
function createFinishedRun(tasks: readonly TaskSummary[], errors: readonly EtlError[]): FinishedRun {
  const failed = tasks.some(({ state }) => state === 'failed' || state === 'upstream_failed');
  return { state: failed || errors.length > 0 ? 'failed' : 'success', tasks };
}

/**
 * Returns the summary of a task, corrected by the ledger. `rows` are the done tasks of the task's database, by task ID;
 * undefined if the database can't be read.
 *
 * - The ledger can't be read: the outcome stays.
 * - The COMMIT of the task got no answer, and the ledger has its row with the same fingerprint: a success.
 * - The task succeeded, but the ledger has no row: a failure (ETL-4003).
 * - The task succeeded, and the ledger has its row: a success with the rows that the ledger has.
 * - The task did not succeed: the outcome stays.
 */
function confirmOutcome(outcome: TaskOutcome, rows: ReadonlyMap<string, DoneTask> | undefined): TaskSummary {
  const summary = summarize(outcome);
  // The run has already failed, because the ledger can't be read.
  if (rows === undefined) return summary;
  const row = rows.get(outcome.taskId);
  if (outcome.undecided !== undefined && row?.fingerprint === outcome.undecided) {
    const { error: _error, ...rest } = summary;
    return { ...rest, state: 'success', ...getRows(row) };
  }
  if (outcome.state !== 'success') return summary;
  if (row !== undefined) return { ...summary, ...getRows(row) };
  const error = new EtlError('ETL-4003', {
    what: `"${outcome.taskId}" was committed, but the ledger has no row of it`,
    why: 'another program deleted the row, or the server lost it',
    data: 'check the data before you run the task again',
  });
  return { ...summary, state: 'failed', error };
}

/** Returns the number of rows that a done task wrote, as a field. No field for a task without a connection. */
function getRows({ rows }: DoneTask): { readonly rows?: number } {
  return rows === undefined ? {} : { rows };
}

/** Returns the part of an outcome that events and results show. Adds the number of rejected rows of a load, if any. */
export function summarize({ result, undecided: _undecided, ...summary }: TaskOutcome): TaskSummary {
  const { rejected } = (result ?? {}) as { rejected?: unknown };
  return typeof rejected === 'number' && rejected > 0 ? { ...summary, rejected } : summary;
}

function createUnrecordedError(error: unknown): EtlError {
  return new EtlError('ETL-4002', {
    what: `the end of the run could not be recorded: ${toError(error).message}`,
    fix: 'resume the run: tasks that are done are not repeated',
    data: 'each task is either committed with its row in the ledger, or wrote nothing',
    cause: error,
  });
}
