import { EtlError } from '../../errors.js';
import { createUnknownTaskError } from '../dag/dag-errors.js';
import type { RunDatabases } from '../database/run-databases.js';
import type { DataInterval } from '../interval/interval.js';
import { DEFAULT_ZONE, formatInterval } from '../interval/zone-time.js';
import { assertRefreshable } from './full-refresh.js';
import type { Overlap } from '../ledger/lock.js';
import { findLastRun, findRun, insertRun, reopenRun, type RunRow } from '../ledger/run-row.js';
import { readDone, type DoneTask } from '../ledger/task-row.js';
import { findConnections, type PlannedDag, type PlannedTask, type RunPlan } from '../dag/plan.js';
import { formatResumeCommand, formatRunCommand } from '../report/command-line.js';
import { describeTasks, hasSameHash } from '../dag/fingerprint.js';
import { assertUnchanged, computeFingerprints, planResume, type ResumePlan } from './resume.js';

/** The facts about a run that the first process of the run records. */
interface RecordedFacts {
  readonly runId: string;
  readonly interval: DataInterval | undefined;
  readonly params: unknown;
  /** The IDs of the tasks that get a full refresh. `*` stands for all tasks. Default: none. */
  readonly fullRefresh?: readonly string[];
}

/** How a run starts: as a new run, as a resume of an older run, or as one task of a run. */
export type RunStart =
  | ({
      readonly kind: 'new';
      /** True: if a run with this ID is recorded already, it is resumed. */
      readonly orResume?: boolean;
    } & RecordedFacts)
  | {
      readonly kind: 'resume';
      /** Undefined: the last run of the Dag. If `interval` is given, the last run for this interval. */
      readonly runId: string | undefined;
      readonly interval: DataInterval | undefined;
      /** True: the resume is refused if the Dag was changed. */
      readonly strict: boolean;
    }
  /** One task of a run. Other processes run the other tasks. All but the first read the facts from the ledger. */
  | ({ readonly kind: 'task'; readonly taskId: string } & RecordedFacts);

/** The Dag to run and how to start the run. No database was read yet. */
export interface RunRequest extends PlannedDag {
  readonly start: RunStart;
  readonly overlap: Overlap;
}

/** A request for a Dag that has a home connection. */
type RecordedRequest = RunRequest & { readonly home: string };

/** A run that has the lock and is recorded in the ledger. */
export interface StartedRun {
  readonly plan: RunPlan;
  /** The tasks that are already done, by task ID. Empty for a new run. */
  readonly done: ReadonlyMap<string, DoneTask>;
  /** The plan of a resume, and the row of the resumed run. Undefined if the run is not resumed. */
  readonly resume: { readonly plan: ResumePlan; readonly of: RunRow } | undefined;
  /** The fingerprints of the tasks by index. Empty if they were not needed yet. */
  readonly fingerprints: readonly string[];
  /** The only task that this process runs. Undefined if this process runs all tasks. */
  readonly only: PlannedTask | undefined;
}

/** The databases and the process of a run that starts. */
export interface StartServices {
  readonly databases: RunDatabases;
  readonly process: { readonly pid: number; readonly host: string; readonly version: string };
}

/**
 * Takes the lock of the Dag, and records a new run or reopens an older run. Throws `EtlError` if another run has the
 * lock, if the ID of a new run is taken, if a full refresh would lose rows, if there is nothing to resume, or if a
 * strict resume finds changes. A Dag without a home connection starts without a lock and a ledger.
 */
export async function startRun(request: RunRequest, services: StartServices): Promise<StartedRun> {
  const { home, start } = request;
  if (home === undefined) return startWithoutLedger(request);
  if (start.kind !== 'resume') assertRefreshable(request.tasks, start.fullRefresh ?? []);
  const recordedRequest = { ...request, home };
  const opened = services.databases.openHome(
    home,
    start.kind === 'task' ? { mode: 'share' } : request.overlap,
  );
  // The code is read while the server answers.
  await Promise.all([opened, describeTasks(request.tasks)]);
  switch (start.kind) {
    case 'new':
      return startNew(recordedRequest, start, services);
    case 'resume':
      return resumeRun(recordedRequest, start, services);
    case 'task':
      return startTask(recordedRequest, start, services);
    default:
      return start satisfies never;
  }
}

/** Starts a run of a Dag without a home connection. Throws ETL-2007 if the run may not be new. */
function startWithoutLedger({ dag, tasks, start }: RunRequest): StartedRun {
  if (start.kind === 'new' && !start.orResume) {
    const { kind: _kind, orResume: _orResume, fullRefresh = [], ...described } = start;
    const plan = { ...described, fullRefresh, dag, tasks, home: undefined };
    return { plan, done: new Map(), resume: undefined, fingerprints: [], only: undefined };
  }
  const flag = { new: '--or-resume', resume: '--resume', task: '--task' }[start.kind];
  throw new EtlError('ETL-2007', {
    what: `"${dag.id}" has no connection, so its runs are not recorded`,
    fix: `run the whole Dag without ${flag}, or set \`conn\` in its \`defaults\``,
    data: 'nothing was started',
  });
}

/** Records a new run. If the ID of the run is taken, resumes the run with `orResume`, else throws ETL-2008. */
async function startNew(
  request: RecordedRequest,
  { runId, interval, params, fullRefresh = [], orResume = false }: RunStart & { kind: 'new' },
  services: StartServices,
): Promise<StartedRun> {
  const { dag, tasks, home } = request;
  const { databases, process } = services;
  const described = { runId, interval, params, fullRefresh };
  const header = { ...process, ...described, dagId: dag.id, taskCount: tasks.length, isByTask: false };
  if (!(await databases.beginRun(header, findConnections({ tasks, home }).recording))) {
    if (!orResume) throw createRunIdTakenError(runId, dag.id);
    return resumeRun(request, { kind: 'resume', runId, interval: undefined, strict: false }, services);
  }
  const plan = { ...described, dag, tasks, home };
  return { plan, done: new Map(), resume: undefined, fingerprints: [], only: undefined };
}

/**
 * Reopens a run with its params and its interval, and plans which tasks are left. Throws ETL-2009 if there is no such
 * run, and ETL-2006 if a strict resume finds changes.
 */
async function resumeRun(
  { dag, tasks, home }: RecordedRequest,
  start: RunStart & { kind: 'resume' },
  { databases, process }: StartServices,
): Promise<StartedRun> {
  const row = await databases.withHome((ledger) =>
    start.runId === undefined ? findLastRun(ledger, dag.id, start.interval) : findRun(ledger, start.runId),
  );
  if (row === undefined || row.dagId !== dag.id)
    throw createNothingToResumeError(
      dag.id,
      { ...start, timezone: dag.schedule?.timezone ?? DEFAULT_ZONE },
      row,
    );
  const { runId, interval, params, fullRefresh } = row;
  const described = { runId, interval, params, fullRefresh };
  await databases.takeEpochs(runId, findConnections({ tasks, home }).recording);
  const done = await readAllDone(databases, { tasks, home, runId });
  const fingerprints = await computeFingerprints(tasks);
  const resumePlan = planResume(tasks, fingerprints, done);
  if (start.strict) assertUnchanged(resumePlan, tasks, done);
  const header = { ...process, ...described, dagId: dag.id, taskCount: tasks.length, isByTask: false };
  await databases.withHome((ledger) => reopenRun(ledger, header, databases.holder));
  const plan = { ...described, dag, tasks, home };
  return { plan, done, resume: { plan: resumePlan, of: row }, fingerprints, only: undefined };
}

/**
 * Starts one task of a run. Other processes run the other tasks. The first process records the run with its interval
 * and params (`first`); each later process reads the recorded ones.
 *
 * Throws ETL-2004 if the Dag does not have the task, ETL-2008 if the run belongs to another Dag, and ETL-2011 if an
 * upstream task is not done or was changed since.
 */
async function startTask(
  { dag, tasks, home }: RecordedRequest,
  { runId, taskId, ...first }: RunStart & { kind: 'task' },
  { databases, process }: StartServices,
): Promise<StartedRun> {
  const only = tasks.find(({ id }) => id === taskId);
  if (only === undefined) {
    const ids = tasks.map(({ id }) => id);
    throw createUnknownTaskError({ dagId: dag.id, taskId }, ids, 'nothing was started');
  }
  const run = { fullRefresh: [], ...first, runId, dagId: dag.id, taskCount: tasks.length };
  const header = { ...process, ...run, isByTask: true };
  const row = await databases.withHome(async (ledger) => {
    // Inserts nothing if another process has recorded the run.
    await insertRun(ledger, header);
    return findRun(ledger, runId);
  });
  if (row === undefined || row.dagId !== dag.id) throw createRunIdTakenError(runId, row?.dagId ?? dag.id);
  await databases.takeEpochs(runId, findConnections({ tasks, home }).recording);
  const done = await readAllDone(databases, { tasks, home, runId });
  const fingerprints = await computeFingerprints(tasks);
  for (const index of only.upstream) {
    const parent = tasks[index];
    if (parent && !hasSameHash(done.get(parent.id)?.fingerprint, fingerprints[index]))
      throw new EtlError('ETL-2011', {
        what: `"${taskId}" needs "${parent.id}", which is not done in run "${runId}" or was changed since`,
        fix: `run "${parent.id}" first`,
        data: 'nothing was started',
      });
  }
  const { interval, params, fullRefresh } = row;
  const plan = { runId, dag, tasks, home, interval, params, fullRefresh };
  return { plan, done, resume: undefined, fingerprints, only };
}

/**
 * Reads the done tasks of a run, by task ID, from all databases that the Dag writes to.
 *
 * - A task of the Dag counts as done only if the database that it writes to now has the row. Another database can have
 *   an older row, from before the task's connection was changed.
 * - A task that was removed from the Dag counts as done in any database.
 */
async function readAllDone(
  databases: RunDatabases,
  { tasks, home, runId }: { tasks: readonly PlannedTask[]; home: string; runId: string },
): Promise<ReadonlyMap<string, DoneTask>> {
  const connectionIds = findConnections({ tasks, home }).recording;
  const rows = await databases.readEach(connectionIds, (ledger) => readDone(ledger, runId));
  const done = new Map<string, DoneTask>();
  for (const each of rows.values()) for (const [id, row] of each) done.set(id, row);
  // Corrects the tasks that the Dag still has.
  for (const { id, conn } of tasks) {
    const row = rows.get(conn ?? home)?.get(id);
    if (row === undefined) done.delete(id);
    else done.set(id, row);
  }
  return done;
}

/** Creates the error of a new run whose ID a recorded run has. */
function createRunIdTakenError(runId: string, dagId: string): EtlError {
  return new EtlError('ETL-2008', {
    what: `the run "${runId}" exists already`,
    fix: `resume the run: ${formatResumeCommand(dagId, runId)}; or choose another --run-id`,
    data: 'nothing was started',
  });
}

/**
 * Creates the error of a resume for which the Dag has no run: no run at all, none for the interval, or none with the
 * ID. `found` is the run with the ID if the run belongs to another Dag.
 */
function createNothingToResumeError(
  dagId: string,
  {
    runId,
    interval,
    timezone = DEFAULT_ZONE,
  }: RunStart & { kind: 'resume' } & { readonly timezone?: string },
  found: RunRow | undefined,
): EtlError {
  const of = interval === undefined ? '' : ` for ${formatInterval(interval, timezone)}`;
  const which = runId === undefined ? `no run of "${dagId}"${of}` : `no run "${runId}" of "${dagId}"`;
  return new EtlError('ETL-2009', {
    what: `there is ${which} to resume`,
    why: found === undefined ? undefined : `"${found.runId}" is a run of "${found.dagId}"`,
    fix: formatRunCommand(dagId),
    data: 'nothing was started',
  });
}
