import { randomBytes } from 'node:crypto';
import { EtlError } from '../../errors.js';
import { findHook } from '../../hooks/index.js';
import type { Program } from '../program/program.js';
import type { Dag } from '../../runtime/dag/dag.js';
import { parseDuration } from '../../runtime/duration.js';
import { findIntervalContaining, findLastCompleteInterval } from '../../runtime/interval/interval.js';
import type { Overlap } from '../../runtime/ledger/lock.js';
import { parseParamFlag, resolveParams } from '../../runtime/dag/params.js';
import { createUnknownDagError, createUnknownTaskError } from '../../runtime/dag/dag-errors.js';
import { findConnections, planDag } from '../../runtime/dag/plan.js';
import { formatCommand } from '../../runtime/report/command-line.js';
import type { RunRequest, RunStart } from '../../runtime/run/start.js';

/** The flags of `etl run` that decide what is run. */
export interface RequestFlags {
  readonly param?: readonly string[] | undefined;
  readonly date?: string | undefined;
  readonly resume: boolean;
  readonly strict: boolean;
  readonly 'run-id'?: string | undefined;
  readonly task?: string | undefined;
  readonly overlap: string;
  readonly 'full-refresh': boolean;
  readonly 'full-refresh-task'?: readonly string[] | undefined;
}

/** The run IDs that `--run-id` accepts. */
const RUN_ID = /^[A-Za-z0-9][A-Za-z0-9_.:+-]{0,199}$/;
/** The wait for the lock if `--overlap wait` has no limit, in milliseconds. */
const DEFAULT_WAIT_MS = 60_000;

/**
 * Creates the request of a run from the command line. Throws an `EtlError` with exit code 2 if the request is wrong.
 */
export async function createRequest(
  program: Program,
  dagId: string | undefined,
  flags: RequestFlags,
): Promise<RunRequest> {
  const { config } = program.loaded;
  if (dagId === undefined) throw createNoDagError(program);
  const dag = config.dags.find(({ id }) => id === dagId);
  const knownIds = config.dags.map(({ id }) => id);
  if (dag === undefined) throw createUnknownDagError(dagId, knownIds, 'nothing was started');
  const planned = planDag(dag, config.defaults);
  // Fails before the start of the run if a connection is not defined or no hook opens its scheme.
  for (const id of findConnections(planned).used) findHook(program.lookup.find(id));
  const start = flags.resume ? createResumeStart(dag, flags) : await createRunStart(dag, flags);
  return { ...planned, start, overlap: parseOverlap(flags.overlap) };
}

/**
 * Creates the start of a resumed run: of the run that `--run-id` names, of the last run for the interval that contains
 * `--date`, or else of the last run of the Dag. Throws ETL-2001 for flags that contradict each other: a resumed run
 * keeps its params and its full refresh, and a run that `--run-id` names keeps its interval.
 */
function createResumeStart(dag: Dag, flags: RequestFlags): RunStart {
  const { date, strict, param, task, 'run-id': runId } = flags;
  if (task !== undefined)
    throw createUsageError('--task does not go with --resume: --task always continues the run --run-id');
  if (param !== undefined)
    throw createUsageError('--param does not go with --resume: a run keeps its params');
  if (flags['full-refresh'] || flags['full-refresh-task'] !== undefined)
    throw createUsageError('--full-refresh does not go with --resume: a run keeps its full refresh');
  if (runId !== undefined && date !== undefined)
    throw createUsageError('--date does not go with --run-id: a run keeps its interval');
  const interval = date === undefined ? undefined : findIntervalContaining(dag.schedule, date, new Date());
  return { kind: 'resume', runId: runId === undefined ? undefined : checkRunId(runId), interval, strict };
}

/**
 * Creates the start of a new run or, with `--task`, of one task of a run. Throws ETL-2001 for flags that contradict
 * each other, and an `EtlError` if the params or the date are wrong.
 */
async function createRunStart(dag: Dag, flags: RequestFlags): Promise<RunStart> {
  const { date, strict, param, task, 'run-id': runId } = flags;
  if (strict) throw createUsageError('--strict needs --resume');
  if (task !== undefined && runId === undefined)
    throw createUsageError('--task needs --run-id, the run of the task');
  const now = new Date();
  const id = runId === undefined ? createRunId(now) : checkRunId(runId);
  const interval =
    date === undefined
      ? findLastCompleteInterval(dag.schedule, now)
      : findIntervalContaining(dag.schedule, date, now);
  const params = await resolveParams(dag.options.params, parseParams(param ?? []));
  const options = { runId: id, interval, params, fullRefresh: listFullRefreshTasks(dag, flags) };
  return task === undefined ? { kind: 'new', ...options } : { kind: 'task', taskId: task, ...options };
}

/**
 * Returns the IDs of the tasks that ignore their watermarks; `*` stands for all tasks. Throws an `EtlError` if the Dag
 * has no such task.
 */
function listFullRefreshTasks(dag: Dag, flags: RequestFlags): readonly string[] {
  if (flags['full-refresh']) return ['*'];
  const ids = dag.tasks.map(({ id }) => id);
  return (flags['full-refresh-task'] ?? []).map((id) => {
    if (ids.includes(id)) return id;
    throw createUnknownTaskError({ dagId: dag.id, taskId: id }, ids, 'nothing was started');
  });
}

/**
 * Parses the values of `--param`. Example: `['region=eu', 'minTotal=5']` -> `{ region: 'eu', minTotal: '5' }`. Throws
 * ETL-2001 if a param is given twice.
 */
function parseParams(values: readonly string[]): Readonly<Record<string, string>> {
  const given = new Map<string, string>();
  for (const [name, value] of values.map(parseParamFlag)) {
    if (given.has(name)) throw createUsageError(`--param ${name}=… is given twice`);
    given.set(name, value);
  }
  return Object.fromEntries(given);
}

/**
 * Parses the value of `--overlap`: `fail`, `skip`, `wait`, or `wait` with a limit. Example: `wait:90s` ->
 * `{ mode: 'wait', waitMs: 90_000 }`. Returns `fail` for `skip`, because the run fails in both cases; the command then
 * turns the failure into exit code 0. Throws ETL-2001 for any other text.
 */
function parseOverlap(text: string): Overlap {
  const [mode, limit, ...rest] = text.split(':');
  if (rest.length === 0 && mode === 'wait') {
    return { mode, waitMs: limit === undefined ? DEFAULT_WAIT_MS : parseDuration(limit, '--overlap wait') };
  }
  if (limit === undefined && (mode === 'fail' || mode === 'skip')) return { mode: 'fail' };
  throw createUsageError('--overlap must be fail, skip, wait, or wait with a limit, such as wait:90s');
}

/** Creates the error of a call without a Dag. Lists the Dags of the config. */
function createNoDagError({ loaded }: Program): EtlError {
  const ids = loaded.config.dags.map(({ id }) => id);
  const [first = '<dag>'] = ids;
  return new EtlError('ETL-2001', {
    what: 'the command line does not name the Dag to run',
    why: ids.length === 0 ? `${loaded.name} has no Dag` : `the Dags of ${loaded.name} are ${ids.join(', ')}`,
    fix: ids.length === 0 ? 'add a Dag to `dags` of the config' : formatCommand('run', first),
    data: 'nothing was started',
  });
}

/** Returns the ID of a run if it is valid. Throws ETL-2001 if it is not. */
function checkRunId(id: string): string {
  if (RUN_ID.test(id)) return id;
  throw createUsageError(
    '--run-id must have at most 200 letters, digits and characters of _ . : + -, and begin with a letter or digit',
  );
}

/** Creates a unique run ID that sorts by time, such as `20261122T020000Z-9f3a6c1e`. */
function createRunId(now: Date): string {
  const time = now.toISOString().replace(/[-:]|\.\d+/g, '');
  return `${time}-${randomBytes(4).toString('hex')}`;
}

function createUsageError(what: string): EtlError {
  return new EtlError('ETL-2001', { what, fix: 'see etl run --help', data: 'nothing was started' });
}
