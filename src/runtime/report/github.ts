import { formatDuration } from '../duration.js';
import { formatInterval } from '../interval/zone-time.js';
import type { TaskSummary } from './event.js';
import { formatTotalLine } from './plain-reporter.js';
import { type Failure, listFailures, type RunReport } from './run-report.js';
import type { RepositoryPosition } from './run-location.js';
import { makeSafe } from './safe-text.js';
import { formatErrorLines, groupDigits, NO_PAINT } from './words.js';

/** Finds the position of a failure. Undefined if nobody knows it. */
export type Locate = (failure: Failure) => RepositoryPosition | undefined;

/** GitHub shows this many errors of one step: https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands */
const MOST_ANNOTATIONS = 10;
/** The longest message of an annotation, in UTF-16 units. The log and the step summary have the rest. */
const MESSAGE_LIMIT = 4000;
/** GitHub takes 1 MiB from all summaries of a step. Other programs of the step may write summaries, too. */
const SUMMARY_LIMIT = 400_000;

/**
 * Formats an annotation for each failure of a run, as a line that GitHub obeys. The message has the parts of the error and
 * the command that resumes the run. If there are more failures than GitHub shows, the last annotation counts the others.
 * Secrets are masked; no text of the failure can end the line or begin another command.
 */
export function formatAnnotations(report: RunReport, locate: Locate, showsRowData: boolean): string {
  const failures = listFailures(report);
  const shown = failures.length <= MOST_ANNOTATIONS ? failures : failures.slice(0, MOST_ANNOTATIONS - 1);
  const resume = report.resume === undefined ? [] : [`resume: ${report.resume}`];
  const lines = shown.map((failure) => {
    const message = [...formatErrorLines(failure.error, NO_PAINT, showsRowData), ...resume].join('\n');
    return formatAnnotation(formatFailureTitle(report, failure), message, locate(failure));
  });
  if (shown.length < failures.length)
    lines.push(formatAnnotation('etl', `${failures.length - shown.length} more failures`, undefined));
  return lines.join('');
}

/** Formats what has failed: `task "b" of "orders" failed`, `run of "orders" failed`, or `"orders" did not start`. */
export function formatFailureTitle({ dagId, runId }: RunReport, { taskId }: Failure): string {
  if (taskId !== undefined) return `task "${taskId}" of "${dagId}" failed`;
  if (runId !== undefined) return `run of "${dagId}" failed`;
  return dagId === undefined ? 'etl run did not start' : `"${dagId}" did not start`;
}

/**
 * Formats one annotation by the rules of GitHub's toolkit:
 * https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts
 */
function formatAnnotation(title: string, message: string, position: RepositoryPosition | undefined): string {
  const fields: Record<string, string> =
    position === undefined
      ? {}
      : { file: position.path, line: String(position.line), col: String(position.column) };
  const properties = Object.entries({ ...fields, title })
    .map(([name, value]) => `${name}=${escapeProperty(makeSafe(value))}`)
    .join(',');
  return `::error ${properties}::${escapeData(cut(makeSafe(message), MESSAGE_LIMIT))}\n`;
}

/** Escapes the message of a workflow command. */
function escapeData(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

/** Escapes a property of a workflow command. */
function escapeProperty(text: string): string {
  return escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}

/** Cuts a text that is masked already. */
function cut(text: string, limit: number): string {
  return text.length <= limit ? text : `${text.slice(0, limit).replace(/[\uD800-\uDBFF]$/, '')}…`;
}

/**
 * Formats a run as Markdown for the summary of a step: how the run ended, a table of its tasks, those that failed first, and
 * the command that resumes it. Secrets are masked; no text can end its cell or become a link, an image or HTML.
 */
export function formatStepSummary(report: RunReport): string {
  const { dagId = 'etl run', runId, interval, timezone, errors, resume } = report;
  const facts = [
    runId === undefined
      ? `The run did not start, exit code ${report.exitCode}`
      : formatTotalLine(report, NO_PAINT),
    runId === undefined ? '' : `run ${runId}`,
    interval === undefined ? '' : formatInterval(interval, timezone),
  ];
  const lines = [
    `### ${report.state === 'success' ? '✔' : '✖'} ${escapeMarkdown(dagId)}`,
    '',
    facts
      .filter((each) => each !== '')
      .map(escapeMarkdown)
      .join(' · '),
    '',
    ...errors.map(({ code, what }) => `- ${escapeMarkdown(`${code} ${what}`)}`),
    ...(errors.length === 0 ? [] : ['']),
    ...formatTaskTable(report.tasks),
    ...(resume === undefined ? [] : ['Resume the run:', '', ...formatCode(resume), '']),
  ];
  return `${lines.join('\n')}\n`;
}

/** Formats the table of the tasks. A table that is too long ends with the number of the tasks that are left out. */
function formatTaskTable(tasks: readonly TaskSummary[]): readonly string[] {
  if (tasks.length === 0) return [];
  const isBad = ({ state }: TaskSummary): boolean => state === 'failed';
  const sorted = [...tasks.filter(isBad), ...tasks.filter((task) => !isBad(task))];
  const lines = ['| task | state | rows | time | reason |', '| --- | --- | ---: | ---: | --- |'];
  let length = 0;
  let shown = 0;
  for (const task of sorted) {
    const line = formatTaskRow(task);
    if (length + Buffer.byteLength(line) > SUMMARY_LIMIT) break;
    length += Buffer.byteLength(line);
    lines.push(line);
    shown++;
  }
  const left = sorted.length - shown;
  return [...lines, '', ...(left === 0 ? [] : [`… and ${groupDigits(left)} more tasks`, ''])];
}

function formatTaskRow({ taskId, state, rows, durationMs, reused, error, reason }: TaskSummary): string {
  const why = error === undefined ? (reason ?? '') : `${error.code} ${error.what}`;
  const cells = [
    taskId,
    reused ? `${state} (reused)` : state,
    rows === undefined ? '' : groupDigits(rows),
    formatDuration(durationMs),
    why,
  ];
  return `| ${cells.map(escapeMarkdown).join(' | ')} |`;
}

/**
 * Escapes a text so that Markdown shows it as it is, in one line. Each escaped character is ASCII punctuation:
 * https://spec.commonmark.org/0.31.2/#backslash-escapes
 */
function escapeMarkdown(text: string): string {
  return cut(makeSafe(text), MESSAGE_LIMIT)
    .replace(/\s+/g, ' ')
    .replace(/[\\`*_[\]<>|~&:@#$!]/g, String.raw`\$&`);
}

/** Formats a command as a block of code, whose fence is longer than each sequence of backticks in the command. */
function formatCode(command: string): readonly string[] {
  const text = makeSafe(command.replace(/\s+/g, ' '));
  const longest = Math.max(2, ...Array.from(text.matchAll(/`+/g), ([ticks]) => ticks.length));
  const fence = '`'.repeat(longest + 1);
  return [`${fence}sh`, text, fence];
}
