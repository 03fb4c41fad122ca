import { describeThrown, EtlError } from '../../errors.js';
import type { Dag } from '../dag/dag.js';
import type { DagRunResult, FailedRun, RunCallbacks, SucceededRun } from '../dag/run-end.js';
import { formatDuration } from '../duration.js';
import { DEFAULT_ZONE } from '../interval/zone-time.js';
import { formatResumeCommand } from '../report/command-line.js';
import { formatReason, formatSummary, listFailures, type RunReport } from '../report/run-report.js';
import { within } from '../waiting.js';

/** The time that each function has if the config does not set `callbackTimeout`, in milliseconds. */
export const CALLBACK_MS = 30_000;

/** A run that has ended or could not start, for the functions that are called then. */
export interface RunEnd {
  readonly dag: Dag;
  /** The home connection of the Dag. Undefined: no run of it is recorded. */
  readonly home: string | undefined;
  readonly exitCode: number;
  /** Undefined if the run could not start. */
  readonly result: DagRunResult | undefined;
  /** The error that kept the run from starting. */
  readonly error: EtlError | undefined;
  readonly durationMs: number;
}

/** The facts that decide which functions are called. */
export interface CallbackOptions {
  /** The functions of the config or of `runDag`. Those of the Dag itself are called, too. */
  readonly callbacks: RunCallbacks;
  /** The owner of `callbacks`, for messages: `the config`. */
  readonly of: string;
  /** The time that each function has, in milliseconds. Default: `CALLBACK_MS`. */
  readonly timeoutMs: number | undefined;
  readonly showsRowData: boolean;
}

/** Creates the report of a run that has ended or could not start. */
export function createRunReport({ dag, home, exitCode, result, error, durationMs }: RunEnd): RunReport {
  const timezone = dag.schedule?.timezone ?? DEFAULT_ZONE;
  const base = { dagId: dag.id, exitCode, timezone };
  if (result === undefined) {
    const errors = error === undefined ? [] : [error];
    const unknown = { runId: undefined, interval: undefined, resume: undefined };
    return { ...base, ...unknown, state: 'failed', tasks: [], errors, durationMs };
  }
  const isResumable = result.state === 'failed' && home !== undefined;
  return {
    ...base,
    ...result,
    exitCode,
    resume: isResumable ? formatResumeCommand(dag.id, result.runId) : undefined,
  };
}

/**
 * Calls `onSuccess` or `onFailure` of the Dag and of the config at the same time, and waits for both. Never throws:
 * returns an ETL-3012 for each function that has failed or has not ended in time.
 */
export async function callBack(
  end: RunEnd,
  { callbacks, of, timeoutMs = CALLBACK_MS, showsRowData }: CallbackOptions,
): Promise<readonly EtlError[]> {
  const sources: readonly (readonly [of: string, callbacks: RunCallbacks])[] = [
    [`the Dag "${end.dag.id}"`, end.dag.callbacks],
    [of, callbacks],
  ];
  const isSuccess = end.result?.state === 'success';
  const name = isSuccess ? 'onSuccess' : 'onFailure';
  const called = sources.filter(([, each]) => each[name] !== undefined);
  if (called.length === 0) return [];
  const stop = new AbortController();
  const run = describeEnd(end, stop.signal, showsRowData);
  const failures = called.map(async ([owner, each]) => {
    let failure: EtlError | undefined;
    const work = (async () => each[name]?.(run))().catch((error: unknown) => {
      failure = createCallbackError(`${name} of ${owner} failed: ${describeThrown(error)}`, error);
    });
    if (await within(work, timeoutMs)) return failure;
    return createCallbackError(`${name} of ${owner} did not end within ${formatDuration(timeoutMs)}`);
  });
  const errors = await Promise.all(failures);
  stop.abort();
  return errors.filter((error) => error !== undefined);
}

/** Describes a run for the functions. `onSuccess` is called only for a run with a result. */
function describeEnd(end: RunEnd, signal: AbortSignal, showsRowData: boolean): SucceededRun & FailedRun {
  const report = createRunReport(end);
  return {
    dagId: end.dag.id,
    interval: report.interval,
    exitCode: end.exitCode,
    result: end.result as DagRunResult,
    error: listFailures(report)[0]?.error,
    reason: formatReason(report),
    summary: formatSummary(report, showsRowData),
    resume: report.resume,
    signal,
  };
}

function createCallbackError(what: string, cause?: unknown): EtlError {
  return new EtlError('ETL-3012', {
    what,
    fix: 'correct the function; its `signal` aborts when its time is over',
    data: 'the run had ended before: its state and its exit code are not affected',
    cause,
  });
}
