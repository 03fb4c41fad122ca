import { EtlError } from '../../errors.js';
import { findHook } from '../../hooks/index.js';
import type { Program } from '../program/program.js';
import type { Dag } from '../../runtime/dag/dag.js';
import { parseParamFlag } from '../../runtime/dag/params.js';
import { createUnknownDagError } from '../../runtime/dag/dag-errors.js';
import { findConnections } from '../../runtime/dag/plan.js';
import { formatCommand } from '../../runtime/report/command-line.js';
import { createRequest, type RunSelection } from '../../runtime/run/request.js';
import type { RunRequest } from '../../runtime/run/start.js';

/** The flags that decide what is run. Only `etl run` has the optional ones, apart from `--run-id`. */
export interface RequestFlags {
  readonly param?: readonly string[] | undefined;
  readonly date?: string | undefined;
  readonly resume: boolean;
  readonly 'or-resume': boolean;
  readonly strict?: boolean | undefined;
  readonly 'run-id'?: string | undefined;
  readonly task?: string | undefined;
  readonly overlap: string;
  readonly 'full-refresh'?: boolean | undefined;
  readonly 'full-refresh-task'?: readonly string[] | undefined;
}

/** The flags of the options whose names differ. */
const FLAGS: Partial<Record<keyof RunSelection, string>> = {
  params: '--param',
  orResume: '--or-resume',
  runId: '--run-id',
  fullRefresh: '--full-refresh',
};

/**
 * Creates the request of a run from the command line. Throws an `EtlError` with exit code 2 if the request is wrong.
 */
export async function createRequestFromFlags(
  program: Program,
  dagId: string | undefined,
  flags: RequestFlags,
): Promise<RunRequest> {
  const { config } = program.loaded;
  if (dagId === undefined) throw createNoDagError(program);
  const dag = config.dags.find(({ id }) => id === dagId);
  const knownIds = config.dags.map(({ id }) => id);
  if (dag === undefined) throw createUnknownDagError(dagId, knownIds, 'nothing was started');
  return createDagRequest(program, dag, flags);
}

/**
 * Creates the request of a run of a Dag. Throws an `EtlError` with exit code 2 if the request is wrong, or if a connection
 * of the Dag is not defined.
 */
export async function createDagRequest(program: Program, dag: Dag, flags: RequestFlags): Promise<RunRequest> {
  const request = await createRequest(
    dag,
    program.loaded.config.defaults,
    toSelection(flags),
    (option) => FLAGS[option] ?? `--${option}`,
  );
  // Fails before the start of the run if a connection is not defined or no hook opens its scheme.
  for (const id of findConnections(request).used) findHook(await program.lookup.load(id));
  return request;
}

/**
 * Returns the selection that the flags mean. `--overlap skip` becomes `fail`, because the run fails in both cases; the
 * command then turns the failure into exit code 0.
 */
function toSelection(flags: RequestFlags): RunSelection {
  const { param, date, resume, strict, task, overlap, 'or-resume': orResume, 'run-id': runId } = flags;
  return {
    params: param && parseParams(param),
    date,
    resume,
    orResume,
    strict,
    runId,
    task,
    fullRefresh: flags['full-refresh'] === true || flags['full-refresh-task'],
    overlap: overlap === 'skip' ? 'fail' : (overlap as RunSelection['overlap']),
  };
}

/**
 * Parses the values of `--param`. Example: `['region=eu', 'minTotal=5']` -> `{ region: 'eu', minTotal: '5' }`. Throws
 * ETL-2001 if a param is given twice.
 */
function parseParams(values: readonly string[]): Readonly<Record<string, string>> {
  const given = new Map<string, string>();
  for (const [name, value] of values.map(parseParamFlag)) {
    if (given.has(name))
      throw new EtlError('ETL-2001', {
        what: `--param ${name}=… is given twice`,
        fix: 'see etl run --help',
        data: 'nothing was started',
      });
    given.set(name, value);
  }
  return Object.fromEntries(given);
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
