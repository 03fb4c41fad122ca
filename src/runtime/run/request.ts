import { randomBytes } from 'node:crypto';
import { EtlError } from '../../errors.js';
import type { Dag } from '../dag/dag.js';
import { createUnknownTaskError } from '../dag/dag-errors.js';
import { resolveParams } from '../dag/params.js';
import { planDag } from '../dag/plan.js';
import { parseDuration } from '../duration.js';
import { findIntervalContaining, findLastCompleteInterval } from '../interval/interval.js';
import type { Overlap } from '../ledger/lock.js';
import { formatHelpAdvice } from '../report/command-line.js';
import type { TaskDefaults } from '../tasks/task.js';
import type { RunRequest, RunStart } from './start.js';

/** The selection of a run: a new run, an older run to resume, or one task of a run. */
export interface RunSelection {
  /** The params of a new run by name. The schema of the Dag validates them. */
  readonly params?: Readonly<Record<string, unknown>> | undefined;
  /**
   * Runs the data interval that contains this date: a day such as `2026-03-05`, or a time. With `resume`, resumes the
   * last run for this interval. Default: the last complete interval.
   */
  readonly date?: string | Date | undefined;
  /** Resumes the last run of the Dag, or the run of `date` or `runId`. Tasks that have succeeded are not run again. */
  readonly resume?: boolean | undefined;
  /** With `resume`: refuses to resume (ETL-2006) if the Dag has changed since the run. */
  readonly strict?: boolean | undefined;
  /**
   * With `runId`: resumes the run if it exists already, and starts it otherwise. So a scheduler can repeat its command.
   * A resumed run keeps its params, its interval and its full refresh.
   */
  readonly orResume?: boolean | undefined;
  /** The ID of the new run, or of the run to resume. Default: a new ID that sorts by time. */
  readonly runId?: string | undefined;
  /** Runs only this task of the run `runId`. All of its upstream tasks must have succeeded. */
  readonly task?: string | undefined;
  /** True: all tasks ignore their watermarks. An array has the IDs of the tasks that do. */
  readonly fullRefresh?: boolean | readonly string[] | undefined;
  /** The time that decides which data intervals are complete. Default: the current time. */
  readonly now?: Date | undefined;
  /**
   * `fail` refuses to start while another run of the Dag is running (ETL-7501). `wait` waits for its end for a minute,
   * `wait:10m` for ten minutes. Default: `fail`.
   */
  readonly overlap?: 'fail' | 'wait' | `wait:${string}` | undefined;
}

/** Returns the name of an option for messages, such as `--run-id` for `runId`. */
export type NameOption = (option: keyof RunSelection) => string;

/** The run IDs that `runId` accepts. */
const RUN_ID = /^[A-Za-z0-9][A-Za-z0-9_.:+-]{0,199}$/;
/** The wait for the lock if `overlap: 'wait'` has no limit, in milliseconds. */
const DEFAULT_WAIT_MS = 60_000;

/**
 * Creates the request of a run. `name` names an option in messages. Throws an `EtlError` with exit code 2 if the options
 * contradict each other, or if a param, the date or an ID is wrong.
 */
export async function createRequest(
  dag: Dag,
  defaults: TaskDefaults,
  selection: RunSelection,
  name: NameOption,
): Promise<RunRequest> {
  const planned = planDag(dag, defaults);
  const start =
    selection.resume === true
      ? createResumeStart(dag, selection, name)
      : await createRunStart(dag, selection, name);
  return { ...planned, start, overlap: parseOverlap(selection.overlap ?? 'fail', name) };
}

/** Options that do not go with `resume`, and the reason. */
const NOT_WITH_RESUME = {
  task: 'it always continues a run',
  orResume: 'it resumes a run only if there is one',
  params: 'a run keeps its params',
  fullRefresh: 'a run keeps its full refresh',
} as const;

/**
 * Creates the start of a resumed run: of the run that `runId` names, of the last run for the interval that contains
 * `date`, or else of the last run of the Dag. Throws ETL-2001 for options that contradict each other.
 */
function createResumeStart(dag: Dag, selection: RunSelection, name: NameOption): RunStart {
  const { date, strict = false, runId, now = new Date() } = selection;
  for (const [option, why] of Object.entries(NOT_WITH_RESUME)) {
    const key = option as keyof typeof NOT_WITH_RESUME;
    if (selection[key] !== undefined && selection[key] !== false)
      throw createUsageError(`${name(key)} does not go with ${name('resume')}: ${why}`);
  }
  if (runId !== undefined && date !== undefined)
    throw createUsageError(`${name('date')} does not go with ${name('runId')}: a run keeps its interval`);
  const interval =
    date === undefined ? undefined : findIntervalContaining(dag.schedule, formatDate(date), now);
  return {
    kind: 'resume',
    runId: runId === undefined ? undefined : checkRunId(runId, name),
    interval,
    strict,
  };
}

/**
 * Creates the start of a new run or, with `task`, of one task of a run. Throws ETL-2001 for options that contradict
 * each other, and an `EtlError` if the params or the date are wrong.
 */
async function createRunStart(dag: Dag, selection: RunSelection, name: NameOption): Promise<RunStart> {
  const { date, strict = false, orResume = false, params = {}, task, runId, now = new Date() } = selection;
  if (strict) throw createUsageError(`${name('strict')} needs ${name('resume')}`);
  if (orResume && (runId === undefined || task !== undefined))
    throw createUsageError(
      `${name('orResume')} needs ${name('runId')}, and does not go with ${name('task')}`,
    );
  if (task !== undefined && runId === undefined)
    throw createUsageError(`${name('task')} needs ${name('runId')}, the run of the task`);
  const id = runId === undefined ? createRunId(new Date()) : checkRunId(runId, name);
  const interval =
    date === undefined
      ? findLastCompleteInterval(dag.schedule, now)
      : findIntervalContaining(dag.schedule, formatDate(date), now);
  const resolved = await resolveParams(dag.options.params, params);
  const options = {
    runId: id,
    interval,
    params: resolved,
    fullRefresh: listFullRefreshTasks(dag, selection),
  };
  return task === undefined
    ? { kind: 'new', ...options, orResume }
    : { kind: 'task', taskId: task, ...options };
}

function formatDate(date: string | Date): string {
  return typeof date === 'string' ? date : date.toISOString();
}

/**
 * Returns the IDs of the tasks that ignore their watermarks; `*` stands for all tasks. Throws an `EtlError` if the Dag
 * has no such task.
 */
function listFullRefreshTasks(dag: Dag, { fullRefresh = [] }: RunSelection): readonly string[] {
  if (typeof fullRefresh === 'boolean') return fullRefresh ? ['*'] : [];
  const ids = dag.tasks.map(({ id }) => id);
  for (const id of fullRefresh)
    if (!ids.includes(id))
      throw createUnknownTaskError({ dagId: dag.id, taskId: id }, ids, 'nothing was started');
  return fullRefresh;
}

/**
 * Parses `overlap`. Example: `wait:90s` -> `{ mode: 'wait', waitMs: 90_000 }`. Throws ETL-2001 for any other text.
 */
function parseOverlap(text: string, name: NameOption): Overlap {
  const [mode, limit, ...rest] = text.split(':');
  if (rest.length === 0 && mode === 'wait') {
    return {
      mode,
      waitMs: limit === undefined ? DEFAULT_WAIT_MS : parseDuration(limit, `${name('overlap')} wait`),
    };
  }
  if (limit === undefined && mode === 'fail') return { mode };
  throw createUsageError(
    `${name('overlap')} must be fail, skip, wait, or wait with a limit, such as wait:90s`,
  );
}

/** Returns the ID of a run if it is valid. Throws ETL-2001 if it is not. */
function checkRunId(id: string, name: NameOption): string {
  if (RUN_ID.test(id)) return id;
  throw createUsageError(
    `${name('runId')} must have at most 200 letters, digits and characters of _ . : + -, and begin with a letter or digit`,
  );
}

/** Creates a unique run ID that sorts by time, such as `20261122T020000Z-9f3a6c1e`. */
function createRunId(now: Date): string {
  const time = now.toISOString().replace(/[-:]|\.\d+/g, '');
  return `${time}-${randomBytes(4).toString('hex')}`;
}

function createUsageError(what: string): EtlError {
  return new EtlError('ETL-2001', { what, fix: formatHelpAdvice(), data: 'nothing was started' });
}
