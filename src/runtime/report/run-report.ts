import type { EtlError } from '../../errors.js';
import { formatInterval } from '../interval/zone-time.js';
import type { RunState, TaskSummary } from './event.js';
import { formatTaskLines, formatTotalLine } from './plain-reporter.js';
import { makeSafe } from './safe-text.js';
import { formatErrorLines, joinLines, NO_PAINT } from './words.js';

/** The end of a run, or the reason why it could not start, for outputs that are written once, after the run. */
export interface RunReport {
  /** Undefined if the command line names no Dag. */
  readonly dagId: string | undefined;
  /** Undefined if the run could not start. */
  readonly runId: string | undefined;
  readonly state: RunState;
  readonly exitCode: number;
  readonly interval: { readonly start: Date; readonly end: Date } | undefined;
  /** The time zone in which a person reads the interval. */
  readonly timezone: string;
  /** All tasks of the Dag in the order of definition. Empty if the run could not start. */
  readonly tasks: readonly TaskSummary[];
  /** The errors of the run itself, or the error that kept the run from starting. */
  readonly errors: readonly EtlError[];
  readonly durationMs: number;
  /** The command that resumes the run. Undefined if there is nothing to resume. */
  readonly resume: string | undefined;
}

/** One reason why a run has failed. */
export interface Failure {
  /** The task that has failed. Undefined for an error of the run itself. */
  readonly taskId: string | undefined;
  readonly error: EtlError;
}

/** Lists the errors of the run itself, and then those of its tasks in the order of definition. */
export function listFailures({ errors, tasks }: Pick<RunReport, 'errors' | 'tasks'>): readonly Failure[] {
  return [
    ...errors.map((error) => ({ taskId: undefined, error })),
    ...tasks.flatMap(({ taskId, error }) => (error === undefined ? [] : [{ taskId, error }])),
  ];
}

/** Formats a line for each failure: `load: ETL-3551 in/orders.csv does not exist`. Secrets are masked. */
export function formatReason(report: Pick<RunReport, 'errors' | 'tasks'>): string {
  const lines = listFailures(report).map(({ taskId, error: { code, what } }) => {
    return `${taskId === undefined ? '' : `${taskId}: `}${code} ${what.replaceAll('\n', ' ')}`;
  });
  return makeSafe(lines.join('\n'));
}

/**
 * Formats a report as lines of text: the run, its end, the resume command, and then the errors and tasks, those that
 * failed first, because a reader may keep only the beginning. Secrets are masked. Values of rows are included only if
 * `showsRowData`.
 */
export function formatSummary(report: RunReport, showsRowData: boolean): string {
  const { tasks, errors, runId, resume, exitCode } = report;
  const isBad = ({ state }: TaskSummary): boolean => state === 'failed';
  const sorted = [...tasks.filter(isBad), ...tasks.filter((task) => !isBad(task))];
  return makeSafe(
    joinLines([
      formatTitle(report),
      runId === undefined ? `FAILED  the run did not start, exit code ${exitCode}` : formatEnd(report),
      ...(resume === undefined ? [] : [`resume: ${resume}`]),
      ...errors.flatMap((error) => formatErrorLines(error, NO_PAINT, showsRowData)),
      ...sorted.flatMap((task) => formatTaskLines(task, NO_PAINT, showsRowData)),
    ]),
  );
}

/** Formats the Dag, the run and its interval: `orders  run 20261122T020000Z-9f3a6c1e  [2026-11-21, 2026-11-22)`. */
export function formatTitle({ dagId = 'etl run', runId, interval, timezone }: RunReport): string {
  const run = runId === undefined ? '' : `run ${runId}`;
  const span = interval === undefined ? '' : formatInterval(interval, timezone);
  return [dagId, run, span].filter((each) => each !== '').join('  ');
}

/** Formats `FAILED  1 ok, 1 failed, 1.2s, exit code 1`. */
function formatEnd(report: RunReport): string {
  const total = formatTotalLine(report, NO_PAINT);
  return report.exitCode === 0 ? total : `${total}, exit code ${report.exitCode}`;
}
