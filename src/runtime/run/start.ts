import { EtlError } from '../../errors.js';
import { createUnknownTaskError } from '../dag/dag-errors.js';
import type { RunDatabases } from '../database/run-databases.js';
import type { DataInterval } from '../interval/interval.js';
import { assertRefreshable } from './full-refresh.js';
import type { Overlap } from '../ledger/lock.js';
import {
  findLastRun,
  findRun,
  insertRun,
  reopenRun,
  type RunHeader,
  type RunRow,
} from '../ledger/run-row.js';
import { readDone, type DoneTask } from '../ledger/task-row.js';
import { findConnections, type PlannedDag, type PlannedTask, type RunPlan } from '../dag/plan.js';
import { formatCommand, formatResumeCommand } from '../report/command-line.js';
import { assertUnchanged, computeFingerprints, planResume, type ResumePlan } from './resume.js';

/** A new run, or an older one that goes on. */
export type RunStart =
  | {
      readonly kind: 'new';
      readonly runId: string;
      readonly interval: DataInterval | undefined;
      readonly params: unknown;
      /** The tasks that begin anew; `*` stands for all. Absent: none. */
      readonly fullRefresh?: readonly string[];
    }
  | {
      readonly kind: 'resume';
      /** Undefined: the last run of the Dag, of `interval` where that is given. */
      readonly runId: string | undefined;
      readonly interval: DataInterval | undefined;
      /** Refuse a Dag that was changed. */
      readonly strict: boolean;
    }
  | {
      /** One task of a run that other processes do the rest of. */
      readonly kind: 'task';
      readonly taskId: string;
      /** The first process of the run makes it, with this interval and these params; the others take them from it. */
      readonly runId: string;
      readonly interval: DataInterval | undefined;
      readonly params: unknown;
      /** The tasks that begin anew; `*` stands for all. Absent: none. */
      readonly fullRefresh?: readonly string[];
    };

/** What is to be run, before any database is asked. */
export interface RunRequest extends PlannedDag {
  readonly start: RunStart;
  readonly overlap: Overlap;
}

/** A request of a Dag that has a home connection. */
type RecordedRequest = RunRequest & { readonly home: string };

/** A run whose lock is taken and whose row is there. */
export interface StartedRun {
  readonly plan: RunPlan;
  /** What was done before; empty in a new run. */
  readonly done: ReadonlyMap<string, DoneTask>;
  readonly resume: { readonly plan: ResumePlan; readonly of: RunRow } | undefined;
  /** The fingerprints of the tasks by index, as far as they were needed. */
  readonly prints: readonly string[];
  /** The only task to be run, where other processes do the rest. */
  readonly only: PlannedTask | undefined;
}

export interface StartServices {
  readonly databases: RunDatabases;
  readonly process: { readonly pid: number; readonly host: string; readonly version: string };
}

/**
 * Takes the lock of the Dag and opens its run, or the run that is to be resumed. Throws `EtlError` when another run has
 * the lock, when a new run's ID is taken, when a full refresh would lose rows, when there is nothing to resume, or when a
 * strict resume finds changes.
 */
export async function startRun(request: RunRequest, services: StartServices): Promise<StartedRun> {
  const { home, start } = request;
  if (home === undefined) return startWithoutLedger(request);
  if (start.kind !== 'resume') assertRefreshable(request.tasks, start.fullRefresh ?? []);
  const opened = { ...request, home };
  await services.databases.openHome(home, start.kind === 'task' ? { mode: 'share' } : request.overlap);
  switch (start.kind) {
    case 'new':
      return startNew(opened, start, services);
    case 'resume':
      return resume(opened, start, services);
    case 'task':
      return startTask(opened, start, services);
    default:
      return start satisfies never;
  }
}

function startWithoutLedger({ dag, tasks, start }: RunRequest): StartedRun {
  if (start.kind === 'new') {
    const { kind: _kind, fullRefresh = [], ...described } = start;
    const plan = { ...described, fullRefresh, dag, tasks, home: undefined };
    return { plan, done: new Map(), resume: undefined, prints: [], only: undefined };
  }
  throw new EtlError('ETL-2007', {
    what: `"${dag.id}" has no connection, so nothing of its runs was recorded`,
    fix: 'run it again without --resume, or give it a `conn` in its `defaults`',
    data: 'nothing was started',
  });
}

async function startNew(
  { dag, tasks, home }: RecordedRequest,
  { runId, interval, params, fullRefresh = [] }: RunStart & { kind: 'new' },
  { databases, process }: StartServices,
): Promise<StartedRun> {
  const described = { runId, interval, params, fullRefresh };
  const run = { ...described, dagId: dag.id, taskCount: tasks.length };
  const header = { ...process, ...run, isByTask: false };
  if (!(await databases.beginRun(header, findConnections({ tasks, home }).recording)))
    throw createRunIdTakenError(runId, dag.id);
  return {
    plan: { ...described, dag, tasks, home },
    done: new Map(),
    resume: undefined,
    prints: [],
    only: undefined,
  };
}

async function resume(
  { dag, tasks, home }: RecordedRequest,
  start: RunStart & { kind: 'resume' },
  { databases, process }: StartServices,
): Promise<StartedRun> {
  const row = await databases.withHome((client) =>
    start.runId === undefined ? findLastRun(client, dag.id, start.interval) : findRun(client, start.runId),
  );
  if (row === undefined || row.dagId !== dag.id) throw createNothingToResumeError(dag.id, start, row);
  const { runId, interval, params, fullRefresh } = row;
  const described = { runId, interval, params, fullRefresh };
  await databases.takeEpochs(runId, findConnections({ tasks, home }).recording);
  const done = await readAllDone(databases, { tasks, home, runId });
  const prints = await computeFingerprints(tasks);
  const resumePlan = planResume(tasks, prints, done);
  if (start.strict) assertUnchanged(resumePlan, tasks, done);
  const run = { ...described, dagId: dag.id, taskCount: tasks.length };
  const header: RunHeader = { ...process, ...run, isByTask: false };
  await databases.withHome((client) => reopenRun(client, header));
  return {
    plan: { ...described, dag, tasks, home },
    done,
    resume: { plan: resumePlan, of: row },
    prints,
    only: undefined,
  };
}

/** One task of a run whose other tasks are the business of other processes. */
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
  const row = await databases.withHome(async (client) => {
    await insertRun(client, header);
    return findRun(client, runId);
  });
  if (row === undefined || row.dagId !== dag.id) throw createRunIdTakenError(runId, row?.dagId ?? dag.id);
  await databases.takeEpochs(runId, findConnections({ tasks, home }).recording);
  const done = await readAllDone(databases, { tasks, home, runId });
  const prints = await computeFingerprints(tasks);
  for (const index of only.upstream) {
    const parent = tasks[index];
    if (parent && done.get(parent.id)?.fingerprint !== prints[index])
      throw createParentNotDoneError(taskId, parent.id, runId);
  }
  const { interval, params, fullRefresh } = row;
  const plan = { runId, dag, tasks, home, interval, params, fullRefresh };
  return { plan, done, resume: undefined, prints, only };
}

/** What is done of a run. A task counts as done where it writes to; another database may hold a row of its past. */
async function readAllDone(
  databases: RunDatabases,
  { tasks, home, runId }: { tasks: readonly PlannedTask[]; home: string; runId: string },
): Promise<ReadonlyMap<string, DoneTask>> {
  const connectionIds = findConnections({ tasks, home }).recording;
  const rows = await databases.readEach(connectionIds, (client) => readDone(client, runId));
  const done = new Map<string, DoneTask>();
  for (const each of rows.values()) for (const [id, row] of each) done.set(id, row);
  for (const { id, conn } of tasks) {
    const row = rows.get(conn ?? home)?.get(id);
    if (row === undefined) done.delete(id);
    else done.set(id, row);
  }
  return done;
}

function createRunIdTakenError(runId: string, dagId: string): EtlError {
  return new EtlError('ETL-2008', {
    what: `there is a run "${runId}" already`,
    fix: `go on with it: ${formatResumeCommand(dagId, runId)}; or choose another --run-id`,
    data: 'nothing was started',
  });
}

function createNothingToResumeError(
  dagId: string,
  { runId, interval }: RunStart & { kind: 'resume' },
  found: RunRow | undefined,
): EtlError {
  const of =
    interval === undefined ? '' : ` for [${interval.start.toISOString()}, ${interval.end.toISOString()})`;
  const which = runId === undefined ? `no run of "${dagId}"${of}` : `no run "${runId}" of "${dagId}"`;
  return new EtlError('ETL-2009', {
    what: `there is ${which} to resume`,
    why: found === undefined ? undefined : `"${found.runId}" is a run of "${found.dagId}"`,
    fix: formatCommand('run', dagId),
    data: 'nothing was started',
  });
}

function createParentNotDoneError(taskId: string, parentId: string, runId: string): EtlError {
  return new EtlError('ETL-2011', {
    what: `"${taskId}" needs "${parentId}", which is not done in run "${runId}", or was changed since`,
    fix: 'run that task first',
    data: 'nothing was started',
  });
}
