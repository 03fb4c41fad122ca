import { getDuration } from './past-runs.js';
import { buildIntervalJson, formatMarkedTable, alignRight } from './history-text.js';
import type { PastTask, RunHistory } from './past-run.js';
import { formatDuration } from '../../runtime/duration.js';
import { formatInterval, formatTime } from '../../runtime/interval/zone-time.js';
import type { AttemptRow } from '../../runtime/ledger/attempt-row.js';
import { formatErrorFields, formatRows, type Paint, joinLines } from '../../runtime/report/words.js';

/**
 * Formats a run for a person: the facts of the run, a line for each task, and the error of each failed attempt. Shows
 * values of rows only with `showsRowData`.
 */
export function formatRun(run: RunHistory, now: Date, paint: Paint, showsRowData: boolean): string {
  const lines = [...formatHeadLines(run, now, paint), '', ...formatTaskLines(run, paint, showsRowData)];
  return joinLines(lines);
}

/** Returns the JSON of a run for another program. Contains values of rows only with `showsRowData`. */
export function buildRunJson(run: RunHistory, now: Date, showsRowData: boolean): unknown {
  return {
    run_id: run.runId,
    dag: run.dagId,
    state: run.state,
    interval: buildIntervalJson(run.interval),
    params: run.params,
    started_at: run.startedAt,
    finished_at: run.finishedAt,
    duration_ms: getDuration(run, now),
    host: run.host,
    pid: run.pid,
    version: run.version,
    resumes: run.resumes,
    connection: run.connectionId,
    resume: run.resume,
    tasks: run.tasks.map((task) => buildTaskJson(task, run, showsRowData)),
  };
}

/** Returns the JSON of one task of a run. Fields that only a done task has are left out for any other task. */
function buildTaskJson(task: PastTask, run: RunHistory, showsRowData: boolean): unknown {
  const { taskId, isInConfig, done, attempts } = task;
  return {
    task: taskId,
    state: describeState(task, run),
    in_config: isInConfig,
    connection: done?.connectionId,
    attempt: done?.attempt ?? attempts.at(-1)?.attempt,
    rows: done?.rows,
    started_at: done?.startedAt,
    finished_at: done?.committedAt,
    duration_ms: done && done.committedAt.getTime() - done.startedAt.getTime(),
    attempts: attempts.map((each) => ({
      attempt: each.attempt,
      state: each.state,
      code: each.code ?? undefined,
      sqlstate: each.sqlstate ?? undefined,
      message: each.message,
      error: each.error ?? undefined,
      row_data: showsRowData ? (each.rowData ?? undefined) : undefined,
      started_at: each.startedAt,
      finished_at: each.finishedAt,
    })),
  };
}

/**
 * The state of a task in the history. `not_done`: the run is running, and the task is running or waits; the row of a
 * running task can't be read before its COMMIT. `not_run`: the run has ended, and the task was never tried.
 */
type PastTaskState = 'success' | AttemptRow['state'] | 'not_done' | 'not_run';

/** Returns the state of a task: from its ledger row, else from the state of the run, else from its last attempt. */
function describeState({ done, attempts }: PastTask, run: RunHistory): PastTaskState {
  if (done !== undefined) return 'success';
  if (run.state === 'running') return 'not_done';
  return attempts.at(-1)?.state ?? 'not_run';
}

/** Formats the first lines of a run: its Dag, ID and state, then a line for each fact that is known. */
function formatHeadLines(run: RunHistory, now: Date, paint: Paint): readonly string[] {
  const ms = getDuration(run, now);
  const params = JSON.stringify(run.params);
  const resumes = run.resumes === 0 ? '' : `, resumed ${run.resumes === 1 ? 'once' : `${run.resumes} times`}`;
  const duration = ms === undefined ? undefined : formatDuration(ms);
  const lines: [name: string, text: string | undefined][] = [
    ['interval', run.interval && formatInterval(run.interval, run.timezone)],
    ['params', params === '{}' ? undefined : params],
    ['started', `${formatTime(run.startedAt, run.timezone)} ${run.timezone}`],
    ['finished', run.finishedAt && `${formatTime(run.finishedAt, run.timezone)} ${run.timezone}`],
    ['duration', duration],
    ['process', `pid ${run.pid} on host ${run.host}, etl ${run.version}${resumes}`],
    ['ledger', run.connectionId],
    ['resume', run.resume],
  ];
  const colour = { success: paint.good, failed: paint.bad, crashed: paint.bad, running: paint.strong }[
    run.state
  ];
  return [
    `${paint.strong(run.dagId)}  run ${run.runId}  ${colour(run.state)}`,
    ...lines.flatMap(([name, text]) =>
      text === undefined ? [] : [`  ${paint.faint(name.padEnd(8))}  ${text}`],
    ),
  ];
}

/** Formats a line for each task, and below the line the errors of the task's failed attempts. */
function formatTaskLines(run: RunHistory, paint: Paint, showsRowData: boolean): readonly string[] {
  const spans = run.tasks.map(getSpan);
  const durations = alignRight(spans.map((span) => (span ? formatDuration(getMillis(span)) : '')));
  const rows = alignRight(run.tasks.map(({ done }) => formatRows(done?.rows)));
  const lines = run.tasks.map((task, index) => {
    const state = describeState(task, run);
    const span = spans[index];
    const started = span ? formatTime(span.startedAt, run.timezone) : '';
    const numbers = [durations[index] ?? '', rows[index] ?? ''];
    const cells = [task.taskId, state.replace('not_', 'not '), started, ...numbers];
    return { state, cells: [...cells, formatNote(task, state, run)] };
  });
  const table = formatMarkedTable(lines, paint);
  return run.tasks.flatMap((task, index) => [
    table[index] ?? '',
    ...formatFailureLines(task, run.timezone, paint, showsRowData),
  ]);
}

interface Span {
  readonly startedAt: Date;
  readonly finishedAt: Date;
}

/**
 * Returns the start and end of a task's last attempt. Undefined if no attempt of the task was run to an end. The
 * number 0 is the attempt of a task that was not started, because it was skipped or because of an upstream task.
 */
function getSpan({ done, attempts }: PastTask): Span | undefined {
  if (done !== undefined) return { startedAt: done.startedAt, finishedAt: done.committedAt };
  const last = attempts.at(-1);
  if (last?.finishedAt === undefined || last.attempt === 0) return undefined;
  return { startedAt: last.startedAt, finishedAt: last.finishedAt };
}

function getMillis({ startedAt, finishedAt }: Span): number {
  return Math.max(0, finishedAt.getTime() - startedAt.getTime());
}

/**
 * Formats the note at the end of a task's line: the number of the attempt from the second on, why the task was skipped,
 * and that the config does not have the task any more. Example: `attempt 2  not in the config any more`.
 */
function formatNote({ done, attempts, isInConfig }: PastTask, state: PastTaskState, run: RunHistory): string {
  const attempt = done?.attempt ?? attempts.at(-1)?.attempt ?? 0;
  const isSkipped = state === 'skipped' || state === 'upstream_failed';
  // If no task is in the config, the config does not have the Dag any more, and the note would be on each line.
  const isGone = !isInConfig && run.tasks.some((task) => task.isInConfig);
  const notes = [
    attempt > 1 ? `attempt ${attempt}` : '',
    isSkipped ? ((attempts.at(-1)?.message ?? '').split('\n')[0] ?? '') : '',
    isGone ? 'not in the config any more' : '',
  ];
  return notes.filter((note) => note !== '').join('  ');
}

/**
 * Formats the error of each failed attempt of a task, with all its parts. Further lines of an error are indented below
 * its first line. Example: `attempt 1  2026-11-23 05:46:45  ETL-3001 …`. An attempt from an older release has only a
 * message; the SQLSTATE is left out if the message has it already.
 */
function formatFailureLines(
  { attempts }: PastTask,
  timezone: string,
  paint: Paint,
  showsRowData: boolean,
): readonly string[] {
  const failures = attempts.filter(({ state }) => state === 'failed' || state === 'up_for_retry');
  return failures.flatMap((failure) => {
    const { attempt, finishedAt } = failure;
    const when = paint.faint(`attempt ${attempt}  ${finishedAt ? formatTime(finishedAt, timezone) : ''}`);
    const lines = formatFailure(failure, paint, showsRowData);
    return lines.map((line, index) => (index === 0 ? `     ${when}  ${line}` : `       ${line}`));
  });
}

/** Formats the error of a failed attempt as lines or, without an error, its message with the code and the SQLSTATE. */
function formatFailure(failure: AttemptRow, paint: Paint, showsRowData: boolean): readonly string[] {
  const { code, sqlstate, message, error, rowData } = failure;
  const rows = showsRowData ? (rowData ?? undefined) : undefined;
  if (error) return formatErrorFields({ ...error, row_data: rows }, paint);
  const isInMessage = !sqlstate || message.includes(sqlstate);
  const words = [code, isInMessage ? undefined : `SQLSTATE ${sqlstate}`, message];
  return words.filter(Boolean).join(' ').split('\n');
}
