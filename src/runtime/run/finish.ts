import { EtlError, toError } from '../../errors.js';
import type { RunDatabases } from '../database/run-databases.js';
import type { TaskSummary } from '../report/event.js';
import { type AttemptRow, insertAttempts } from '../ledger/attempt-row.js';
import { closeRun } from '../ledger/run-row.js';
import { type DoneTask, readDone, createTakenOverError } from '../ledger/task-row.js';
import type { RunPlan } from '../dag/plan.js';
import type { TaskOutcome } from '../attempt/task-runner.js';
import { within } from '../waiting.js';

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
  /** How long the databases have to answer. */
  readonly limitMs: number;
}

/** How the run ended, as the ledger has it. */
export interface Finished {
  readonly state: 'success' | 'failed';
  readonly tasks: readonly TaskSummary[];
}

/** What each database holds of the run, by connection ID; one that can't be asked is not there. */
type Ledger = ReadonlyMap<string, ReadonlyMap<string, DoneTask>>;

/**
 * Records the end of a run, and says what the ledger holds, not what this process remembers. Never throws: a run whose
 * end can't be recorded has failed.
 */
export async function finishRun(request: FinishRequest): Promise<Finished> {
  const { plan, outcomes, errors, limitMs } = request;
  if (plan.home === undefined) return createFinished(outcomes.map(summarize), errors);
  let finished: Finished | undefined;
  const recording = record(request).then((result) => (finished = result));
  if (!(await within(recording, limitMs)))
    errors.push(createUnrecordedError(new Error('the database does not answer')));
  return finished ?? createFinished(outcomes.map(summarize), errors);
}

async function record(request: FinishRequest): Promise<Finished | undefined> {
  const { plan, outcomes, errors, databases } = request;
  const ledger = await readLedger(request);
  const conns = new Map(plan.tasks.map(({ id, conn }) => [id, conn]));
  const tasks = outcomes.map((outcome) => {
    return confirmOutcome(outcome, ledger.get(conns.get(outcome.taskId) ?? plan.home ?? ''));
  });
  const finished = createFinished(tasks, errors);
  try {
    const isClosed = await databases.withHome(async (client) => {
      if (request.attempts.length > 0) await insertAttempts(client, plan.runId, request.attempts);
      if (!request.isWhole && finished.state === 'success' && !isAllDone(plan, ledger)) return true;
      const run = { runId: plan.runId, dagId: plan.dag.id, holder: databases.holder };
      return closeRun(client, run, finished.state);
    });
    if (!isClosed)
      errors.push(createTakenOverError(plan.dag.id, { data: 'tasks that had ended are committed' }));
    return isClosed ? finished : createFinished(tasks, errors);
  } catch (error) {
    errors.push(createUnrecordedError(error));
    return createFinished(tasks, errors);
  }
}

async function readLedger({ plan, errors, databases }: FinishRequest): Promise<Ledger> {
  const ledger = new Map<string, ReadonlyMap<string, DoneTask>>();
  for (const id of databases.opened) {
    try {
      const database = await databases.get(id);
      ledger.set(id, await database.with((client) => readDone(client, plan.runId)));
    } catch (error) {
      errors.push(createUnrecordedError(error));
    }
  }
  return ledger;
}

function isAllDone(plan: RunPlan, ledger: Ledger): boolean {
  return plan.tasks.every(({ id, conn }) => ledger.get(conn ?? plan.home ?? '')?.has(id));
}

function createFinished(tasks: readonly TaskSummary[], errors: readonly EtlError[]): Finished {
  const failed = tasks.some(({ state }) => state === 'failed' || state === 'upstream_failed');
  return { state: failed || errors.length > 0 ? 'failed' : 'success', tasks };
}

/** `rows` are those of the database that the task writes to, by ID; undefined where it can't be asked. */
function confirmOutcome(outcome: TaskOutcome, rows: ReadonlyMap<string, DoneTask> | undefined): TaskSummary {
  const summary = summarize(outcome);
  // What can't be asked is not contradicted; the run has failed for it already.
  if (rows === undefined) return summary;
  const row = rows.get(outcome.taskId);
  if (outcome.undecided !== undefined && row?.fingerprint === outcome.undecided) {
    const { error: _error, ...rest } = summary;
    return { ...rest, state: 'success', ...countRows(row) };
  }
  if (outcome.state !== 'success') return summary;
  if (row === undefined)
    return { ...summary, state: 'failed', error: createNotInLedgerError(outcome.taskId) };
  return { ...summary, ...countRows(row) };
}

function countRows({ rows }: DoneTask): { readonly rows?: number } {
  return rows === undefined ? {} : { rows };
}

/** What an outcome says to the outside. */
export function summarize({ result, undecided: _undecided, ...summary }: TaskOutcome): TaskSummary {
  const { rejected } = (result ?? {}) as { rejected?: unknown };
  return typeof rejected === 'number' && rejected > 0 ? { ...summary, rejected } : summary;
}

function createUnrecordedError(error: unknown): EtlError {
  return new EtlError('ETL-4002', {
    what: `the end of the run could not be recorded: ${toError(error).message}`,
    fix: 'resume it: what is done is not done again',
    data: 'each task is either committed with its row in etl.task, or wrote nothing',
    cause: error,
  });
}

function createNotInLedgerError(taskId: string): EtlError {
  return new EtlError('ETL-4003', {
    what: `"${taskId}" was committed, and its row is gone from the ledger`,
    why: 'something else has deleted it, or the server has lost it',
    data: 'look at the data before you run it again',
  });
}
