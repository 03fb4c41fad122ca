import { EtlError } from '../errors.js';
import type { Dag } from './dag.js';
import type { RunDatabases } from './databases.js';
import type { DataInterval } from './interval.js';
import type { Overlap } from './ledger/lock.js';
import { findLastRun, findRun, insertRun, reopenRun, type RunHeader, type RunRow } from './ledger/run-row.js';
import { readDone, type DoneTask } from './ledger/task-row.js';
import type { PlannedTask, RunPlan } from './plan.js';
import { assertUnchanged, fingerprintsOf, planResume, type ResumePlan } from './resume.js';

/** A new run, or an older one that goes on. */
export type RunStart =
  | {
      readonly kind: 'new';
      readonly runId: string;
      readonly interval: DataInterval | undefined;
      readonly params: unknown;
    }
  | {
      readonly kind: 'resume';
      /** Undefined: the last run of the Dag, of `interval` where that is given. */
      readonly runId: string | undefined;
      readonly interval: DataInterval | undefined;
      /** Refuse a Dag that was changed. */
      readonly strict: boolean;
    };

/** What is to be run, before any database is asked. */
export interface RunRequest {
  readonly dag: Dag;
  readonly tasks: readonly PlannedTask[];
  readonly home: string | undefined;
  readonly start: RunStart;
  readonly overlap: Overlap;
}

/** A run whose lock is taken and whose row is there. */
export interface StartedRun {
  readonly plan: RunPlan;
  /** What was done before; empty in a new run. */
  readonly done: ReadonlyMap<string, DoneTask>;
  readonly resume: { readonly plan: ResumePlan; readonly of: RunRow } | undefined;
}

export interface StartServices {
  readonly databases: RunDatabases;
  readonly root: string;
  readonly process: { readonly pid: number; readonly host: string; readonly version: string };
}

/**
 * Takes the lock of the Dag and opens its run, or the run that is to be resumed. Throws `EtlError` when another run has
 * the lock, when a new run's ID is taken, when there is nothing to resume, or when a strict resume finds changes.
 */
export async function startRun(request: RunRequest, services: StartServices): Promise<StartedRun> {
  const { home, start } = request;
  if (home === undefined) return withoutLedger(request);
  await services.databases.openHome(home, request.overlap);
  return start.kind === 'new' ? startNew(request, start, services) : resume(request, start, services);
}

function withoutLedger({ dag, tasks, start }: RunRequest): StartedRun {
  if (start.kind === 'new') {
    const { runId, interval, params } = start;
    const plan = { runId, dag, tasks, home: undefined, interval, params };
    return { plan, done: new Map(), resume: undefined };
  }
  throw new EtlError('ETL-2007', {
    what: `"${dag.id}" has no connection, so nothing of its runs was recorded`,
    fix: 'run it again without --resume, or give it a `conn` in its `defaults`',
    data: 'nothing was started',
  });
}

async function startNew(
  { dag, tasks, home }: RunRequest,
  { runId, interval, params }: RunStart & { kind: 'new' },
  { databases, process }: StartServices,
): Promise<StartedRun> {
  const header = { ...process, runId, dagId: dag.id, interval, params, taskCount: tasks.length };
  const isNew = await databases.withHome((client) => insertRun(client, header));
  if (!isNew) throw taken(runId, dag.id);
  await databases.takeEpochs(runId, connectionsOf(tasks));
  return { plan: { runId, dag, tasks, home, interval, params }, done: new Map(), resume: undefined };
}

async function resume(
  { dag, tasks, home }: RunRequest,
  start: RunStart & { kind: 'resume' },
  { databases, process, root }: StartServices,
): Promise<StartedRun> {
  const row = await databases.withHome((client) =>
    start.runId === undefined ? findLastRun(client, dag.id, start.interval) : findRun(client, start.runId),
  );
  if (row === undefined || row.dagId !== dag.id) throw nothingToResume(dag.id, start, row);
  const { runId, interval, params } = row;
  await databases.takeEpochs(runId, connectionsOf(tasks));
  const places = home === undefined ? connectionsOf(tasks) : connectionsOf(tasks).add(home);
  const done = await databases.readAll(places, (client) => readDone(client, runId));
  const resumePlan = planResume(tasks, await fingerprintsOf(tasks, root), done);
  if (start.strict) assertUnchanged(resumePlan, tasks, done);
  const header: RunHeader = { ...process, runId, dagId: dag.id, interval, params, taskCount: tasks.length };
  await databases.withHome((client) => reopenRun(client, header));
  return { plan: { runId, dag, tasks, home, interval, params }, done, resume: { plan: resumePlan, of: row } };
}

function connectionsOf(tasks: readonly PlannedTask[]): Set<string> {
  return new Set(tasks.map(({ conn }) => conn).filter((conn) => conn !== undefined));
}

function taken(runId: string, dagId: string): EtlError {
  return new EtlError('ETL-2008', {
    what: `there is a run "${runId}" already`,
    fix: `go on with it: etl run ${dagId} --resume --run-id ${runId}; or choose another --run-id`,
    data: 'nothing was started',
  });
}

function nothingToResume(
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
    fix: `etl run ${dagId}`,
    data: 'nothing was started',
  });
}
